package grant

import (
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// jwtBearer is RFC 7523 section 2.1: the token request carries an assertion,
// a JWT that the secret's private key signs. It counts from ten seconds ago,
// for servers whose clock is behind, and is good for an hour, which is the
// longest that Google takes. The client authenticates itself only where the
// realm has a client_secret or says that it does so by a JWT (RFC 7521 section
// 4.1).
func jwtBearer(r *realm.Realm) (construction, error) {
	g := r.Config.Grant
	p, err := endpoint(r, "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion")
	if err != nil {
		return construction{}, err
	}
	expr, err := assertion(g)
	if err != nil {
		return construction{}, err
	}
	p.addComputed("config.grant.private_key", "assertion", expr)
	if g.ClientSecret != "" || g.AuthenticatesByJWT() {
		err = p.authenticate(g)
	}
	return construction{fetch: p}, err
}

// assertion is the expression that makes the JWT (RFC 7523 section 3). The
// scopes are a claim too: Google wants them there.
func assertion(g *realm.Grant) (string, error) {
	j := signedJWT{
		algorithm: orDefault(g.Algorithm, "RS256"),
		keyField:  "config.grant.private_key", key: orDefault(g.PrivateKey, "{secret.private_key}"),
		claims: []jwtMember{
			{name: "iat", expr: "epoch_s() - 10"},
			{name: "exp", expr: "epoch_s() + 3590"},
			{name: "iss", field: "config.grant.issuer", value: orDefault(g.Issuer, orDefault(g.ClientID, "{secret.client_id}"))},
			{name: "sub", field: "config.grant.subject", value: g.Subject},
			{name: "aud", field: "config.grant.audience", value: orDefault(g.Audience, g.TokenURL)},
			{name: "scope", field: "config.grant.scopes", value: strings.Join(g.Scopes, " ")},
		},
		header: []jwtMember{{name: "kid", field: "config.grant.key_id", value: g.KeyID}},
	}
	return j.expression()
}

// signedJWT is a JWT of which fields of the realm say the parts.
type signedJWT struct {
	algorithm      string
	keyField, key  string
	claims, header []jwtMember
}

// jwtMember is a claim, or a part of a header: the value of a field of the realm,
// or an expression. It is left out where it has neither.
type jwtMember struct{ name, field, value, expr string }

// expression is what makes the JWT.
func (j *signedJWT) expression() (string, error) {
	key, err := operand(j.keyField, j.key)
	if err != nil {
		return "", err
	}
	claims, err := mapOf(j.claims)
	if err != nil {
		return "", err
	}
	header, err := mapOf(j.header)
	return "jwt(" + strconv.Quote(j.algorithm) + ", " + key + ", " + claims + ", " + header + ")", err
}

// mapOf writes members as a map of an expression.
func mapOf(members []jwtMember) (string, error) {
	var list []string
	for _, m := range members {
		if m.value != "" {
			var err error
			if m.expr, err = operand(m.field, m.value); err != nil {
				return "", err
			}
		}
		if m.expr != "" {
			list = append(list, strconv.Quote(m.name)+": "+m.expr)
		}
	}
	return "{" + strings.Join(list, ", ") + "}", nil
}

// operand writes a value of the realm as a part of an expression.
func operand(field, value string) (string, error) {
	t, err := parseTemplate(value, scopeTarget)
	if err != nil {
		return "", realm.Fieldf(field, "%v", err)
	}
	parts := make([]string, len(t))
	for i, p := range t {
		if parts[i] = strconv.QuoteToASCII(p.text); p.isField() {
			parts[i] = "secret[" + strconv.Quote(p.name) + "]"
		}
	}
	return strings.Join(parts, " + "), nil
}
