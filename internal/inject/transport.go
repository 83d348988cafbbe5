// Package inject is the last hop of a proxied request: an http.RoundTripper
// that takes the token of a (realm, key) and puts it into the request, at the
// last moment and on a copy, so that neither a log nor a retry sees it.
//
// The token goes to the realm's hosts only. Every copy of the parameter or
// header that the caller sent is removed first; all other bytes stay as they
// came. Refusals are answers (problem documents), never errors: an error
// would count against the upstream's health and be tried again.
//
// When the API refuses a token as dead, another one is asked for, and the
// request is sent again where that is possible.
package inject

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Job is what the router decided about a request before it reached the
// transport.
type Job struct {
	// Ref names the credential whose token is sent.
	Ref realm.Ref
	// Lease is the token to send. It is required, unless Transport.Job returns
	// an error.
	Lease *realm.Lease
	// Dial is the host:port that the base transport will dial, as a name, not
	// resolved. An empty one matches no host.
	Dial string
	// UseAPI sends the request to the realm's own api: scheme and host are
	// taken from there, and its base path is put in front of the request's.
	// Otherwise the request's URL has the scheme and host of the upstream.
	UseAPI bool
	// TrustedDial is set where the operator named this upstream in the
	// configuration file. It may have a private address then.
	TrustedDial bool
	// KeepHost sends the request's own Host header (header_up Host was used)
	// instead of the upstream's. It has to be one of the realm's hosts too.
	KeepHost bool
	// Authenticated is set where an authentication directive accepted the
	// caller. The Authorization and Proxy-Authorization by which the caller
	// proved itself to us do not go to the provider then, even where the realm
	// passes on what callers send.
	Authenticated bool
	// Site is where the caller reached the API, for a realm that has links rewritten;
	// nil where that is not known.
	Site *Site
	// Sender is who sends the request, and has the last word about it; nil for
	// one that may send anything.
	Sender Sender
}

// Sender is somebody who may not send everything.
type Sender interface {
	// MaySend is nil for a request that may go out with the token. It is asked
	// about the very request that is sent: its method and URL will not change
	// any more.
	MaySend(ref realm.Ref, out *http.Request) error
}

// Transport puts tokens into requests. Its fields are set before the first
// use; all but Renewed, Ended and Log are required.
type Transport struct {
	Source Source
	// Base makes the round trips to upstreams that the operator named,
	// Guarded those to any other: it dials public addresses only
	// (netguard.ErrForbidden). Neither may follow redirects.
	Base    http.RoundTripper
	Guarded http.RoundTripper
	// Ways returns the transport for realms that say how connections are made;
	// trusted in place of Base, else in place of Guarded.
	Ways func(way *realm.Way, trusted bool) http.RoundTripper
	// Job returns what the router decided. Its error is answered with a
	// problem document. Send does not need it.
	Job func(*http.Request) (Job, error)
	// Renewed is told the lease with which a request is sent again; nil for
	// nobody.
	Renewed func(*http.Request, realm.Ref, *realm.Lease)
	// Ended is told how a request ended that had a token, with the answer or the
	// error that RoundTrip returns; nil for nobody.
	Ended func(Job, *http.Response, error)
	// History is what is remembered of answers, to tell a dead token from a
	// request that no token cures. Transports may share it.
	History *History
	Log     *zap.Logger

	// after starts a timer for a peek; nil for the real clock.
	after func(time.Duration) (expired <-chan time.Time, stop func() bool)
	// tries are those of the tokens that are masked in bodies.
	tries trieCache
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip sends the request with the token of its job and returns the
// answer as it came, except for the token where a header quotes it, and a body
// where the realm wants that. What is
// refused here is answered with a problem document. An error is the base
// transport's, without anything confidential, or that of the request's own
// context.
//
// Where the realm says how a dead token looks, and the answer looks so, the
// request is sent once more with another token; see heal.
//
// The request itself is not changed, but for header fields and trailers that
// do not go to a provider, see filter.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	job, err := t.Job(req)
	return t.Send(req, job, err)
}

// Send is RoundTrip with what Job would return.
func (t *Transport) Send(req *http.Request, job Job, err error) (*http.Response, error) {
	if err != nil {
		return t.refuse(req, job, err)
	}
	resp, err := t.roundTrip(req, job)
	if t.Ended != nil {
		t.Ended(job, resp, err)
	}
	return resp, err
}

// roundTrip is RoundTrip with a job.
func (t *Transport) roundTrip(req *http.Request, job Job) (*http.Response, error) {
	if err := checkRequest(req, job.Lease); err != nil {
		return t.refuse(req, job, err)
	}
	lease := job.Lease
	if lease.Target.Dead != nil {
		return t.heal(req, job, lease)
	}
	out, err := prepare(req, job, lease)
	if err != nil {
		return t.refuse(req, job, err)
	}
	tokens := sentTokens{out.lease}
	if err := out.placeBody(out.lease); err != nil {
		closeBody(req)
		return t.fail(req, job, tokens, err)
	}
	resp, err := t.base(job, lease.Target).RoundTrip(&out.Request)
	if err != nil {
		return t.fail(req, job, tokens, err)
	}
	return t.finish(out, resp, req, job, tokens)
}

// finish returns the answer that the caller gets.
func (t *Transport) finish(out *outgoing, resp *http.Response, req *http.Request, job Job, tokens sentTokens) (*http.Response, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols && !isUpgrade(req) {
		_ = resp.Body.Close()
		return t.refuse(req, job, errUnrequestedUpgrade)
	}
	scrub := tokens.wantScrubbed()
	if scrub && isUnscrubbable(resp, req.Method) {
		_ = resp.Body.Close()
		return t.refuse(req, job, errCoding)
	}
	out.rewriteLinks(resp.Header, job, tokens)
	out.finishAnswer(resp, req, tokens)
	if scrub {
		t.scrubBody(resp, req.Method, tokens)
	}
	return resp, nil
}

// base returns the transport that makes the round trip. Where the operator wrote
// the hosts into the configuration file, they need no guard.
func (t *Transport) base(job Job, target *realm.Target) http.RoundTripper {
	trusted, way := job.TrustedDial || target.Trusted, target.Way
	if way != nil && job.TrustedDial {
		way = way.Named
	}
	switch {
	case way != nil:
		return t.Ways(way, trusted)
	case trusted:
		return t.Base
	}
	return t.Guarded
}
