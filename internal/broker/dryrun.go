package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Test makes a token request and tells what happened, without saving or
// publishing anything. With config, that one is used instead of the realm's;
// not with a realm of the Caddyfile, whose secrets would go where the caller
// says (CodeReadOnly). It draws from the realm's quotas (CodeBudgetSpent). A
// refusal of the provider is in the report, not an error.
func (v *View) Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error) {
	var report grant.Report
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return report, err
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return report, err
	}
	tried, err := c.With(config)
	if err != nil {
		return report, err
	}
	bound, err := tried.Program.Bind(secret)
	if err != nil {
		report.Error = "the secret does not fit the realm: " + err.Error()
		return report, nil //nolint:nilerr // the report tells it
	}
	if report.Error = untried(tried.Program); report.Error != "" {
		return report, nil
	}
	if err := v.draw(ctx, ref, c); err != nil {
		return report, err
	}
	sent := time.Now()
	_, err = bound.Fetch(ctx, v.client, grant.Request{Report: &report, DefaultTimeout: v.callTimeout})
	v.pool.fetched(ref.Realm, sent, err)
	v.pool.absolve(ref)
	if err != nil {
		var cause *grant.Error
		if !errors.As(err, &cause) {
			return report, err
		}
		report.Kind, report.Error = cause.Kind, cause.Error()
	}
	return report, nil
}

// untried is why no token request is made; "" where one is.
func untried(p *grant.Program) string {
	switch {
	case !p.Fetches():
		return "the realm has a fixed token: there is nothing to fetch"
	case p.Unattended():
		return "a new authorization would end the one that there is: POST /{realm}-account/request-access-token makes one"
	}
	return p.NoFetch()
}

// draw takes one call from the realm's quotas, without a claim: nothing that
// the call gives is kept. CodeBudgetSpent.
func (v *View) draw(ctx context.Context, ref realm.Ref, c *catalog.Realm) error {
	t := v.terms(c)
	windows := t.windows
	if len(windows) == 0 {
		return nil
	}
	if err := v.open(ctx, c, ref); err != nil {
		return err
	}
	var wait time.Duration
	_, err := v.pool.store.Coordinate(ctx, ref, func(s *tokenstore.State) error {
		rewind(s)
		if wait = spent(&s.Budget, windows, s.Now, underWay{s.Open, t.lease()}); wait == 0 {
			spend(&s.Budget, windows, s.Now)
		}
		return nil
	})
	switch {
	case err != nil:
		return catalog.StoreError(err)
	case wait > 0:
		return &realm.Error{
			Code: realm.CodeBudgetSpent, Status: http.StatusServiceUnavailable,
			Detail: "the realm's limits allow no call to the provider now", RetryAfter: wait,
		}
	}
	return nil
}
