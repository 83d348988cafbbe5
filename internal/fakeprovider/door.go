package fakeprovider

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// door is an authorization endpoint (RFC 6749 section 3.1): what a request has
// to say to get a code.
type door struct {
	client string            // the argument with the app's id
	fixed  map[string]string // arguments that have one value
	needs  []string          // arguments that must be there
	life   time.Duration     // of a code
	// unbound: the exchange of a code does not name the redirect URI again.
	unbound bool
	// proofs: it knows RFC 7636.
	proofs bool
	// login finds the user in a request that an app makes by itself; nil where
	// a person logs in on a page.
	login func(p *Provider, v visit) (user string, ok bool)
}

// visit is one authorization request.
type visit struct {
	args      url.Values
	ref       string
	redirect  string
	state     string
	challenge string
}

// serveDoor answers an authorization endpoint.
func (p *Provider) serveDoor(w http.ResponseWriter, r *http.Request, d door) {
	p.mu.Lock()
	status := p.faults.AuthorizeStatus
	p.mu.Unlock()
	switch {
	case status != 0:
		w.WriteHeader(status)
	case d.login == nil:
		p.servePage(w, r, d)
	case r.Method != http.MethodGet:
		p.speak.refuse(NeedsGET).write(w, r)
	default:
		p.serveUnattended(w, r, d)
	}
}

// read takes an authorization request apart. wrong says that its app or its
// redirect URI cannot be believed: the answer must not redirect there (RFC 6749
// section 4.1.2.1). fault is an error for the redirect URI. The caller holds
// the lock.
func (p *Provider) read(d door, query url.Values) (v visit, wrong Refusal, fault string) {
	v = visit{
		args: query, ref: query.Get(d.client), redirect: query.Get("redirect_uri"),
		state: query.Get("state"), challenge: query.Get("code_challenge"),
	}
	registered := p.redirects[v.ref]
	_, known := p.secrets[v.ref]
	switch {
	case !known:
		return v, UnknownApp, ""
	case registered == "" || v.redirect != registered: // no prefix, no pattern (RFC 9700 section 4.1.3)
		return v, BadBody, ""
	}
	return v, "", p.faultOf(d, v)
}

// faultOf is what is wrong with a request whose redirect URI is good, in a word
// of RFC 6749 section 4.1.2.1; "" for nothing.
func (p *Provider) faultOf(d door, v visit) string {
	for _, values := range v.args {
		if len(values) > 1 {
			return "invalid_request"
		}
	}
	if v.args.Get("response_type") != "code" {
		return "unsupported_response_type"
	}
	for name, want := range d.fixed {
		if v.args.Get(name) != want {
			return "invalid_request"
		}
	}
	for _, name := range d.needs {
		if v.args.Get(name) == "" {
			return "invalid_request"
		}
	}
	if d.proofs && (v.challenge == "" && p.opts.Codes.NeedsPKCE || v.challenge != "" && v.args.Get("code_challenge_method") != "S256") {
		return "invalid_request"
	}
	return ""
}

// back is the redirect URI with an answer: the query that it has stays
// (RFC 6749 section 4.1.2).
func (p *Provider) back(v visit, answer map[string]string) string {
	u, err := url.Parse(v.redirect)
	if err != nil {
		panic("fakeprovider: the registered redirect URI is none")
	}
	if v.state != "" {
		answer["state"] = v.state
	}
	if p.opts.Codes.Issuer != "" {
		answer["iss"] = p.opts.Codes.Issuer
	}
	for _, name := range slices.Sorted(maps.Keys(answer)) {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += name + "=" + url.QueryEscape(answer[name])
	}
	return u.String()
}

func found(location string) reply {
	return reply{status: http.StatusFound}.with("Location", location).with("Cache-Control", "no-store")
}

// deny ends a request with an error at the redirect URI. The caller holds the
// lock.
func (p *Provider) deny(v visit, user, code string, now time.Time) reply {
	p.book.add(Event{At: now, Kind: Denied, Ref: v.ref, User: user, Reason: code})
	return found(p.back(v, map[string]string{"error": code}))
}
