package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refTemplate names a credential by templates of the operator, with Caddy's
// placeholders. What a caller sends goes into the result only, and is never a
// template itself.
type refTemplate struct{ realm, key string }

// fixed reports whether the templates hold no placeholder.
func (t refTemplate) fixed() bool { return !strings.Contains(t.realm+t.key, "{") }

// ref fills the templates in. A placeholder that is not set is empty.
func (t refTemplate) ref(repl *caddy.Replacer) realm.Ref {
	if t.fixed() || repl == nil {
		return realm.Ref{Realm: t.realm, Key: t.key}
	}
	return realm.Ref{Realm: repl.ReplaceAll(t.realm, ""), Key: repl.ReplaceAll(t.key, "")}
}

// notOfPath are the beginnings of the placeholders that say nothing about the
// path of a request.
var notOfPath = []string{
	"env.", "http.auth.", "http.request.cookie.", "http.request.header.", "http.request.host", "http.request.remote.",
	"http.request.tls.", "http.request.uri.query.",
}

// mayReadPath reports whether a template may take the realm or the key from
// the path of the request: of the other placeholders, such as {http.regexp.*}
// and {http.vars.*}, it is not known what they were made of.
func (t refTemplate) mayReadPath() bool {
	for part := range strings.SplitSeq(t.realm+"{"+t.key, "{") {
		name, _, isPlaceholder := strings.Cut(part, "}")
		if isPlaceholder && !slices.ContainsFunc(notOfPath, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			return true
		}
	}
	return false
}

// check refuses a request whose realm or key may have been taken out of a path
// with dot segments. Caddy resolves them before it fills placeholders in, and
// what decides about the caller in front of us, such as forward_auth, may have
// judged another realm or key in the path that was sent.
func (t refTemplate) check(sent *url.URL) error {
	if sent != nil && strings.Contains(sent.Path, ".") && hasDots(sent.Path) && t.mayReadPath() {
		return errDots
	}
	return nil
}

// route is what is the same for all requests of a gateway.
type route struct {
	// api: the upstream is the realm's own api.
	api bool
	// keepHost: header_up Host is used.
	keepHost bool
}

// resolved is what was found out about one request before the transport takes
// it to the API.
type resolved struct {
	ref   realm.Ref
	lease *realm.Lease // nil behind a reverse_proxy that is none of ours
	url   *url.URL     // with the path as the caller sent it
	// passage is of a client; nil for a caller that is none.
	passage *passage
	// dial is the address that is dialled, on the short way; "" behind a reverse_proxy,
	// which says it.
	dial string
}

// resolvedKey is the key of a *resolved in a request's context.
type resolvedKey struct{}

// resolvedOf returns what was found out about the request. Nothing is handed over
// for a caller that is no client by a gateway that is direct, and by a
// reverse_proxy.
func resolvedOf(ctx context.Context) (*resolved, bool) {
	res, ok := ctx.Value(resolvedKey{}).(*resolved)
	return res, ok
}

// withResolved hands over what was found out about a request. A passage has a
// place for it.
func withResolved(ctx context.Context, res resolved) context.Context {
	if p := res.passage; p != nil {
		p.resolved = res
		return p
	}
	kept := res
	return context.WithValue(ctx, resolvedKey{}, &kept)
}

// job tells the injection what was decided about a request: whose token it
// gets, where it goes, and who sent it. A request that gets no token is counted.
func (t *Transport) job(req *http.Request) (inject.Job, error) {
	res, _ := resolvedOf(req.Context())
	if res == nil {
		res = new(resolved)
	}
	return t.jobOf(res, req)
}

// jobOf is job, with what was found out.
func (t *Transport) jobOf(res *resolved, req *http.Request) (job inject.Job, err error) {
	if err = t.complete(&job, res, req); err != nil {
		t.app.refused(req, res.passage.caller(), job.Ref, err)
	}
	return job, err
}

func (t *Transport) complete(job *inject.Job, res *resolved, req *http.Request) error {
	ctx := req.Context()
	repl, _ := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	sent := res.url // nil behind a direct gateway: nothing changed the path since
	job.Ref, job.Lease = res.ref, res.lease
	if job.Lease == nil {
		job.Ref = t.ref.ref(repl)
	}
	var err error
	if t.route == nil {
		sent = sentURL(ctx)
		if err = t.ref.check(sent); err != nil {
			return err
		}
	}
	if req.URL, err = restorePath(sent, req.URL); err != nil {
		return err
	}
	if job.Lease == nil {
		if t.route == nil {
			if err := res.passage.mayUse(t.app, job.Ref, req, req.URL, false); err != nil { //nolint:contextcheck // a passage is a context
				return err
			}
		}
		if job.Lease, err = leaseOf(ctx, t.app, job.Ref); err != nil {
			return err
		}
	}
	t.setPlaceholders(repl, job.Ref, job.Lease)
	t.setUpstream(job, res, req, repl)
	if job.Lease.Target.RewriteLinks {
		job.Site = siteOf(req)
	}
	job.Authenticated = t.admission.user(repl) != ""
	if res.passage != nil {
		job.Sender = res.passage
	}
	if len(job.Lease.Target.Pass) > 0 {
		res.passage.hideKeys(t.app, req.Header)
	}
	return nil
}

