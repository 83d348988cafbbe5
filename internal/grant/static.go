package grant

import (
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// endField is the optional field of a secret that says when a fixed token
// ends, in milliseconds since 1970.
const endField = "expires_at"

// static is the grant of tokens that nobody fetches: API keys, personal access
// tokens. The secret itself holds the token.
func static(r *realm.Realm) (construction, error) {
	value := ""
	if r.Config.Grant != nil {
		value = r.Config.Grant.Token
	}
	t, err := parseTemplate(orDefault(value, "{secret.token}"), scopeStatic)
	if err != nil {
		return construction{}, realm.Fieldf("config.grant.token", "%v", err)
	}
	return construction{fixed: t, isFixed: true}, nil
}

// Fixed is the token of a static grant.
func (b *Bound) Fixed() (realm.Token, error) {
	token := realm.Token{Access: realm.Hidden(b.expand(b.program.fixed)), Fingerprint: b.Fingerprint()}
	switch {
	case !b.program.isFixed:
		return realm.Token{}, realm.Fieldf("config.grant", "the realm has no fixed tokens")
	case blank(token.Access.Reveal()):
		return realm.Token{}, realm.Fieldf("token", "is empty")
	}
	if err := checkToken(token.Access.Reveal()); err != nil {
		return realm.Token{}, realm.Fieldf("token", "cannot be used: %v", err)
	}
	end, ok := b.values.field(endField)
	if !ok || end == "" {
		return token, nil
	}
	ms, err := strconv.ParseInt(end.Reveal(), 10, 64)
	if err != nil || ms <= 0 {
		return realm.Token{}, realm.Fieldf(endField, "must be milliseconds since 1970")
	}
	token.ExpiresAt = time.UnixMilli(ms).UTC()
	return token, nil
}
