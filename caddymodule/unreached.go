package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// unreached answers a request to which the API gave no answer with the reason, in
// place of an empty 502 or 504. Other errors stay as they are: of a caller that left,
// and of what handle_response does.
func (g *Gateway) unreached(w http.ResponseWriter, r *http.Request, ref realm.Ref, err error) error {
	var failed caddyhttp.HandlerError
	ctx := r.Context()
	if !errors.As(err, &failed) || ctx.Err() != nil || failed.StatusCode != http.StatusBadGateway && failed.StatusCode != http.StatusGatewayTimeout {
		return err
	}
	status, reason, isConnection := whyUnreached(ctx, failed.StatusCode, failed.Err)
	if !isConnection && len(g.HandleResponse) > 0 {
		return err
	}
	g.log.Error("the API gave no answer", zap.Stringer("ref", ref), zap.String("reason", reason))
	noAnswer(status, ref, reason).Write(w)
	return nil
}

// whyUnreached is the status and the reason of an error of a connection, and whether it
// certainly is one.
func whyUnreached(ctx context.Context, status int, err error) (_ int, reason string, isConnection bool) {
	reason = outbound.Reason(ctx, err)
	var dial reverseproxy.DialError // it hides what it wraps; its text is that of net.Dialer
	switch isDial := errors.As(err, &dial); {
	case isDial:
		return status, dial.Error(), true
	case outbound.IsTimeout(ctx, err):
		status = http.StatusGatewayTimeout
	}
	return status, reason, grant.FaultOf(ctx, err) != ""
}

func noAnswer(status int, ref realm.Ref, reason string) problem.Document {
	return problem.New(status, realm.CodeUnreachable, fmt.Sprintf("the API of realm %.*s gave no answer: %s", maxName, ref.Realm, reason))
}

// unreached is Gateway.unreached for a reverse_proxy of the operator's. Where that tries
// again, or counts failures, it has the error, which it goes by.
func (t *Transport) unreached(req *http.Request, err error) (*http.Response, error) {
	ctx := req.Context()
	if !t.answersFailures || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil, err
	}
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil, err
	}
	ref := t.ref.ref(repl)
	status, reason, _ := whyUnreached(ctx, http.StatusBadGateway, err)
	t.log.Error("the API gave no answer", zap.Stringer("ref", ref), zap.String("reason", reason))
	return noAnswer(status, ref, reason).Response(req), nil
}

// triesOnce reports whether the reverse_proxy that a transport belongs to makes an
// error page of each error, and nothing else. It is the nearest one: another may be
// around it, whose handle_response it is in.
func triesOnce(ctx caddy.Context) bool {
	for _, m := range slices.Backward(ctx.Modules()) {
		if h, ok := m.(*reverseproxy.Handler); ok {
			lb, health := h.LoadBalancing, h.HealthChecks
			return (lb == nil || lb.Retries == 0 && lb.TryDuration == 0) && (health == nil || health.Passive == nil)
		}
	}
	return false
}
