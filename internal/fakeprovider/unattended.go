package fakeprovider

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Delivery is how a code that an app asked for by itself arrives.
type Delivery string

// The deliveries.
const (
	// Redirects: the answer is a redirect to the redirect URI (the default).
	Redirects Delivery = "redirects"
	// CallsFirst: the provider calls the redirect URI, then answers with an
	// empty object.
	CallsFirst Delivery = "calls_first"
	// CallsLater: it answers first.
	CallsLater Delivery = "calls_later"
)

// callTimeout bounds the provider's call of a redirect URI.
const callTimeout = 10 * time.Second

// serveUnattended answers an authorization request that holds the user's
// proof, and that an app makes by itself.
func (p *Provider) serveUnattended(w http.ResponseWriter, r *http.Request, d door) {
	query := r.URL.Query()
	arrival := Event{Kind: Opened, Ref: query.Get(d.client), User: query.Get("username")}
	p.serve(w, r, arrival, func(now time.Time) reply { return p.admitVisit(r, d, now) })
}

// admitVisit decides on such a request. The caller holds the lock.
func (p *Provider) admitVisit(r *http.Request, d door, now time.Time) reply {
	v, wrong, fault := p.read(d, r.URL.Query())
	if wrong == "" && fault != "" {
		wrong = BadBody
	}
	if wrong != "" {
		p.book.add(Event{At: now, Kind: Denied, Ref: v.ref, Reason: string(wrong)})
		return p.speak.refuse(wrong)
	}
	user, ok := d.login(p, v)
	switch {
	case !ok && p.opts.Codes.RefusalRedirects:
		return p.deny(v, user, "access_denied", now)
	case !ok:
		p.book.add(Event{At: now, Kind: Denied, Ref: v.ref, User: user, Reason: string(BadUser)})
		return htmlReply(http.StatusOK, "<html><h1>The user name or the password is wrong.</h1></html>")
	}
	code := p.newCode(d, v, user, now)
	target := p.back(v, map[string]string{"code": code})
	call := Event{Kind: CalledBack, Ref: v.ref, User: user, Code: code}
	if d := p.opts.Codes.Delivery; d == CallsFirst || d == CallsLater {
		return reply{stream: func(w http.ResponseWriter, r *http.Request) { p.deliver(w, r, target, call) }}
	}
	return found(target)
}

// deliver calls a redirect URI, and answers the app with an empty object, in
// the order of the delivery. A call that nobody took may be made once more.
func (p *Provider) deliver(w http.ResponseWriter, r *http.Request, target string, call Event) {
	ctx := context.WithoutCancel(r.Context()) // that the app has hung up, having its answer, does not stop it
	first := p.opts.Codes.Delivery == CallsFirst
	taken := first && p.call(ctx, target, call)
	emptyObject.flat().with("Content-Length", "2").write(w, r) // its reader need not wait for the end of the connection
	_ = http.NewResponseController(w).Flush()
	if !first {
		taken = p.call(ctx, target, call)
	}
	if later := p.opts.Codes.CallsAgain; !taken && later > 0 && pass(ctx, nil, later) {
		p.call(ctx, target, call)
	}
}

var emptyObject = jsonReply(http.StatusOK, map[string]any{})

// call calls a redirect URI as a browser would, writes down what came back, and
// reports whether somebody took the call.
func (p *Provider) call(ctx context.Context, target string, e Event) (taken bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	status := visitStatus(ctx, target)
	e.Reason = noAnswer
	if status != 0 {
		e.Reason = strconv.Itoa(status)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e.At = p.opts.Now()
	p.book.add(e)
	return status != 0 && status < http.StatusInternalServerError
}

// noAnswer is the reason of a CalledBack without a status.
const noAnswer = "no answer"

// visitStatus is the HTTP status of a page; 0 for none.
func visitStatus(ctx context.Context, target string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil) //nolint:gosec // the app registered it
	if err != nil {
		return 0
	}
	transport := &http.Transport{DisableKeepAlives: true} // nothing stays behind, and no proxy
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}
