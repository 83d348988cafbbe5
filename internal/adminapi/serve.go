package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// request is what a handler gets to see of a request.
type request struct {
	route  *route
	caller Caller
	// about is whose secret or realm the request is about, as far as it is known.
	about realm.Ref
	// target is the id of the client or the company that the body names.
	target string
	// tries is the act that is tried, where it is not the route's.
	tries string
	// words are the route's, or others that fit what was asked for.
	words vocabulary
	// ids are the segments of the path that stand for the names in the
	// route's path, in order.
	ids   [2]string
	query query
	// header and body are what was sent; body is nil where there was nothing.
	header http.Header
	body   []byte
	// lines is where results go one by one; nil where the caller does not
	// want that, and the route does not always do it.
	lines *lines
}

// errPanicked stands for a panic that was logged already.
var errPanicked = errors.New("panic")

// ServeHTTP answers every request with what its route is for, or with a
// problem document.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	problem.SetSecurityHeaders(h)

	req, allow, err := find(a.routes, r)
	if allow != "" {
		h.Set("Allow", allow)
	}
	var answer reply
	if err == nil {
		answer, err = a.serve(w, r, req)
	}
	if err != nil {
		answer = a.refuse(r, req, err)
		a.writeRefusal(r, req, err)
	}
	if req.route.kind != kindPlain {
		a.logConfidential(r, req, answer.status, err)
	}
	if req.lines.begun() {
		if err != nil {
			// It is too late for a refusal, and the caller must not take what
			// it got for the whole.
			panic(http.ErrAbortHandler)
		}
		return
	}
	answer.write(w)
}

// serve does what the route says. A panic of a handler ends here: Caddy would
// otherwise log its value.
func (a *api) serve(w http.ResponseWriter, r *http.Request, req *request) (answer reply, err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			a.log.Error("panic in the admin API", zap.String("route", req.route.path),
				zap.String("type", fmt.Sprintf("%T", v)), zap.Stack("stack"))
			answer, err = reply{}, errPanicked
		}
	}()
	req.caller = callerOf(r.Context())
	if req.route.kind != kindCallback {
		if err := refuseOtherSites(r, req.caller.Host); err != nil {
			return reply{}, err
		}
	}
	if err := req.route.allow(req.caller, req.ids); err != nil {
		return reply{}, err
	}
	if a.edge != nil && req.route.edge == notOnEdge {
		return reply{}, a.edge
	}
	if req.body, err = readBody(w, r, req.route.takes); err != nil {
		return reply{}, err
	}
	req.header = r.Header
	switch kind := req.route.streams(); {
	case kind != "":
		req.lines = newLines(w, kind)
	case accepts(r.Header, typeLines):
		req.lines = newLines(w, typeLines)
	}
	v, err := a.audited(r.Context(), req)
	if err != nil {
		return reply{}, err
	}
	return replyOf(v)
}

// refuse is the answer to a request that failed. What only the operator can
// repair is logged, with the route instead of the path; a caller that went
// away is not worth a line.
func (a *api) refuse(r *http.Request, req *request, err error) reply {
	d := document(req.words, err)
	if e := (*realm.Error)(nil); errors.As(err, &e) && req.showsProviderMessage() {
		d.ProviderMessage = e.ProviderMessage
	}
	if internal(d) && !gone(r, err) && !errors.Is(err, errPanicked) {
		log := a.log
		if req.route.kind == kindCallback {
			log = a.sampled
		}
		log.Error("admin request failed", zap.String("method", r.Method),
			zap.String("route", req.route.path), zap.Error(cause(err)))
	}
	if req.route.kind == kindCallback {
		return failedPage(d.Status)
	}
	return reply{status: d.Status, problem: &d}
}

// gone reports whether the caller went away before there was an answer.
func gone(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}

// logConfidential writes the line of a request that no access log may have.
// Anybody may cause one. So what cannot be an id, and may be long, is left out,
// and of many refusals only a sample is logged.
func (a *api) logConfidential(r *http.Request, req *request, status int, err error) {
	fields := []zap.Field{
		zap.String("method", r.Method), zap.String("route", req.route.path), zap.String("remote", r.RemoteAddr),
	}
	for i, name := range []string{"realm", "key"} {
		if id := req.ids[i]; realm.ValidateID(name, id) == nil {
			fields = append(fields, zap.String(name, id))
		}
	}
	if gone(r, err) {
		a.sampled.Info("the caller of a confidential request did not wait", fields...)
		return
	}
	log := a.log
	fields = append(fields, zap.Int("status", status))
	if err != nil {
		d := document(req.words, err)
		log, fields = a.sampled, append(fields, zap.String("code", string(d.Code)), zap.String("detail", d.Detail))
	}
	log.Info("handled a confidential request", fields...)
}
