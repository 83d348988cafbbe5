package grant

import "github.com/caddy-tokens/caddy-tokens/realm"

// accessTokenType is what a token is that nothing else is said of (RFC 8693
// section 3).
const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// tokenExchange is RFC 8693: the secret has a token of the subject, and the
// server gives another one for it. The answer's issued_token_type is not looked
// at: a realm that wants another type than an access token asks for it.
func tokenExchange(r *realm.Realm) (construction, error) {
	g := r.Config.Grant
	own := append(targetNames(g), "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type")
	p, err := tokenEndpoint(r, "urn:ietf:params:oauth:grant-type:token-exchange", own...)
	if err != nil {
		return construction{}, err
	}
	actorType := ""
	if g.ActorToken != "" {
		actorType = orDefault(g.ActorTokenType, accessTokenType)
	}
	for _, a := range [][2]string{
		{"subject_token", orDefault(g.SubjectToken, "{secret.subject_token}")},
		{"subject_token_type", orDefault(g.SubjectTokenType, accessTokenType)},
		{"actor_token", g.ActorToken},
		{"actor_token_type", actorType},
		{"requested_token_type", g.RequestedTokenType},
	} {
		if a[1] != "" {
			p.addOfGrant("config.grant."+a[0], realm.PlaceBody, a[0], a[1])
		}
	}
	return construction{fetch: p}, p.addTarget(g)
}
