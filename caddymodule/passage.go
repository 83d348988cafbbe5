package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// watchDelay is how long a request is under way before it is watched whether its
// client was revoked. Most end before that and cost no goroutine.
const watchDelay = 250 * time.Millisecond

// errRevoked ends what a client has under way.
var errRevoked = errors.New("the client's key was revoked")

// passage is one request of a client while it is under way. It counts for the
// limits of the client. It is the context of the request, which is cancelled,
// with errRevoked, when the client is revoked.
//
// Only who asks for Done or Err learns of that, and most read-outs end without
// it. So nothing is made for it before.
type passage struct {
	client *access.Client
	// app has the audit of what the client may not send; nil where it sends
	// nothing.
	app *App
	// key is the credential by which the client was known, "" for none. It goes
	// to nobody else.
	key string
	// resolved is what a gateway found out, see resolvedOf.
	resolved resolved
	// came is the context that the request came with, and knows who pays.
	came context.Context

	// ends is came, and can be cancelled. It is set once somebody asked for the
	// end, before isWatched is.
	ends      context.Context
	isWatched atomic.Bool

	mu     sync.Mutex
	cancel context.CancelCauseFunc
	watch  *time.Timer
	isOver bool
}

// beginPassage counts a request that begins, and has to be ended. The error is
// 429 rate_limited.
func beginPassage(ctx context.Context, who caller) (*passage, *realm.Error) {
	if refused := who.client.Begin(time.Now()); refused != nil {
		return nil, refused
	}
	return &passage{client: who.client, key: who.key, came: broker.WithPayer(ctx, payer{who.client})}, nil
}

// end ends the passage. It may be called more than once.
func (p *passage) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isOver {
		return
	}
	p.isOver = true
	if p.isWatched.Load() {
		p.watch.Stop()
		p.cancel(nil)
	}
	p.client.End()
}

// watched returns the context that ends with the passage, and has it watched from
// now on whether the client is revoked.
func (p *passage) watched() context.Context {
	if p.isWatched.Load() {
		return p.ends
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isWatched.Load() {
		return p.ends
	}
	p.ends, p.cancel = context.WithCancelCause(p.came)
	p.watch = time.AfterFunc(watchDelay, p.awaitRevocation)
	if p.isOver {
		p.watch.Stop()
		p.cancel(nil)
	}
	p.isWatched.Store(true)
	return p.ends
}

func (p *passage) awaitRevocation() {
	select {
	case <-p.client.Revoked():
		p.cancel(errRevoked)
	case <-p.ends.Done():
	}
}

// Done implements context.Context.
func (p *passage) Done() <-chan struct{} { return p.watched().Done() }

// Err implements context.Context.
func (p *passage) Err() error { return p.watched().Err() }

// Deadline implements context.Context.
func (p *passage) Deadline() (time.Time, bool) { return p.came.Deadline() }

// Value implements context.Context. Contexts that are made of this one call Done
// first, and then find by its value what cancels them.
func (p *passage) Value(key any) any {
	switch {
	case key == resolvedKey{} && p.resolved.passage != nil:
		return &p.resolved
	case p.isWatched.Load():
		return p.ends.Value(key)
	}
	return p.came.Value(key)
}

// of is the client; nil for a passage that is none.
func (p *passage) of() *access.Client {
	if p == nil {
		return nil
	}
	return p.client
}

// caller is the client as a caller; the zero one for a passage that is none.
func (p *passage) caller() caller {
	if p == nil {
		return caller{}
	}
	return caller{kind: adminapi.KindClient, client: p.client}
}

// isRevoked reports whether a context ended because the client was revoked.
func isRevoked(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errRevoked) }

// errNoRight is the one answer to a client that lacks the right, whether what it
// asked for exists or not.
var errNoRight = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "the client has no right to send this request with this token",
}

// mayUse is nil for a request that the client may send with the token of a
// secret, and for a caller that is no client. It is asked before the token is,
// and looks up at most where the request goes: the rules are about the path that
// is sent, with the base path of the api in front of it, if useAPI is set. path
// is nil where it is not known yet; then MaySend alone decides about it.
//
// A client without any right to the secret causes no look-up, so that neither
// the answer nor its time tells what there is.
func (p *passage) mayUse(app *App, ref realm.Ref, r *http.Request, path *url.URL, useAPI bool) error {
	if p == nil {
		return nil
	}
	if !p.client.MayAny(access.Use, ref.Realm, ref.Key) {
		return errNoRight
	}
	if path == nil {
		return nil
	}
	sent := *path
	if useAPI && ref.Realm != "" && ref.Key != "" {
		// What cannot be found is told by who asks for the token.
		if target, err := app.view.Destination(p, ref); err == nil {
			if target.API == nil { // known with the token only
				return nil
			}
			inject.RulePath(target, &sent, true)
		}
	}
	return p.decide(ref, methodOf(r), &sent)
}

func (p *passage) decide(ref realm.Ref, method string, sent *url.URL) error {
	q := access.Question{Right: access.Use, Ref: ref, Method: method, Path: sent.EscapedPath()}
	if !p.client.Decide(q).Allowed {
		return errNoRight
	}
	return nil
}

// MaySend is the last word, on the request as it goes out: nothing between the
// decision and the API changes what was decided. It implements inject.Sender.
func (p *passage) MaySend(ref realm.Ref, out *http.Request) error {
	err := p.decide(ref, methodOf(out), out.URL)
	if err != nil && p.app != nil {
		e := eventOf(out, audit.ActAccess, p.caller(), ref)
		e.Code = string(realm.CodeForbidden)
		p.app.recorder.Refused(e)
	}
	return err
}

// methodOf is the method of a request. An extended CONNECT (RFC 8441) counts as
// the GET that it is with HTTP/1.1, and is sent as.
func methodOf(r *http.Request) string {
	if len(r.Header[":protocol"]) > 0 || r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// hideKeys removes the headers that hold the client's key, what looks like a key
// of ours, or the admin token. It is for requests whose other credentials go to
// the API (pass Authorization).
func (p *passage) hideKeys(app *App, h http.Header) {
	for _, name := range credentialHeaders {
		for _, value := range h[name] {
			credential, _ := credentialOf(value)
			if access.IsKey(credential) || p != nil && p.key != "" && credential == p.key || app.adminFile.token.Load().equals(credential) {
				h.Del(name)
				break
			}
		}
	}
}

// payer pays for the token requests that a client causes.
type payer struct{ client *access.Client }

// MayPay implements broker.Payer.
func (p payer) MayPay() *realm.Error { return p.client.MayFetch(time.Now()) }

// Paid implements broker.Payer.
func (p payer) Paid() (takeBack func()) { return p.client.Fetched(time.Now()) }

// endWith has the passage end with a response, where no handler sees the end of
// the request: when its body is closed.
func (p *passage) endWith(resp *http.Response) {
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		// net/http does not look at the context any more.
		stop := context.AfterFunc(p, func() { _ = conn.Close() })
		resp.Body = &endingConn{conn, endingBody{conn, func() { stop(); p.end() }}}
		return
	}
	resp.Body = &endingBody{resp.Body, p.end}
}

// endingBody is a body whose end is noticed.
type endingBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// endingConn is the body of a request that left HTTP. The proxy keeps it in a
// map, so that it is a pointer.
type endingConn struct {
	io.Writer
	endingBody
}

// Interface guards
var (
	_ context.Context    = (*passage)(nil)
	_ inject.Sender      = (*passage)(nil)
	_ broker.Payer       = payer{}
	_ io.ReadWriteCloser = (*endingConn)(nil)
)
