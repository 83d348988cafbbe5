package inject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The refusals that are the same for every request. They are shared and never
// changed.
var (
	errMethod = &realm.Error{
		Code: realm.CodeMethod, Status: http.StatusMethodNotAllowed,
		Detail: "this method would show the token or open a tunnel with it",
	}
	errRealmMethod = &realm.Error{
		Code: realm.CodeMethod, Status: http.StatusMethodNotAllowed,
		Detail: "the realm does not allow this method (methods)",
	}
	errUpgrade = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "the realm does not allow upgrades (upgrade: true)",
	}
	errScrubbedUpgrade = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "upgrades are refused, because the token cannot be removed from what is no longer HTTP (scrub: true)",
	}
	errUnrequestedUpgrade = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusBadGateway,
		Detail: "the upstream switched protocols without being asked",
	}
	errRequestTarget = &realm.Error{
		Code: realm.CodeInvalidField, Status: http.StatusBadRequest,
		Detail: "the request target is not a path with a query (RFC 9112 section 3.2.1)",
	}
	errPlacement = &realm.Error{
		Code: realm.CodeTokenUnavailable, Status: http.StatusBadGateway,
		Detail: "the token could not be put into the request",
	}
)

// allowedMethods is the Allow header of a 405 (RFC 9110 section 15.5.6) where the
// realm does not list its methods.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// checkRequest refuses requests that must not leave with the token, whatever
// their destination.
func checkRequest(req *http.Request, lease *realm.Lease) error {
	if err := checkMethod(req, lease.Target.Methods); err != nil {
		return err
	}
	switch {
	case !isUpgrade(req):
		return nil
	case lease.Target.Scrub:
		return errScrubbedUpgrade
	case !lease.Target.Upgrade:
		return errUpgrade
	}
	return nil
}

// checkMethod refuses methods whose answer quotes the request (TRACE, and
// IIS's TRACK), CONNECT unless it is an upgrade in disguise (RFC 8441), and those
// that are not the realm's; nil allows all others. An extended CONNECT counts as
// the GET that it is with HTTP/1.1. Upstreams may read methods in any case, so
// that those of the realm match exactly.
func checkMethod(req *http.Request, allowed []string) error {
	method := req.Method
	switch {
	case strings.EqualFold(method, http.MethodTrace), strings.EqualFold(method, "TRACK"):
		return errMethod
	case method == "", len(req.Header[":protocol"]) > 0:
		method = http.MethodGet
	case strings.EqualFold(method, http.MethodConnect):
		return errMethod
	}
	if len(allowed) > 0 && !slices.Contains(allowed, method) {
		return errRealmMethod
	}
	return nil
}

// isUpgrade reports whether the request asks to leave HTTP: by an Upgrade header
// or by an extended CONNECT. The proxy in front has removed the hop-by-hop
// headers, so an Upgrade header is there only where the caller asked for one.
func isUpgrade(req *http.Request) bool {
	return len(req.Header["Upgrade"]) > 0 || len(req.Header[":protocol"]) > 0
}

// refuse answers with the problem document of err, and sends nothing. Only where
// the caller itself is gone it returns an error: nobody reads the answer then, and
// the proxy in front has a status of its own for that.
func (t *Transport) refuse(req *http.Request, job Job, err error) (*http.Response, error) {
	closeBody(req)
	if errors.Is(req.Context().Err(), context.Canceled) {
		return nil, context.Canceled
	}
	resp := document(err).Response(req)
	if resp.StatusCode == http.StatusMethodNotAllowed {
		resp.Header.Set("Allow", allow(job.Lease))
	}
	t.logRefusal(job, resp.StatusCode, err)
	return resp, nil
}

// allow is the Allow header of a 405.
func allow(lease *realm.Lease) string {
	if lease == nil || len(lease.Target.Methods) == 0 {
		return allowedMethods
	}
	return strings.Join(lease.Target.Methods, ", ")
}

// document is problem.From, and a word for a source that ran out of time
// without saying so.
func document(err error) problem.Document {
	var known *realm.Error
	if errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &known) {
		return problem.New(http.StatusGatewayTimeout, realm.CodeTokenUnavailable, "no token in time")
	}
	return problem.From(err)
}

// logRefusal logs what an operator has to look at; that a realm is unknown or
// a provider is down is said elsewhere. An error of an unknown type is named
// by its type only: its text may hold anything.
func (t *Transport) logRefusal(job Job, status int, err error) {
	if t.Log == nil {
		return
	}
	where := []zap.Field{
		zap.String("realm", job.Ref.Realm), zap.String("key", job.Ref.Key), zap.String("dial", job.Dial),
	}
	var known *realm.Error
	var field *realm.FieldError
	switch {
	case !errors.As(err, &known):
		t.Log.Error("no token", append(where, zap.Int("status", status), zap.String("type", fmt.Sprintf("%T", err)))...)
	case known.Code == realm.CodeHostNotAllowed:
		t.Log.Warn("token kept back", append(where, zap.String("reason", known.Detail))...)
	case known.Code == realm.CodeTokenUnavailable && errors.As(known.Err, &field):
		t.Log.Warn("token kept back", append(where, zap.String("reason", field.Error()))...)
	case known == errCoding:
		t.Log.Warn("answer kept back", append(where, zap.String("reason", known.Detail))...)
	case known == errPlacement, known == errUnrequestedUpgrade:
		t.Log.Error("token kept back", append(where, zap.String("reason", known.Detail))...)
	}
}

// closeBody does what every RoundTripper has to do, also when it fails.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
