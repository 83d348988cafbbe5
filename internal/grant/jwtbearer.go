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
// realm has a client_secret (RFC 7521 section 4.1).
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
	p.args = append(p.args, planned{
		realm.Argument{Name: "assertion", Place: realm.PlaceBody, Expr: expr}, origin{"config.grant.private_key", true},
	})
	if g.ClientSecret != "" {
		err = p.authenticate(g)
	}
	return construction{fetch: p}, err
}

// assertion is the expression that makes the JWT (RFC 7523 section 3). The
// scopes are a claim too: Google wants them there.
func assertion(g *realm.Grant) (string, error) {
	key, err := operand("config.grant.private_key", orDefault(g.PrivateKey, "{secret.private_key}"))
	if err != nil {
		return "", err
	}
	claims := []string{`"iat": epoch_s() - 10`, `"exp": epoch_s() + 3590`}
	header := []string{}
	for _, c := range []struct {
		to                 *[]string
		name, field, value string
	}{
		{&claims, "iss", "config.grant.issuer", orDefault(g.Issuer, orDefault(g.ClientID, "{secret.client_id}"))},
		{&claims, "sub", "config.grant.subject", g.Subject},
		{&claims, "aud", "config.grant.audience", orDefault(g.Audience, g.TokenURL)},
		{&claims, "scope", "config.grant.scopes", strings.Join(g.Scopes, " ")},
		{&header, "kid", "config.grant.key_id", g.KeyID},
	} {
		if c.value == "" {
			continue
		}
		value, err := operand(c.field, c.value)
		if err != nil {
			return "", err
		}
		*c.to = append(*c.to, strconv.Quote(c.name)+": "+value)
	}
	return "jwt(" + strconv.Quote(orDefault(g.Algorithm, "RS256")) + ", " + key +
		", {" + strings.Join(claims, ", ") + "}, {" + strings.Join(header, ", ") + "})", nil
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
