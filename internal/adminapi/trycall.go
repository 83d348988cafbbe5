package adminapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// APIs sends requests to the APIs of realms as the gateway does: with the token, and
// with everything that keeps it from going elsewhere.
type APIs interface {
	// Send sends one request, whose URL has a path and a query alone. maySend has the
	// last word about what goes out. A redirect is not followed, and a token that
	// the API refuses is not renewed: isDead reports that. An error is a
	// *realm.Error where the request was refused here.
	Send(req *http.Request, ref realm.Ref, lease *realm.Lease, maySend func(ref realm.Ref, out *http.Request) error) (resp *http.Response, isDead bool, err error)
}

const (
	// maxCallAnswer is how much of an API's answer is read.
	maxCallAnswer = 1 << 20
	// maxCallJudged is how much of it the rules about dead tokens look at, as on the
	// proxy.
	maxCallJudged = 64 << 10
	// callPatience is how long a call may take.
	callPatience = 30 * time.Second
)

// takeCall reads the request that a dry run is to send; nil for none. There is none
// with a trial config: the live token was got with the stored one, and belongs to
// its hosts.
func takeCall(o object, isTrial bool) (*http.Request, error) {
	var asked *struct {
		Method string `json:"method"`
		Path   string `json:"path"`
	}
	if _, err := o.take("call", &asked); err != nil || asked == nil {
		return nil, err
	}
	if isTrial {
		return nil, realm.Fieldf("call", "cannot stand beside config: a call sends the live token, which is that of the saved realm")
	}
	if !httpguts.ValidHeaderFieldName(asked.Method) {
		return nil, realm.Fieldf("call.method", "must be a method, as GET")
	}
	target, err := url.ParseRequestURI(asked.Path)
	if err != nil || !strings.HasPrefix(asked.Path, "/") {
		return nil, realm.Fieldf("call.path", "must be a path that begins with a slash, perhaps with a query")
	}
	header := http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "User-Agent": {"caddy-tokens"}}
	return &http.Request{Method: asked.Method, URL: target, Header: header, Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}, nil
}

// mayCall is nil for who may use the token at all; which method and path is asked
// of maySend. To administrate a realm does not include that.
func (a *api) mayCall(r *request, ref realm.Ref) error {
	if a.apis == nil {
		return realm.Fieldf("call", "is not possible here")
	}
	return require(r.caller.hasAll() || r.caller.Client != nil && r.caller.Client.MayAny(access.Use, ref.Realm, ref.Key))
}

// maySend is the last word on a call, as it goes out.
func maySend(c Caller) func(ref realm.Ref, out *http.Request) error {
	return func(ref realm.Ref, out *http.Request) error {
		q := access.Question{Right: access.Use, Ref: ref, Method: out.Method, Path: out.URL.EscapedPath()}
		return require(c.hasAll() || c.Client != nil && c.Client.Decide(q).Allowed)
	}
}

// call sends a request with the live token, and tells what came of it.
func (a *api) call(ctx context.Context, ref realm.Ref, req *http.Request) *doctor.Call {
	told := &doctor.Call{Method: req.Method, Path: req.URL.Path}
	e := event(ctx, audit.ActAccess, ref)
	lease, err := a.broker.Proxyable(ctx, ref)
	if err == nil {
		err = a.send(ctx, ref, lease, req, told)
	}
	if err == nil {
		a.audit.Request(e, tokenstore.AuditOK)
		return told
	}
	var known *realm.Error
	if told.Code, told.Error = realm.CodeTokenUnavailable, "the API gave no answer"; errors.As(err, &known) {
		told.Code, told.Error = known.Code, known.Detail
	} else if fault := grant.FaultOf(ctx, err); fault != "" {
		told.Fault = fault
	}
	e.Code = string(told.Code)
	a.audit.Request(e, tokenstore.AuditFailed)
	return told
}

// send sends the request and reads the answer, as far as it is told.
func (a *api) send(ctx context.Context, ref realm.Ref, lease *realm.Lease, req *http.Request, told *doctor.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	began := a.now()
	resp, isDead, err := a.apis.Send(req.WithContext(ctx), ref, lease, maySend(callerOf(ctx)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCallAnswer+1))
	if err != nil {
		return err
	}
	answer := grant.APIAnswer{Status: resp.StatusCode, Header: resp.Header, Body: body, Took: a.now().Sub(began)}
	if told.Cut = len(body) > maxCallAnswer; told.Cut {
		answer.Body = body[:maxCallAnswer]
	}
	told.Dead = isDead
	if rule := lease.Target.Dead; isDead && rule != nil {
		judged := body[:min(len(body), maxCallJudged)]
		if i, ok := rule.Which(resp.StatusCode, resp.Header, judged, len(judged) == len(body)); ok {
			told.Rule = &i
		}
	}
	told.Response, err = a.broker.ReportAnswer(ctx, ref, lease, answer)
	return err
}
