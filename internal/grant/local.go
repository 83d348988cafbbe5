package grant

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// computedToken is the grant of tokens that an API takes although it never gave
// them: JWTs and the like, which the secret's own key signs (Apple, Zhipu, Kling,
// Snowflake, Ghost). It makes a recipe without a request. All else is as with
// other tokens: one is computed for all nodes and kept until shortly before its
// end, and a new one is computed when the API refuses it.
func computedToken(r *realm.Realm) (construction, error) {
	cfg := &r.Config
	if err := refuseRequest(cfg); err != nil {
		return construction{}, err
	}
	switch {
	case cfg.Grant.Expr == "":
		return construction{}, realm.Fieldf("config.grant.expr", "is required: it computes the token")
	case cfg.Lifetime.IsZero():
		return construction{}, realm.Fieldf("config.lifetime", "is required: nothing else says when a computed token ends")
	}
	p := &plan{field: "config", urlField: "config.grant.expr", lifetime: cfg.Lifetime, isLocal: true}
	p.args = []planned{{realm.Argument{Expr: cfg.Grant.Expr}, origin{"config.grant.expr", true}}}
	return construction{fetch: p}, nil
}

// refuseRequest refuses what is about a request: it would have no effect.
func refuseRequest(cfg *realm.Config) error {
	for _, f := range []struct {
		name   string
		isSaid bool
	}{
		{"arguments", len(cfg.Arguments) > 0},
		{"content_type", cfg.ContentType != ""},
		{"token_path", cfg.TokenPath != ""},
		{"expires_in_path", cfg.ExpiresInPath != ""},
		{"expires_in_unit", cfg.ExpiresInUnit != ""},
		{"success", len(cfg.Success) > 0},
		{"refresh_token_path", cfg.RefreshTokenPath != ""},
		{"refresh", isSet(cfg.Refresh)},
		{"authorize", isSet(cfg.Authorize)},
		{"exchange", isSet(cfg.Exchange)},
		{"limits.windows", len(cfg.Limits.Windows) > 0},
		{"limits.min_interval", cfg.Limits.MinInterval != 0},
	} {
		if f.isSaid {
			return realm.Fieldf("config."+f.name, "has no meaning for the grant computed, which makes no request")
		}
	}
	return nil
}

// compileLocal compiles a recipe without a request.
func (p *plan) compileLocal(sc scope) (*recipe, error) {
	a := argument{origin: p.args[0].origin, exprText: p.args[0].Expr}
	if err := a.compileExpr(a.exprText, sc, false); err != nil {
		return nil, err
	}
	r := &recipe{local: &a, reading: reading{expiry: expiry{lifetime: p.lifetime}}}
	r.url.field = p.urlField
	return r, r.checkComputed()
}

// ComputesToken reports whether the realm's tokens are computed, without a
// request to anybody.
func (p *Program) ComputesToken() bool { return p.fetch != nil && p.fetch.local != nil }

// computeLocal makes the token. Its errors are those of a request that cannot be
// made with the fields of the secret: Bind finds them first.
func (r *recipe) computeLocal(v *values) (*outgoing, error) {
	out := &outgoing{computed: v.computedTexts(), token: realm.Hidden(r.local.expand(v))}
	switch err := checkToken(out.token.Reveal()); {
	case blank(out.token.Reveal()):
		return nil, realm.Fieldf(r.local.source(), "gives an empty token with the fields of this secret")
	case err != nil:
		return nil, realm.Fieldf(r.local.source(), "gives no token with the fields of this secret: %v", err)
	}
	return out, nil
}

// compute is obtain for a recipe without a request. The life of the token counts
// from the whole second: so do the times that stand in a JWT (RFC 7519 section 2,
// NumericDate as epoch_s gives it).
func (c *call) compute() (Result, error) {
	c.beginReport()
	if err := c.render(); err != nil {
		return Result{}, c.reportFailure(requestFailure(err))
	}
	c.sent = c.client.now()
	end := c.recipe.reading.expiry.fallback("", c.sent.Truncate(time.Second))
	result := Result{Token: realm.Token{
		Access: c.out.token, ExpiresAt: end.at, IssuedAt: c.sent, Fingerprint: c.bound.Fingerprint(),
	}}
	c.report.Token = reportToken(result, c.sent)
	return result, nil
}
