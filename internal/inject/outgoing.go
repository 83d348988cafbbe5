package inject

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// outgoing is the copy of a request that leaves, with all that the copy needs,
// so that it costs one allocation.
type outgoing struct {
	http.Request
	url  url.URL
	body trailerFilter
	// answer is the body of the answer.
	answer scrubbedBody
	// cache is the memory of the Cache-Control that finish may add.
	cache [1]string
}

// prepare makes the outgoing request: aimed, cleaned of the caller's copies,
// with the token in place. http.Request.Clone is not used: it copies the
// Trailer map, which is filled only when the body ends.
func prepare(req *http.Request, job Job, lease *realm.Lease) (*outgoing, error) {
	if len(lease.Values) != len(lease.Target.Inject) {
		return nil, errPlace
	}
	to, err := chooseDestination(req, job, lease.Target)
	if err != nil {
		return nil, err
	}
	out := &outgoing{Request: *req, url: *req.URL}
	out.URL, out.Host = &out.url, to.host
	out.url.Scheme, out.url.Host, out.url.User = to.scheme, to.authority, nil
	if job.UseAPI {
		joinPath(lease.Target.API, &out.url)
	}
	out.url.RawQuery = placeQuery(req.URL.RawQuery, lease)
	f := filter{places: lease.Target.Inject, authenticated: job.Authenticated, forwarded: lease.Target.Forwarded}
	out.Header = f.header(req.Header, lease)
	f.trailers(out)
	if dead := lease.Target.Dead; dead != nil && dead.Looks() {
		out.Header = narrow(out.Header)
	}
	if !out.carries(lease) {
		return nil, errPlace
	}
	return out, nil
}

// joinPath puts the api's base path in front of u's, byte by byte: dot
// segments and escapes are the provider's to read. The base path is a
// convenience and no fence; what a token may do is the provider's decision.
func joinPath(api, u *url.URL) {
	base := strings.TrimSuffix(api.Path, "/")
	if base == "" {
		return
	}
	raw := ""
	if api.RawPath != "" || u.RawPath != "" {
		raw = strings.TrimSuffix(api.EscapedPath(), "/") + u.EscapedPath()
	}
	u.Path, u.RawPath = base+u.Path, raw
}

// carries is the last look before the request leaves: is the token where the
// realm wants it, and nothing but the token? It does not trust the code that
// put it there.
func (out *outgoing) carries(lease *realm.Lease) bool {
	places := lease.Target.Inject
	query := out.url.RawQuery
	for i := len(places) - 1; i >= 0; i-- {
		p, value := places[i], lease.Values[i]
		switch {
		case value == "":
			return false
		case p.In == realm.PlaceHeader:
			if v := out.Header[p.Name]; len(v) != 1 || v[0] != value || written(p.Name) {
				return false
			}
		case p.In == realm.PlaceURL:
			rest, ok := cutPair(query, p.Pair, value)
			if !ok {
				return false
			}
			query = rest
		default:
			return false
		}
	}
	return len(places) > 0
}

// cutPair cuts a pair, and the "&" in front of it, from the end of a query.
func cutPair(query, pair, value string) (string, bool) {
	rest, ok := strings.CutSuffix(query, value)
	if !ok {
		return "", false
	}
	if rest, ok = strings.CutSuffix(rest, pair); !ok || pair == "" {
		return "", false
	}
	if rest == "" {
		return "", true
	}
	return strings.CutSuffix(rest, "&")
}

// written lists the header fields that net/http writes by itself or leaves
// out on one of its protocols: a token there would not arrive.
func written(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer",
		"Connection", "Proxy-Connection", "Keep-Alive", "Upgrade", "Te":
		return true
	}
	return false
}
