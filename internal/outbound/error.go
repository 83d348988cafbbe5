package outbound

import (
	"context"
	"errors"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
)

// Fault says why a proxy gave no connection.
type Fault string

// The faults of a proxy.
const (
	ProxyUnreachable Fault = "proxy_unreachable" // nothing that is a proxy is to be had there
	ProxyPrivate     Fault = "proxy_private"     // its address must not be dialled
	WantsCredentials Fault = "proxy_credentials" // it asks for others, or for some
	Refused          Fault = "proxy_refused"     // it does not let the connection through
	NotReached       Fault = "proxy_not_reached" // it does not reach the provider
)

// Error is that of a proxy. It names the proxy without its user and password. The
// provider has nothing to do with it.
type Error struct {
	Fault Fault
	// Proxy is host:port.
	Proxy string
	// Reason goes on behind "the proxy host:port".
	Reason string

	timeout bool
}

func (e *Error) Error() string { return "the proxy " + e.Proxy + " " + e.Reason }

// Timeout is that of a net.Error: the proxy gave no answer in time.
func (e *Error) Timeout() bool { return e.timeout }

// Temporary is that of a net.Error.
func (e *Error) Temporary() bool { return true }

// failed is an answer of the proxy.
func (t *tunnel) failed(f Fault, reason string) *Error {
	return &Error{Fault: f, Proxy: t.proxy.Host, Reason: reason}
}

// unreachable is a proxy that gave no answer, or none that can be read.
func (t *tunnel) unreachable(ctx context.Context, err error) error {
	switch own := ctx.Err(); {
	case errors.Is(err, netguard.ErrForbidden):
		return t.failed(ProxyPrivate, "cannot be used: its "+err.Error())
	case errors.Is(own, context.Canceled):
		return own // of the caller, who does not wait any more
	}
	failed := t.failed(ProxyUnreachable, "cannot be used: "+Reason(ctx, err))
	failed.timeout = IsTimeout(ctx, err)
	return failed
}
