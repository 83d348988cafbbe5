package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/internal/push"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func init() {
	caddy.RegisterModule((*Push)(nil))
}

// Push takes what the provider of a realm pushes, for one secret of it: the
// component_verify_ticket of WeChat, the suite_ticket of WeCom, the app_ticket of
// Feishu. The realm's push names the format. It answers every request.
//
// Everybody is served: a request proves itself by its signature, for which the
// secret has the fields push_token and push_aes_key. What does not prove itself is
// answered with 403 and nothing else; the log has the reason. If the store fails,
// the answer is 503, and the provider comes again.
type Push struct {
	// Realm and Key name the secret that gets the values. Both are needed.
	Realm string `json:"realm,omitempty"`
	Key   string `json:"key,omitempty"`

	catalog  *catalog.Catalog
	recorder *audit.Recorder
	log      *zap.Logger
	refusals *zap.Logger
	slots    chan struct{} // a semaphore of those that ask the store
}

// pushSlots is how many requests at a time may ask the store. Anybody may send one,
// and whoever has work for the store must not wait behind all of them.
const pushSlots = 4

// CaddyModule returns the Caddy module information.
func (*Push) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_push",
		New: func() caddy.Module { return new(Push) },
	}
}

// Provision sets up the handler. The realm may be one that the API creates later.
func (p *Push) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if err := app.refuseOnEdge("token_push", "providers push to the instance that it takes its tokens from"); err != nil {
		return err
	}
	if err := realm.ValidateID("realm", p.Realm); err != nil {
		return fmt.Errorf("token_push: %w", err)
	}
	if err := realm.ValidateID("key", p.Key); err != nil {
		return fmt.Errorf("token_push: %w", err)
	}
	p.slots = make(chan struct{}, pushSlots)
	p.catalog, p.recorder, p.log, p.refusals = app.view.Catalog(), app.recorder, ctx.Logger(), adminapi.Sampled(ctx.Logger())
	if r, ok := p.catalog.Remembered(p.Realm); ok && r.Defined && r.Config.Push == "" {
		return fmt.Errorf("token_push: the realm '%s' has no push, which names the format of its provider", p.Realm)
	}
	return nil
}

// ServeHTTP takes a request of the provider.
func (p *Push) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	problem.SetSecurityHeaders(w.Header())
	e := audit.Event{Actor: audit.Actor{Kind: audit.KindSystem}, Address: auditAddress(r), Act: audit.ActPush, Ref: p.ref()}
	answer, err := p.take(p.recorder.Change(r.Context(), e), r)
	if err == nil {
		w.Header().Set("Content-Type", answer.ContentType)
		_, _ = w.Write(answer.Body) // an error means that the provider has gone
		return nil
	}
	status := http.StatusForbidden
	if known := (*realm.Error)(nil); errors.As(err, &known) && known.Status >= http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
		e.Code = string(known.Code)
		p.recorder.Failed(e)
	} else {
		e.Code = string(realm.CodeForbidden)
		p.recorder.Refused(e)
	}
	p.refusals.Warn("a pushed value was not taken", zap.String("realm", p.Realm), zap.String("key", p.Key),
		zap.String("remote", r.RemoteAddr), zap.Int("status", status), zap.Error(err))
	http.Error(w, http.StatusText(status), status)
	return nil
}

func (p *Push) ref() realm.Ref { return realm.Ref{Realm: p.Realm, Key: p.Key} }

// take verifies a request, and keeps what it brings.
func (p *Push) take(ctx context.Context, r *http.Request) (push.Answer, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, push.MaxBody+1))
	if err != nil || len(body) > push.MaxBody {
		return push.Answer{}, fmt.Errorf("%w: the body is broken, or larger than 64 KiB", push.ErrRefused)
	}
	if err := p.acquireSlot(ctx); err != nil {
		return push.Answer{}, err
	}
	defer func() { <-p.slots }()
	c, err := p.catalog.Realm(ctx, p.Realm)
	if err != nil {
		return push.Answer{}, err
	}
	secret, err := p.catalog.Secret(ctx, c, p.ref())
	if err != nil {
		return push.Answer{}, err
	}
	answer, err := push.Read(c.Config.Push, keysOf(c.Config, secret), push.Request{
		Method: r.Method, Query: r.URL.Query(), Header: r.Header, Body: body, Now: time.Now(),
	})
	if err != nil || answer.Field == "" {
		return answer, err
	}
	if _, err := p.catalog.Push(ctx, p.ref(), answer.Field, answer.Value, answer.Life); err != nil {
		return push.Answer{}, err
	}
	p.log.Info("took a pushed value", zap.String("realm", p.Realm), zap.String("key", p.Key), zap.String("field", answer.Field))
	return answer, nil
}

// acquireSlot waits for a slot, as long as the store may take.
func (p *Push) acquireSlot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &realm.Error{Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable, Detail: "too many requests at once"}
	}
}

// keysOf is what a secret, or its realm for all of them, has for the requests of
// the provider.
func keysOf(c realm.Config, s realm.Secret) push.Keys {
	field := func(name string) realm.Hidden {
		if value, ok := s.Fields[name]; ok {
			return value
		}
		return c.Shared[name]
	}
	keys := push.Keys{Token: field(realm.PushTokenField), AESKey: field(realm.PushAESKeyField)}
	for _, name := range realm.ReceiverFields[c.Push] {
		keys.Receivers = append(keys.Receivers, field(name))
	}
	return keys
}

// parsePush reads the handler of what a provider pushes:
//
//	token_push [<matcher>] <realm> <key>
func parsePush(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	p := new(Push)
	if !h.Args(&p.Realm, &p.Key) {
		return nil, h.Err("token_push needs a realm and a key")
	}
	if h.NextArg() {
		return nil, h.Errf("token_push: surplus argument '%s'", h.Val())
	}
	return p, options{}.parse(h.Dispenser, directivePush)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Push)(nil)
	_ caddyhttp.MiddlewareHandler = (*Push)(nil)
)
