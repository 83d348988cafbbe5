package grant

import (
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// assertionType is the client_assertion_type of a JWT (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticate adds the client's credentials (RFC 6749 section 2.3.1, RFC 7523
// section 2.2, RFC 8705 section 2).
func (p *plan) authenticate(g *realm.Grant) error {
	id, secret := orDefault(g.ClientID, "{secret.client_id}"), orDefault(g.ClientSecret, "{secret.client_secret}")
	if _, err := parseTemplate(id, scopeFetch); err != nil {
		return realm.Fieldf("config.grant.client_id", "%v", err)
	}
	switch g.TokenEndpointAuthMethod {
	case "", realm.AuthBasic, realm.AuthBasicRaw:
		p.formBasic = g.TokenEndpointAuthMethod != realm.AuthBasicRaw
		p.addOfGrant("config.grant.client_secret", realm.PlaceBasic, id, secret)
	case realm.AuthPost:
		p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id)
		p.addOfGrant("config.grant.client_secret", realm.PlaceBody, "client_secret", secret)
	case realm.AuthSecretJWT, realm.AuthPrivateKeyJWT:
		return p.authenticateByJWT(g, id, secret)
	case realm.AuthTLS, realm.AuthSelfSignedTLS:
		// The certificate is shown with the connection, see Program.compileWay.
		p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id) // RFC 8705 section 2
	case realm.AuthNone:
		if !realm.TakesPublicClients(g.Name) {
			return realm.Fieldf("config.grant.token_endpoint_auth_method", "cannot be none: the grant %s is for clients with a secret", g.Name)
		}
		p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id) // RFC 6749 section 3.2.1
	default:
		return realm.Fieldf("config.grant.token_endpoint_auth_method",
			"must be client_secret_basic, client_secret_basic_raw, client_secret_post, client_secret_jwt, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none")
	}
	return nil
}

// authenticateByJWT adds the client's assertion (RFC 7523 section 3): a JWT about
// the client itself, for the token endpoint, that is good for five minutes and
// has an id of its own in each request, because a server may take an id only
// once. It counts from ten seconds ago, for servers whose clock is behind. The
// client_id need not stand beside it (RFC 7521 section 4.2); Entra wants it.
func (p *plan) authenticateByJWT(g *realm.Grant, id, secret string) error {
	j := signedJWT{algorithm: "HS256", keyField: "config.grant.client_secret", key: secret}
	if g.TokenEndpointAuthMethod == realm.AuthPrivateKeyJWT {
		j.algorithm, j.keyField, j.key = orDefault(g.Algorithm, "RS256"), "config.grant.private_key", orDefault(g.PrivateKey, "{secret.private_key}")
	}
	j.claims = []jwtMember{
		{name: "iss", field: "config.grant.client_id", value: id},
		{name: "sub", field: "config.grant.client_id", value: id},
		{name: "aud", field: "config.grant.token_url", value: g.TokenURL},
		{name: "jti", expr: "uuid()"},
		{name: "iat", expr: "epoch_s() - 10"},
		{name: "exp", expr: "epoch_s() + 290"},
	}
	j.header = []jwtMember{{name: "kid", field: "config.grant.key_id", value: g.KeyID}}
	if g.Certificate != "" {
		certificate, err := operand("config.grant.certificate", g.Certificate)
		if err != nil {
			return err
		}
		j.header = append(j.header, jwtMember{name: "x5t#S256", expr: "x5t_s256(" + certificate + ")"})
	}
	expr, err := j.expression()
	if err != nil {
		return err
	}
	p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id)
	p.addOfGrant("config.grant.token_endpoint_auth_method", realm.PlaceBody, "client_assertion_type", assertionType)
	p.addComputed(j.keyField, "client_assertion", expr)
	return nil
}
