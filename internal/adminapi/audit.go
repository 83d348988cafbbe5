package adminapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// writer says who writes the entry of an act that succeeds.
type writer uint8

const (
	// byStore: the store, in the transaction of the change.
	byStore writer = iota
	// byBroker: auditedBroker, which knows whose token it is about.
	byBroker
	// before: serve, before the handler runs.
	before
	// behind: serve, when the handler has found out what it is about.
	behind
)

// act is what a route does, as the audit calls it.
type act struct {
	name   string
	writer writer
}

// acts are those of the routes. A route that is not here changes nothing and
// hands nothing out; of it only refusals are written, as audit.ActAccess.
var acts = map[[2]string]act{
	{http.MethodGet, "/api/token"}:                             {audit.ActRead, byBroker},
	{http.MethodPost, "/api/token"}:                            {audit.ActRead, byBroker},
	{http.MethodPost, "/api/realm"}:                            {"realm.update", byStore},
	{http.MethodDelete, "/api/realm/{id}"}:                     {"realm.delete", byStore},
	{http.MethodPost, "/api/realm/{id}/test"}:                  {"realm.test", byBroker},
	{http.MethodPost, "/api/secret"}:                           {"secret.update", byStore},
	{http.MethodDelete, "/api/secret/{realm}/{key}"}:           {"secret.delete", byStore},
	{http.MethodGet, "/api/secret/{realm}/{key}/authorize"}:    {audit.ActAuthorize, before},
	{http.MethodPost, "/api/secret/{realm}/{key}/push"}:        {audit.ActPush, byStore},
	{http.MethodPost, "/api/company"}:                          {"company.update", byStore},
	{http.MethodDelete, "/api/company/{taxpayer_id}"}:          {"company.delete", byStore},
	{http.MethodPost, "/api/client"}:                           {"client.update", byStore},
	{http.MethodDelete, "/api/client/{id}"}:                    {"client.delete", byStore},
	{http.MethodPost, "/api/client/{id}/rotate"}:               {"client.rotate", byStore},
	{http.MethodPost, "/api/renew-due"}:                        {audit.ActFlush, byBroker},
	{http.MethodPost, "/api/keys/rotate"}:                      {"key.rotate", before},
	{http.MethodGet, backupPath}:                               {"backup", before},
	{http.MethodPost, sessionPath}:                             {audit.ActLogin, byStore},
	{http.MethodPost, "/{realm}-account/get-access-token"}:     {audit.ActRead, byBroker},
	{http.MethodPost, "/{realm}-account/request-access-token"}: {audit.ActAuthorize, byBroker},
	{http.MethodPost, "/{realm}-account/refresh-token"}:        {audit.ActFlush, byBroker},
	{http.MethodPost, "/{realm}-account/init-all-token"}:       {audit.ActFlush, byBroker},
	{http.MethodPost, "/{realm}-account/refresh-all-token"}:    {audit.ActFlush, byBroker},
	{http.MethodGet, "/{realm}-account/callback-token"}:        {audit.ActCallback, behind},
}

// act is the route's.
func (rt *route) act() (act, bool) {
	a, ok := acts[[2]string{rt.method, rt.path}]
	return a, ok
}

// event is what the caller of ctx does.
func event(ctx context.Context, name string, ref realm.Ref) audit.Event {
	c := callerOf(ctx)
	return audit.Event{Actor: audit.Actor{Kind: string(c.Kind), ID: c.ID}, Address: c.Address, Act: name, Ref: ref}
}

// event is what the request is about, as far as that is known.
func (r *request) event(ctx context.Context) audit.Event {
	name, target := audit.ActAccess, r.route.path
	if a, ok := r.route.act(); ok {
		name, target = a.name, ""
	}
	e := event(ctx, cmp.Or(r.tries, name), r.about)
	switch {
	case r.route.namesRealm() && e.Ref == (realm.Ref{}):
		e.Ref = realm.Ref{Realm: r.ids[0], Key: r.ids[1]}
	case !r.route.namesRealm() && target == "":
		target = cmp.Or(r.ids[0], r.target) // of the client or the company; often none
	}
	e.Target = target
	return e
}

// namesRealm reports whether the ids of the path are those of a realm and a key.
func (rt *route) namesRealm() bool {
	return strings.Contains(rt.path, "{realm}") || strings.HasPrefix(rt.path, "/api/realm/")
}

// trace notes what the audit has of a request. Several keys of a realm may be
// worked on at once.
type trace struct {
	// begun: there is an entry that says that an act was allowed and begins,
	// and one that it failed, if it did.
	begun atomic.Bool
}

