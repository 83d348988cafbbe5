package storetest

import (
	"context"
	"errors"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ErrReplaced: the stored token is not the expected parent.
var ErrReplaced = errors.New("the stored token is another one")

// SaveToken saves t as the child of the token with lineage parent (0 where
// there is none) and returns it with its lineage. ErrReplaced where another
// token is stored.
func SaveToken(ctx context.Context, s tokenstore.Store, ref realm.Ref, t realm.Token, parent int64) (realm.Token, error) {
	st, err := s.Coordinate(ctx, ref, func(st *tokenstore.State) error {
		if st.Token.Lineage != parent {
			return ErrReplaced
		}
		child := t
		st.Save = &child
		return nil
	})
	return st.Token, err
}

// DropToken removes a token as a change of its secret does.
func DropToken(ctx context.Context, s tokenstore.Store, ref realm.Ref) error {
	_, err := s.UpdateSecret(ctx, ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		return old, tokenstore.TokenChange{DropAccess: true, DropRefresh: true}, nil
	})
	return err
}

// SaveRealm creates or replaces a realm and returns it with its times.
func SaveRealm(ctx context.Context, s tokenstore.Store, r realm.Realm) (realm.Realm, error) {
	return s.UpdateRealm(ctx, r.ID, func(realm.Realm, bool) (realm.Realm, error) { return r, nil })
}
