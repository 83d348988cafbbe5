package adminapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// description is the OpenAPI 3.1 description of every route. The tests hold
// it against the routes and against every answer that they get.
//
//go:embed openapi.json
var description json.RawMessage

// statusDocument is the answer of GET /api/status.
type statusDocument struct {
	broker.Status
	Clients clientsStatus `json:"clients"`
}

// clientsStatus tells whether this node knows the clients as they are now.
type clientsStatus struct {
	// Required: only clients are served.
	Required bool `json:"required"`
	// StaleSince is since when changes of clients may have gone unnoticed, because
	// the database does not answer or the other nodes are not heard: the last
	// known rights hold.
	StaleSince *time.Time `json:"stale_since,omitempty"`
}

// status answers GET /api/status.
func (a *api) status(ctx context.Context, r *request) (any, error) {
	s := a.broker.Status(ctx)
	s.Tokens = slices.DeleteFunc(s.Tokens, func(t broker.TokenStatus) bool {
		return !r.caller.may(access.AdminRead, realm.Ref{Realm: t.Realm, Key: t.Key})
	})
	for i := range s.Tokens {
		s.Tokens[i].Parents = slices.DeleteFunc(s.Tokens[i].Parents, func(p broker.ParentStatus) bool {
			return !r.caller.maySome(access.AdminRead, p.Realm)
		})
	}
	if !r.caller.mayAll(access.AdminRead) {
		s.Damaged = slices.DeleteFunc(s.Damaged, func(d tokenstore.Damage) bool {
			return d.Realm == "" || !r.caller.may(access.AdminRead, realm.Ref{Realm: d.Realm, Key: d.Key})
		})
	}
	if s.Stores == nil {
		s.Stores = []broker.StoreStatus{}
	}
	if s.Tokens == nil {
		s.Tokens = []broker.TokenStatus{}
	}
	clients := clientsStatus{Required: a.clients.Required(), StaleSince: endOf(a.clients.Since())}
	return statusDocument{s, clients}, nil
}

// openAPI answers GET /api/openapi.json.
func (a *api) openAPI(context.Context, *request) (any, error) { return description, nil }