// audited runs the handler of a route, so that the audit has what it does.
func (a *api) audited(ctx context.Context, r *request) (any, error) {
	act, ok := r.route.act()
	if a.audit == nil || !ok {
		return r.route.handle(a, ctx, r)
	}
	switch act.writer {
	case byStore:
		ctx = a.audit.Change(ctx, event(ctx, act.name, realm.Ref{}))
	case before:
		begun, err := a.audit.Begin(ctx, r.event(ctx))
		if err != nil {
			return nil, err
		}
		visitOf(ctx).trace.begun.Store(true)
		v, err := r.route.handle(a, ctx, r)
		failed(begun, err)
		return v, err
	case byBroker, behind:
	}
	v, err := r.route.handle(a, ctx, r)
	if err == nil && act.writer == behind {
		a.audit.Done(r.event(ctx))
	}
	return v, err
}

// writeRefusal has the audit note that a request was refused, or failed, unless
// it has that already. Of routes that are no act, only what the caller had no
// right to is written.
func (a *api) writeRefusal(r *http.Request, req *request, err error) {
	d := document(req.words, err)
	_, isAct := req.route.act()
	switch {
	case a.audit == nil, visitOf(r.Context()).trace.begun.Load(), gone(r, err), d.Code == realm.CodeAuditUnavailable,
		!isAct && d.Status != http.StatusForbidden && d.Status != http.StatusTooManyRequests:
		return
	}
	e := req.event(r.Context())
	e.Code = string(d.Code)
	if d.Status < http.StatusInternalServerError {
		a.audit.Refused(e)
	} else {
		a.audit.Failed(e)
	}
}

// auditedBroker is a broker whose callers' acts are written down. Who the caller
// is, is in the context.
type auditedBroker struct {
	Broker
	audit *audit.Recorder
}

// begin writes that something is allowed and begins.
func (b auditedBroker) begin(ctx context.Context, name string, ref realm.Ref) (audit.Begun, error) {
	begun, err := b.audit.Begin(ctx, event(ctx, name, ref))
	if err == nil {
		visitOf(ctx).trace.begun.Store(true)
	}
	return begun, err
}

// failed writes that it failed. A caller that went away learns no result, and
// neither does the audit: what he began goes on.
func failed(begun audit.Begun, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		begun.Failed(string(document(nil, err).Code))
	}
}

// Read hands out a token once that is written down.
func (b auditedBroker) Read(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	lease, err := b.Broker.Read(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := b.audit.Read(ctx, event(ctx, audit.ActRead, ref), lease.Lineage); err != nil {
		return nil, err
	}
	return lease, nil
}

// Token is Read, for an edge.
func (b auditedBroker) Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	lease, err := b.Broker.Token(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := b.audit.Read(ctx, event(ctx, audit.ActRead, ref), lease.Lineage); err != nil {
		return nil, err
	}
	return lease, nil
}

// Heal is Read, of another token than the refused one.
func (b auditedBroker) Heal(ctx context.Context, ref realm.Ref, refused realm.Hidden, blame realm.Blame) (*realm.Lease, bool, error) {
	lease, isBought, err := b.Broker.Heal(ctx, ref, refused, blame)
	if err != nil {
		return nil, false, err
	}
	if err := b.audit.Read(ctx, event(ctx, audit.ActRead, ref), lease.Lineage); err != nil {
		return nil, false, err
	}
	return lease, isBought, nil
}

func (b auditedBroker) Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	return b.obtain(ctx, audit.ActFlush, ref, b.Broker.Flush)
}

func (b auditedBroker) Authorize(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	return b.obtain(ctx, audit.ActAuthorize, ref, b.Broker.Authorize)
}

func (b auditedBroker) Ensure(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	return b.obtain(ctx, audit.ActFlush, ref, b.Broker.Ensure)
}

func (b auditedBroker) obtain(
	ctx context.Context, name string, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error),
) (*realm.Lease, error) {
	begun, err := b.begin(ctx, name, ref)
	if err != nil {
		return nil, err
	}
	lease, err := obtain(ctx, ref)
	failed(begun, err)
	return lease, err
}

func (b auditedBroker) RenewNow(ctx context.Context, ref realm.Ref) (*realm.Lease, bool, error) {
	begun, err := b.begin(ctx, audit.ActFlush, ref)
	if err != nil {
		return nil, false, err
	}
	lease, fresh, err := b.Broker.RenewNow(ctx, ref)
	failed(begun, err)
	return lease, fresh, err
}

func (b auditedBroker) Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error) {
	begun, err := b.begin(ctx, "realm.test", ref)
	if err != nil {
		return grant.Report{}, err
	}
	report, err := b.Broker.Test(ctx, ref, config)
	failed(begun, err)
	return report, err
}

// ActOf is the act of the route that a request is for, for refusals in front of
// the API: audit.ActAccess for none.
func ActOf(r *http.Request) string {
	if req, _, err := find(routes, r); err == nil {
		if a, ok := req.route.act(); ok {
			return a.name
		}
	}
	return audit.ActAccess
}
