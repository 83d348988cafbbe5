package adminapi

import (
	"encoding/json"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
)

// reply is an answer as it goes out.
type reply struct {
	status int
	// kind is the Content-Type; "" where there is no body.
	kind string
	// header has the names in their canonical form.
	header map[string]string
	body   []byte
	// problem is answered in place of all that.
	problem *problem.Document
}

// replyOf makes a reply of what a handler returns: a reply already, or a value
// that becomes JSON.
func replyOf(v any) (reply, error) {
	switch v := v.(type) {
	case reply:
		return v, nil
	case json.RawMessage: // encoded by the handler itself
		return reply{status: http.StatusOK, kind: typeJSON, body: v}, nil
	}
	body, err := json.Marshal(v)
	return reply{status: http.StatusOK, kind: typeJSON, body: body}, err
}

func (p reply) write(w http.ResponseWriter) {
	if p.problem != nil {
		p.problem.Write(w)
		return
	}
	h := w.Header()
	values := make([]string, 0, len(p.header)+1) // one allocation for all of them
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for name, value := range p.header {
		set(name, value)
	}
	if p.kind != "" {
		set("Content-Type", p.kind)
	}
	w.WriteHeader(p.status)
	// An error of this write means that the caller has gone.
	_, _ = w.Write(p.body)
}
