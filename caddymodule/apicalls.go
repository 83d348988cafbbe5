package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// apiCalls sends the calls of dry runs. It is made of the same parts as the
// transport of the gateway, with its own connections.
type apiCalls struct {
	app       *App
	transport *Transport
	to        *apiTransports
	history   inject.History
}

// newAPICalls provisions the connections.
func newAPICalls(ctx caddy.Context, app *App) (*apiCalls, error) {
	c := &apiCalls{app: app, transport: &Transport{app: app}}
	var err error
	c.to, err = c.transport.provisionTransports(ctx)
	return c, err
}

// close closes idle connections.
func (c *apiCalls) close() error {
	if c.to != nil {
		c.to.close()
	}
	return c.transport.Cleanup()
}

// Send implements adminapi.APIs. Each call has an injection of its own, which
// remembers nothing of it.
func (c *apiCalls) Send(
	req *http.Request, ref realm.Ref, lease *realm.Lease, maySend func(realm.Ref, *http.Request) error,
) (resp *http.Response, isDead bool, err error) {
	once := &oneCall{app: c.app}
	job := inject.Job{Ref: ref, Lease: lease, UseAPI: true, Sender: senderFunc(maySend)}
	if lease.Target.API != nil {
		job.Dial = lease.Target.Dial.HostPort
	}
	sending := &inject.Transport{
		Source: once, History: &c.history, Job: func(*http.Request) (inject.Job, error) { return job, nil },
		Base: once.over(c.to.base), Guarded: once.over(c.to.guarded),
		Ways: func(way *realm.Way, trusted bool) http.RoundTripper { return once.over(c.to.ways.of(way, trusted)) },
	}
	resp, err = sending.RoundTrip(req)
	if err != nil || once.isOf(resp) {
		return resp, once.isDead.Load(), err
	}
	document := resp.Body
	defer func() { _ = document.Close() }()
	var refused problem.Document
	if err := json.NewDecoder(document).Decode(&refused); err != nil {
		return nil, false, err
	}
	return nil, false, &realm.Error{Code: refused.Code, Status: refused.Status, Detail: refused.Detail}
}

// senderFunc is a Sender of one function.
type senderFunc func(ref realm.Ref, out *http.Request) error

// MaySend implements inject.Sender.
func (f senderFunc) MaySend(ref realm.Ref, out *http.Request) error { return f(ref, out) }

// oneCall is what one call needs of a broker, and notes what comes of it. A token that
// the API refuses is not replaced: to see that it is refused is what the call is for.
type oneCall struct {
	app    *App
	isDead atomic.Bool
	// mediaType is that of the API's answer; nil without one.
	mediaType atomic.Pointer[string]
}

// isOf reports whether an answer is the API's, and no refusal of the injection, which
// may also take the place of an answer.
func (c *oneCall) isOf(resp *http.Response) bool {
	came := c.mediaType.Load()
	return came != nil && (*came == problem.ContentType || resp.Header.Get("Content-Type") != problem.ContentType)
}

var errNotRenewed = errors.New("a dry run does not renew the token")

// Heal implements inject.Source.
func (c *oneCall) Heal(context.Context, realm.Ref, realm.Hidden, realm.Blame) (*realm.Lease, bool, error) {
	c.isDead.Store(true)
	return nil, false, errNotRenewed
}

// Helped implements inject.Source.
func (*oneCall) Helped(realm.Ref, *realm.Lease) {}

// Worked implements inject.Source: that the API takes the token is as true here as
// on the proxy.
func (c *oneCall) Worked(ref realm.Ref, lease *realm.Lease) { c.app.view.Worked(ref, lease) }

// over notes whether the API answered at all.
func (c *oneCall) over(base http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err == nil {
			mediaType := resp.Header.Get("Content-Type")
			c.mediaType.Store(&mediaType)
		}
		return resp, err
	})
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Interface guards
var (
	_ adminapi.APIs = (*apiCalls)(nil)
	_ inject.Source = (*oneCall)(nil)
)
