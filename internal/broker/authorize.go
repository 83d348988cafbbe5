package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// stateLife is how long after its begin an authorization may come back.
	stateLife = 10 * time.Minute
	// recently is how young a token is that serves whoever asks for a new
	// authorization: if many ask at about the same time, the first may have
	// been served before the last has asked.
	recently = 3 * time.Second
)

// Authorize obtains a token by a new authorization without a person, whatever
// refresh token there is. One authorization serves all who wait for it, or who
// ask within three seconds, on all nodes.
//
// Errors: CodeNotAuthorizable if the realm has no recipes for that, or needs a
// person; else those of Token.
func (v *View) Authorize(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.authorizableRealm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.join(ctx, c, ref, goal{purpose: claim.Authorize})
}

// Authorizable returns the error of Authorize that any secret of the realm
// would get: CodeNotAuthorizable, CodeRealmNotFound; nil if there is none.
func (v *View) Authorizable(ctx context.Context, realmID string) error {
	_, err := v.authorizableRealm(ctx, realmID)
	return err
}

func (v *View) authorizableRealm(ctx context.Context, realmID string) (*catalog.Realm, error) {
	c, err := v.catalog.Realm(ctx, realmID)
	switch {
	case err != nil:
		return nil, err
	case !c.Program.CanAuthorize():
		return nil, notAuthorizable(c.Program.NoAuthorize())
	case !c.Program.Unattended():
		return nil, notAuthorizable("the realm is authorized by a person: GET /api/secret/{realm}/{key}/authorize gives the link")
	}
	return c, nil
}

// AuthorizeURL begins an authorization by a person and returns the URL that the
// person opens. It is good for ten minutes and once, and holds the state: keep
// it out of logs. CodeNotAuthorizable; else the errors of catalog.Secret.
func (v *View) AuthorizeURL(ctx context.Context, ref realm.Ref) (string, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return "", err
	}
	if !c.Program.CanAuthorize() {
		return "", notAuthorizable(c.Program.NoAuthorize())
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return "", err
	}
	bound, err := c.Bind(secret)
	if refused := new(realm.Error); errors.As(err, &refused) {
		return "", refused
	} else if err != nil {
		return "", notAuthorizable("the secret does not fit the realm: " + err.Error())
	}
	parents, err := v.parentsOf(ctx, c, bound, grant.AuthorizeRecipe)
	if err != nil {
		return "", err
	}
	authorization := grant.NewAuthorization()
	link, err := bound.AuthorizeURL(authorization, parents.forCall(nil))
	if cause := new(grant.Error); errors.As(err, &cause) {
		return "", notAuthorizable(cause.Detail)
	} else if err != nil {
		return "", err
	}
	if err := v.pool.begin(ctx, ref, bound, authorization, tokenstore.CallID{}); err != nil {
		return "", err
	}
	return link, nil
}

// begin stores what the callback will be checked against; call is the one that
// asks for the code, zero if a person does. Nothing is sent before.
func (p *Pool) begin(ctx context.Context, ref realm.Ref, b *grant.Bound, a grant.Authorization, call tokenstore.CallID) error {
	if err := p.awaitOpen(ctx); err != nil {
		return catalog.StoreError(err)
	}
	err := p.callers.BeginAuthorization(ctx, tokenstore.Authorization{
		State: tokenstore.HashState(a.State), Ref: ref, CallbackURL: b.CallbackURL(), Verifier: a.Verifier,
		Call: call, Fingerprint: b.Fingerprint(), Client: b.ClientDigest(),
	}, stateLife)
	if err != nil {
		return catalog.StoreError(err)
	}
	failpoint.Hit("authorization_begun")
	return nil
}

func notAuthorizable(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeNotAuthorizable, Status: http.StatusConflict, Detail: why}
}