// roundTripAlone is RoundTrip where no gateway has asked who calls. What a
// client has under way ends with the body of the answer.
func (t *Transport) roundTripAlone(req *http.Request) (*http.Response, error) {
	repl, _ := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	who, refused := t.admit(req, repl)
	if refused == nil && who.client == nil {
		return t.send(req)
	}
	var p *passage
	if refused == nil {
		p, refused = beginPassage(req.Context(), who)
	}
	if refused != nil {
		t.app.refused(req, who, realm.Ref{}, refused)
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return problem.From(refused).Response(req), nil
	}
	p.app = t.app
	resp, err := t.send(req.WithContext(withResolved(p, resolved{passage: p}))) //nolint:contextcheck // a passage is a context
	if err != nil {
		p.end()
		return nil, err
	}
	p.endWith(resp) //nolint:contextcheck // a passage is a context
	return resp, nil
}

// admit returns who may use the tokens, else why not, where no gateway has asked
// that already. The proxy may have changed the Host, to which an Origin is
// compared.
func (t *Transport) admit(req *http.Request, repl *caddy.Replacer) (caller, *realm.Error) {
	if isHealthCheck(req) {
		return caller{kind: adminapi.KindLocal}, nil
	}
	if repl != nil {
		if host, ok := repl.GetString("http.request.hostport"); ok && host != req.Host {
			came := *req
			came.Host, req = host, &came
		}
	}
	return t.admission.admit(req, repl)
}

// isHealthCheck reports whether a request is the proxy's own, and no caller's. It has no
// peer, and neither have some callers: by a Unix socket, on macOS or behind HAProxy
// with the PROXY protocol. But those came by a server, which notes its own address.
func isHealthCheck(r *http.Request) bool {
	return r.RemoteAddr == "" && r.Context().Value(http.LocalAddrContextKey) == nil
}

// setUpstream tells the injection where the request goes.
func (t *Transport) setUpstream(job *inject.Job, res *resolved, req *http.Request, repl *caddy.Replacer) {
	if res.dial != "" {
		job.Dial, job.TrustedDial = res.dial, true
	} else if dial, ok := reverseproxy.GetDialInfo(req.Context()); ok {
		job.Dial = dial.Address
		// An upstream with a placeholder is named by the caller.
		job.TrustedDial = dial.Upstream != nil && !strings.Contains(dial.Upstream.Dial, "{")
	}
	if t.route != nil {
		job.UseAPI, job.KeepHost = t.route.api, t.route.keepHost
		job.TrustedDial = job.TrustedDial && !job.UseAPI
		return
	}
	if repl != nil {
		// The transport does not see its proxy's settings, but whether the
		// Host is still the caller's.
		came, known := repl.GetString("http.request.hostport")
		job.KeepHost = known && came != req.Host
	}
}

// leaseOf takes the token of a credential. An empty realm or key is none: there
// is no default that nobody asked for.
func leaseOf(ctx context.Context, app *App, ref realm.Ref) (*realm.Lease, error) {
	switch {
	case ref.Realm == "":
		return nil, errNoRealm
	case ref.Key == "":
		return nil, errNoKey
	}
	l, err := app.view.Proxyable(ctx, ref)
	if err != nil {
		return nil, named(err, ref)
	}
	return l, nil
}

// maxName is how much of a name is repeated in an error.
const maxName = 100

// named says in an error which realm or secret is not there: a caller that
// mistyped a name sees it at once.
func named(err error, ref realm.Ref) error {
	var e *realm.Error
	if !errors.As(err, &e) {
		return err
	}
	told := *e
	switch e.Code {
	case realm.CodeRealmNotFound:
		told.Detail = fmt.Sprintf("no realm is named %.*s", maxName, ref.Realm)
	case realm.CodeSecretNotFound:
		told.Detail = fmt.Sprintf("realm %.*s has no secret named %.*s", maxName, ref.Realm, maxName, ref.Key)
	default:
		return err
	}
	return &told
}

var (
	errDots = &realm.Error{
		Code: realm.CodeInvalidField, Status: http.StatusBadRequest, Detail: "path: " + dotsReason,
		Err: realm.Fieldf("path", "%s", dotsReason),
	}
	errNoRealm = &realm.Error{
		Code: realm.CodeRealmNotFound, Status: http.StatusNotFound, Detail: "the request names no realm",
	}
	errNoKey = &realm.Error{
		Code: realm.CodeSecretNotFound, Status: http.StatusNotFound, Detail: "the request names no key",
	}
)

const dotsReason = "the realm or the key is taken from the path, which must not have the segments '.' and '..' then"
