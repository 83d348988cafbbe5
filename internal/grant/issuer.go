package grant

import (
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// compileIssuer compiles the iss that callbacks must have.
func (p *Program) compileIssuer() error {
	g := p.realm.Config.Grant
	if g == nil || g.Name != realm.GrantAuthorizationCode {
		return nil
	}
	var err error
	if p.issuer, err = parseTemplate(g.Issuer, scopeTarget); err != nil {
		return realm.Fieldf("config.grant.issuer", "%v", err)
	}
	return nil
}

// isFromIssuer judges the iss of a callback (RFC 9207 section 2.4). Where the
// realm names its issuer, the callback must have it, character by character: a
// server that sends it always does. Else an iss that is there must have the
// origin of the authorize URL, which keeps out a callback that another server
// made (a mix-up attack).
func (b *Bound) isFromIssuer(cb Callback) bool {
	p := b.program
	switch {
	case len(p.issuer) > 0:
		return cb.Issuer == b.expand(p.issuer)
	case cb.Issuer == "":
		return true
	case p.authorize == nil:
		return false
	}
	v := b.values
	host, err := expandHost(p.authorize.url.host, &v, p.authorize.url.field)
	if err != nil {
		return false
	}
	iss, err := url.Parse(cb.Issuer)
	ours := &url.URL{Scheme: p.authorize.url.scheme, Host: host}
	return err == nil && iss.Scheme == ours.Scheme && strings.EqualFold(iss.Hostname(), ours.Hostname()) && portOf(iss) == portOf(ours)
}

// wrongIssuer says what is wrong with a callback that is not issued.
func (p *Program) wrongIssuer() string {
	if len(p.issuer) > 0 {
		return "the iss of the callback is not config.grant.issuer"
	}
	return "the iss of the callback has another origin than the authorize URL: " +
		"if the provider does send it, set config.grant.issuer (grant authorization_code)"
}
