package catalog

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

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
	// InjectOnly keeps the secret's token from everybody, or no longer.
	InjectOnly *bool
	// DropRefreshToken drops the refresh token too when a value changes.
	DropRefreshToken bool
	// MayUse returns why the caller may not use the token of another credential,
	// nil if he may. It is asked about those that the secret names as its parents.
	// nil: nobody is asked.
	MayUse func(realm.Ref) error
}

// validate refuses the end of a token that is not there, and a refresh token that
// is empty.
func (u *SecretUpdate) validate() error {
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

// apply makes the update of a secret of realm r, and decides what becomes of
// its token.
func (u *SecretUpdate) apply(r *Realm, s realm.Secret, found bool, now time.Time) (realm.Secret, tokenstore.TokenChange, error) {
	old, before := s, s.Fields
	s.Ref, s.Fields = u.Ref, mergeFields(before, u.Fields)
	if u.InjectOnly != nil {
		s.InjectOnly = *u.InjectOnly
	}
	fixed := !r.Program.Fetches()
	if fixed && u.Token != nil {
		s.Fields["token"] = *u.Token
		delete(s.Fields, "expires_at")
		if u.ExpiresAt != nil {
			s.Fields["expires_at"] = realm.Hidden(strconv.FormatInt(u.ExpiresAt.UnixMilli(), 10))
		}
	}
	if err := cmp.Or(s.Validate(), r.Program.CheckSecret(s)); err != nil {
		return s, tokenstore.TokenChange{}, err
	}
	if err := u.checkParents(r, s); err != nil {
		return s, tokenstore.TokenChange{}, err
	}
	what := tokenstore.TokenChange{
		DropAccess:  !maps.Equal(r.decisive(before), r.decisive(s.Fields)),
		DropRefresh: u.DropRefreshToken && !maps.Equal(before, s.Fields),
	}
	moved, err := r.rebind(old, &s, !found || u.entersAll(s.Fields, fixed))
	if err != nil {
		return s, what, err
	}
	if parent := u.Fields[grant.ParentField]; parent != nil && *parent != realm.Mask {
		s.Hosts = r.withParents(s)
	}
	if moved && found {
		// Whoever enters the values has not shown that he knows the tokens and what
		// was pushed, and may have chosen the hosts. That the values are those of before shows nothing:
		// he may have entered these, too.
		what.DropAccess, what.DropRefresh, what.DropPushed = true, true, true
	}
	if u.RefreshToken != nil && !r.Program.CanRefresh() {
		return s, what, realm.Fieldf("refresh_token", "cannot be imported: the realm has no refresh recipe")
	}
	if !fixed && (u.Token != nil || u.RefreshToken != nil) {
		token, err := u.imported(r, s, now)
		if err != nil {
			return s, what, err
		}
		what.Set = &token
	}
	return s, what, nil
}

// sharedFields are the shared fields of the realm with the values of their sources. A
// token that is imported belongs to what they are, so that they are asked for. nil where
// the realm has no sources.
func (u *SecretUpdate) sharedFields(ctx context.Context, r *Realm) (map[string]realm.Hidden, error) {
	if !r.Program.Fetches() || u.Token == nil && u.RefreshToken == nil {
		known, _ := r.fillKnown(realm.Secret{})
		return known.Shared, nil
	}
	filled, err := r.fill(ctx, realm.Secret{})
	return filled.Shared, err
}

// decisive returns the fields that decide about the token: all but the volatile
// ones, whose change must not end it.
func (r *Realm) decisive(fields map[string]realm.Hidden) map[string]realm.Hidden {
	volatile := r.Config.Volatile
	if len(volatile) == 0 {
		return fields
	}
	fields = maps.Clone(fields)
	maps.DeleteFunc(fields, func(name string, _ realm.Hidden) bool { return slices.Contains(volatile, name) })
	return fields
}

// entersAll reports whether the update brings the value of every field: whoever
// has them all may say where they go. One that brings no field enters none.
func (u *SecretUpdate) entersAll(fields map[string]realm.Hidden, fixed bool) bool {
	for name := range fields {
		value := u.Fields[name]
		isToken := fixed && u.Token != nil && (name == "token" || name == "expires_at")
		if !isToken && (value == nil || *value == realm.Mask) {
			return false
		}
	}
	return len(fields) > 0
}

// mergeFields returns the fields after an update; the given ones stay as they are.
func mergeFields(fields map[string]realm.Hidden, update map[string]*realm.Hidden) map[string]realm.Hidden {
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
func (u *SecretUpdate) imported(r *Realm, s realm.Secret, now time.Time) (realm.Token, error) {
	if u.ExpiresAt == nil && u.Token != nil {
		return realm.Token{}, realm.Fieldf("expires_at", "is needed with a token, in epoch milliseconds (only a realm with a fixed token does without)")
	}
	token := realm.Token{IssuedAt: now}
	bound, err := r.Bind(s)
	if err == nil {
		token.Fingerprint = bound.Fingerprint()
	}
	if u.Token != nil {
		if err != nil {
			return realm.Token{}, realm.Fieldf("token", "cannot be imported: %v", err)
		}
		if _, _, err := bound.WithSample().Place(*u.Token); err != nil {
			return realm.Token{}, realm.Fieldf("token", "cannot be injected: %v", err)
		}
		token.Access, token.ExpiresAt = *u.Token, *u.ExpiresAt
		if latest := now.Add(realm.MaxLifetime); latest.Before(token.ExpiresAt) {
			token.ExpiresAt = latest
		}
	}
	if u.RefreshToken != nil {
		token.Refresh = *u.RefreshToken
	}
	if u.RefreshExpiresAt != nil {
		token.RefreshExpiresAt = *u.RefreshExpiresAt
	}
	return token, nil
}
