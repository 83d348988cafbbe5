package broker

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Test makes a token request and tells what happened, without saving or
// publishing anything. With config, that one is used instead of the realm's;
// not with a realm of the Caddyfile, whose secrets would go where the caller
// says (CodeReadOnly). A refusal of the provider is in the report, not an
// error.
func (v *View) Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error) {
	var report grant.Report
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return report, err
	}
	secret, err := v.secret(ctx, c, ref)
	if err != nil {
		return report, err
	}
	program := c.program
	if config != nil {
		if c.defined {
			return report, readOnly("the realm")
		}
		r := program.Realm()
		r.Config = *config
		if err := r.Validate(); err != nil {
			return report, err
		}
		if program, err = grant.Compile(r, false); err != nil {
			return report, err
		}
	}
	bound, err := program.Bind(secret)
	if err != nil {
		report.Error = "the secret does not fit the realm: " + err.Error()
		return report, nil //nolint:nilerr // the report tells it
	}
	if !program.Fetches() {
		report.Error = "the realm has a fixed token: there is nothing to fetch"
		return report, nil
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
