package broker

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// SecretInfo is a secret as the API shows it: its Fields print masked.
type SecretInfo struct {
	realm.Secret
	// ReadOnly: it is defined in the Caddyfile.
	ReadOnly bool
}

// SecretUpdate is a change of a secret; what is nil or absent stays.
type SecretUpdate struct {
	Ref realm.Ref
	// Fields to set; a nil pointer removes the field. A value equal to
	// realm.Mask leaves the stored one.
	Fields map[string]*realm.Hidden
	// Token is imported as the secret's token; with a static grant it becomes
	// the field "token".
	Token *realm.Hidden
	// ExpiresAt is the end of the imported token (nil: none).
	ExpiresAt *time.Time
	// RefreshToken is imported beside it, or alone, and then even while fields
	// are missing that its use needs. RefreshExpiresAt is its end (nil: not
	// known).
	RefreshToken     *realm.Hidden
	RefreshExpiresAt *time.Time
	// DropRefreshToken drops the refresh token too when a value changes.
	DropRefreshToken bool
}

// Secret returns one secret. CodeSecretNotFound.
func (v *View) Secret(ctx context.Context, ref realm.Ref) (SecretInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if c, ok := v.defined[ref.Realm]; ok {
		if s, ok := c.secrets[ref.Key]; ok {
			return SecretInfo{Secret: s, ReadOnly: true}, nil
		}
	}
	if err := v.pool.Open(ctx); err != nil {
		return SecretInfo{}, storeFailed(err)
	}
	s, err := v.pool.store.Secret(ctx, ref)
	if err != nil {
		return SecretInfo{}, secretFailed(err)
	}
	return SecretInfo{Secret: s}, nil
}

// Secrets lists a page of one realm's secrets ("" for all): those of the
// configuration first, then the stored ones, newest first.
func (v *View) Secrets(ctx context.Context, page tokenstore.Page, realmID string) ([]SecretInfo, int, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := v.pool.Open(ctx); err != nil {
		return nil, 0, storeFailed(err)
	}
	var own []SecretInfo
	for _, id := range v.order {
		if realmID != "" && id != realmID {
			continue
		}
		secrets := v.defined[id].secrets
		for _, key := range slices.Sorted(maps.Keys(secrets)) {
			own = append(own, SecretInfo{Secret: secrets[key], ReadOnly: true})
		}
	}
	list, total, err := paged(page, own, func(p tokenstore.Page) ([]SecretInfo, int, error) {
		stored, n, err := v.pool.store.Secrets(ctx, p, realmID)
		infos := make([]SecretInfo, len(stored))
		for i, s := range stored {
			infos[i] = SecretInfo{Secret: s}
		}
		return infos, n, err
	})
	if err != nil {
		return nil, 0, storeFailed(err)
	}
	return list, total, nil
}

// SaveSecret creates or updates a secret. When a value changes, its access
// token is dropped in the same transaction. CodeRealmNotFound (with status
// 400) for an unknown realm, CodeReadOnly.
func (v *View) SaveSecret(ctx context.Context, u SecretUpdate) (SecretInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := realm.ValidateID("key", u.Ref.Key); err != nil {
		return SecretInfo{}, err
	}
	c, err := v.realm(ctx, u.Ref.Realm)
	if isNotFound(err) {
		return SecretInfo{}, &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusBadRequest, Detail: "realm 不存在"}
	} else if err != nil {
		return SecretInfo{}, err
	}
	if _, ok := c.secrets[u.Ref.Key]; ok {
		return SecretInfo{}, readOnly("the secret")
	}
	if err := u.check(); err != nil {
		return SecretInfo{}, err
	}
	if err := v.pool.Open(ctx); err != nil {
		return SecretInfo{}, storeFailed(err)
	}
	saved, err := v.pool.store.UpdateSecret(ctx, u.Ref, func(s realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		return v.change(c, s, u)
	})
	if err != nil {
		return SecretInfo{}, secretFailed(err)
	}
	v.pool.invalidate(u.Ref)
	return SecretInfo{Secret: saved}, nil
}

