package grant

import "github.com/caddy-tokens/caddy-tokens/realm"

// refreshToken is RFC 6749 section 6 alone: nothing is fetched, the first
// refresh token lies in the secret or was imported.
func refreshToken(r *realm.Realm) (construction, error) {
	p, err := tokenEndpoint(r, "refresh_token", "refresh_token")
	if err != nil {
		return construction{}, err
	}
	p.recipe.RefreshTokenPath = orDefault(r.Config.RefreshTokenPath, "refresh_token")
	p.addOfGrant("config.grant.name", realm.PlaceBody, "refresh_token", "{refresh_token}")
	return construction{refresh: p}, nil
}
