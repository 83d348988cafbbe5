package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"
)

// request is what a handler gets to see of a request.
type request struct {
	route *route
	// words are the route's, or others that fit what was asked for.
	words vocabulary
	// ids are the segments of the path that stand for the names in the
	// route's path, in order.
	ids   [2]string
	query query
	// body is the JSON that was sent, nil where there was none.
	body []byte
}

// errPanicked stands for a panic that was logged already.
var errPanicked = errors.New("panic")

// ServeHTTP answers every request with JSON or with a problem document.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")

	req, allow, err := find(r)
	if allow != "" {
		h.Set("Allow", allow)
	}
	var answer []byte
	if err == nil {
		answer, err = a.serve(w, r, req)
	}
	if err != nil {
		a.refuse(w, r, req, err)
		return
	}
	h.Set("Content-Type", "application/json")
	// An error of this write means that the caller has gone.
	_, _ = w.Write(answer)
}

// serve does what the route says. A panic of a handler ends here: Caddy would
// otherwise log its value.
func (a *api) serve(w http.ResponseWriter, r *http.Request, req *request) (answer []byte, err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			a.log.Error("panic in the admin API", zap.String("route", req.route.path),
				zap.String("type", fmt.Sprintf("%T", v)), zap.Stack("stack"))
			answer, err = nil, errPanicked
		}
	}()
	if err := ownSite(r); err != nil {
		return nil, err
	}
	if req.body, err = readBody(w, r, req.route.takes); err != nil {
		return nil, err
	}
	v, err := req.route.handle(a, r.Context(), req)
	if err != nil {
		return nil, err
	}
	if raw, ok := v.(json.RawMessage); ok { // encoded by the handler itself
		return raw, nil
	}
	return json.Marshal(v)
}

// refuse answers with a problem document. What only the operator can repair
// is logged, with the route instead of the path; a caller that went away is
// not worth a line.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, req *request, err error) {
	d := document(req.words, err)
	gone := errors.Is(err, context.Canceled) && r.Context().Err() != nil
	if internal(d) && !gone && !errors.Is(err, errPanicked) {
		a.log.Error("admin request failed", zap.String("method", r.Method),
			zap.String("route", req.route.path), zap.Error(cause(err)))
	}
	d.Write(w)
}
