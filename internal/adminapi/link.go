package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
)

// authorization is where a person authorizes. The URL holds the state.
type authorization struct {
	URL string `json:"url"`
}

// authorize begins an authorization by a person, and shows where to go or
// leads there.
func (a *api) authorize(ctx context.Context, r *request) (any, error) {
	redirect, err := r.query.flag("redirect", false)
	if err != nil {
		return nil, err
	}
	to, err := a.broker.AuthorizeURL(ctx, r.secretRef())
	if err != nil {
		return nil, err
	}
	if redirect {
		return reply{status: http.StatusFound, header: map[string]string{"Location": to}}, nil
	}
	return plainJSON(authorization{to})
}

// plainJSON is JSON in which "&" is not escaped: somebody may copy the URL out
// of it.
func plainJSON(v any) (json.RawMessage, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return json.RawMessage(b.String()), err
}
