package adminapi

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
)

// description is the OpenAPI 3.1 description of every route. The tests hold
// it against the routes and against every answer that they get.
//
//go:embed openapi.json
var description json.RawMessage

// status answers GET /api/status.
func (a *api) status(ctx context.Context, _ *request) (any, error) {
	s := a.broker.Status(ctx)
	if s.Stores == nil {
		s.Stores = []broker.StoreStatus{}
	}
	if s.Tokens == nil {
		s.Tokens = []broker.TokenStatus{}
	}
	return s, nil
}

// openAPI answers GET /api/openapi.json.
func (a *api) openAPI(context.Context, *request) (any, error) { return description, nil }
