package edge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Realm implements tokenstore.RealmStore: what the other instance says about the use
// of a realm's tokens.
func (s *Store) Realm(ctx context.Context, id string) (realm.Realm, error) {
	if !isID(id) {
		return realm.Realm{}, tokenstore.ErrRealmNotFound
	}
	// It is read as what a client may see, whatever else the key is good for.
	var answer struct {
		ID     string       `json:"id"`
		Config realm.Config `json:"config"`
	}
	err := s.ask(ctx, http.MethodGet, "/api/realm/"+url.PathEscape(id), nil, nil, &answer)
	var refused *realm.Error
	switch {
	case errors.As(err, &refused) && refused.Code == realm.CodeRealmNotFound:
		return realm.Realm{}, tokenstore.ErrRealmNotFound
	case err != nil:
		return realm.Realm{}, err
	case answer.ID != id:
		return realm.Realm{}, s.stranger("is not the realm that it was asked for")
	}
	// Where http is allowed is said to edges only; an API that is not https is allowed.
	return realm.Realm{ID: id, Config: answer.Config.ForUse(strings.HasPrefix(answer.Config.API, "http://"))}, nil
}