// check finds ends of tokens that are not there.
func (u *SecretUpdate) check() error {
	switch {
	case u.ExpiresAt != nil && u.Token == nil:
		return realm.Fieldf("expires_at", "says when a token ends, and there is no token beside it")
	case u.RefreshExpiresAt != nil && u.RefreshToken == nil:
		return realm.Fieldf("refresh_expires_at", "says when a refresh token ends, and there is no refresh_token beside it")
	case u.RefreshToken != nil && *u.RefreshToken == "":
		return realm.Fieldf("refresh_token", "is empty")
	}
	return nil
}

// change applies an update to a secret and says what becomes of its token.
func (v *View) change(c *compiled, s realm.Secret, u SecretUpdate) (realm.Secret, tokenstore.TokenChange, error) {
	before := s.Fields
	s.Ref, s.Fields = u.Ref, apply(before, u.Fields)
	fixed := !c.program.Fetches()
	if fixed && u.Token != nil {
		s.Fields["token"] = *u.Token
		delete(s.Fields, "expires_at")
		if u.ExpiresAt != nil {
			s.Fields["expires_at"] = realm.Hidden(strconv.FormatInt(u.ExpiresAt.UnixMilli(), 10))
		}
	}
	if err := s.Validate(); err != nil {
		return s, tokenstore.TokenChange{}, err
	}
	changed := !maps.Equal(before, s.Fields)
	what := tokenstore.TokenChange{DropAccess: changed, DropRefresh: changed && u.DropRefreshToken}
	if u.RefreshToken != nil && !c.program.CanRefresh() {
		return s, what, realm.Fieldf("refresh_token", "cannot be imported: the realm has no refresh recipe")
	}
	if !fixed && (u.Token != nil || u.RefreshToken != nil) {
		token, err := v.imported(c, s, u)
		if err != nil {
			return s, what, err
		}
		what.Set = &token
	}
	return s, what, nil
}

// apply returns the fields after an update; the given ones stay as they are.
func apply(fields map[string]realm.Hidden, update map[string]*realm.Hidden) map[string]realm.Hidden {
	out := make(map[string]realm.Hidden, len(fields)+len(update))
	maps.Copy(out, fields)
	for name, value := range update {
		switch {
		case value == nil:
			delete(out, name)
		case *value != realm.Mask:
			out[name] = *value
		}
	}
	return out
}

// imported is what somebody else obtained with this secret. An access token
// serves only together with the recipe and the fields that it came from, so
// that those have to be whole. A refresh token is used when they are: without
// them, it has no fingerprint.
func (v *View) imported(c *compiled, s realm.Secret, u SecretUpdate) (realm.Token, error) {
	now := v.pool.now()
	if u.ExpiresAt == nil && u.Token != nil {
		return realm.Token{}, realm.Fieldf("expires_at", "is needed with a token, in epoch milliseconds (only a realm with a fixed token does without)")
	}
	token := realm.Token{IssuedAt: now}
	bound, err := c.program.Bind(s)
	if err == nil {
		token.Fingerprint = bound.Fingerprint()
	}
	if u.Token != nil {
		if err != nil {
			return realm.Token{}, realm.Fieldf("token", "cannot be imported: %v", err)
		}
		if _, _, err := bound.Place(*u.Token); err != nil {
			return realm.Token{}, realm.Fieldf("token", "cannot be injected: %v", err)
		}
		token.Access, token.ExpiresAt = *u.Token, minTime(*u.ExpiresAt, now.Add(realm.MaxLifetime))
	}
	if u.RefreshToken != nil {
		token.Refresh = *u.RefreshToken
	}
	if u.RefreshExpiresAt != nil {
		token.RefreshExpiresAt = *u.RefreshExpiresAt
	}
	return token, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// DeleteSecret deletes a secret and its token. CodeSecretNotFound,
// CodeReadOnly.
func (v *View) DeleteSecret(ctx context.Context, ref realm.Ref) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if c, ok := v.defined[ref.Realm]; ok {
		if _, ok := c.secrets[ref.Key]; ok {
			return readOnly("the secret")
		}
	}
	if err := v.pool.Open(ctx); err != nil {
		return storeFailed(err)
	}
	if err := v.pool.store.DeleteSecret(ctx, ref); err != nil {
		return secretFailed(err)
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		e.forget()
		v.pool.discard(ref, e)
	}
	return nil
}

// secretFailed turns the error of a store's secret method into the caller's.
func secretFailed(err error) error {
	if errors.Is(err, tokenstore.ErrSecretNotFound) {
		return secretNotFound()
	}
	return realmFailed(err)
}
