package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Test makes a token request and tells what happened, without saving or
// publishing a token; but a realm that can only refresh is refreshed in the usual
// way, and the new token is the live one from then on: a provider may end the
// refresh token that it was sent. With config, that one is used instead of the
// realm's; not
// with a realm of the Caddyfile, whose secrets would go where the caller says
// (CodeReadOnly), and with no host that the secret was not entered for
// (CodeHostNotAllowed). It draws from the realm's quotas (CodeBudgetSpent). A refusal
// of the provider is in the report, not an error.
//
// If the realm's own config succeeds, the failures of the (realm, key) and of
// the realm end: what was corrected at the provider is tried by the next call.
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
	tested, err := c.With(config)
	if err != nil {
		return report, err
	}
	bound, err := tested.Bind(secret)
	if refused := new(realm.Error); errors.As(err, &refused) {
		return report, refused
	} else if err != nil {
		report.Error = unfitDetail + err.Error()
		report.Kind, report.Fields = grant.KindRequest, tested.Program.MissingFaults(secret)
		return report, nil //nolint:nilerr // the report tells it
	}
	t := &trial{view: v, ref: ref, realm: c, tested: tested, bound: bound, isOwn: config == nil}
	if report, err = t.run(ctx); err != nil {
		return report, err
	}
	report.Fields = bound.FieldFaults()
	return report, nil
}

// ReportAnswer tells what the API answered to a call with the token of that lease,
// with all that is confidential masked.
func (v *View) ReportAnswer(ctx context.Context, ref realm.Ref, lease *realm.Lease, a grant.APIAnswer) (*grant.ReportResponse, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	bound, err := c.Bind(secret)
	if err != nil {
		return nil, unfitSecret(c.Program, secret, err)
	}
	return bound.ReportAnswer(a, lease), nil
}

// trial is one dry run: realm is the stored one, tested what is tried in its place.
type trial struct {
	view          *View
	ref           realm.Ref
	realm, tested *catalog.Realm
	bound         *grant.Bound
	// isOwn: what is tried is the stored realm itself.
	isOwn bool
}

// run does what can be done to see a token.
func (t *trial) run(ctx context.Context) (report grant.Report, err error) {
	program := t.tested.Program
	kind := grant.FetchRecipe
	isRefresh := !program.CanFetch() && program.CanRefresh()
	if isRefresh {
		kind = grant.RefreshRecipe
	}
	if unpushed := t.bound.Unpushed(kind); unpushed != nil { // it costs no call to say so
		report.Kind, report.Error, report.Fault = unpushed.Kind, unpushed.Detail, grant.FaultUnpushed
		return report, nil //nolint:nilerr // the report tells it
	}
	if isRefresh && t.isOwn {
		return t.refresh(ctx)
	}
	if report.Fault, report.Error = whyNotTested(program); report.Error != "" {
		return report, nil
	}
	report, err = t.fetch(ctx)
	t.view.pool.resetEarlyDeaths(t.ref)
	if err == nil && report.Error == "" && t.isOwn {
		t.view.pool.forgetFailures(ctx, t.ref)
	}
	return report, err
}

// refresh renews the token as a flush does, with all that protects the refresh
// token, and reports the call. What stopped it before a call is in the report too,
// but for what is about the caller and the quota.
func (t *trial) refresh(ctx context.Context) (grant.Report, error) {
	// It is the flight's until that is done.
	report := new(grant.Report)
	_, err := t.view.join(ctx, t.realm, t.ref, goal{purpose: claim.Flush, report: report})
	if ctx.Err() != nil {
		return grant.Report{}, err
	}
	var known *realm.Error
	uses, _ := t.bound.ParentUses(grant.RefreshRecipe)
	switch {
	case err == nil && report.Token == nil:
		return grant.Report{Error: "another node has just renewed the token", Fault: grant.FaultWaiting}, nil
	case err == nil:
		report.Refreshed, report.Saved = true, true
		return *report, nil
	case !errors.As(err, &known):
		return grant.Report{}, err
	case report.Error != "": // the provider refused
		report.Refreshed = true
		return *report, nil
	case known.Code == realm.CodeReauthRequired:
		return grant.Report{Error: known.Detail, Fault: grant.FaultNotAuthorized, Class: known.Class}, nil
	case known.Code == realm.CodeTokenUnavailable && len(uses) > 0:
		return noParent(grant.Report{}, err)
	case known.Code == realm.CodeTokenUnavailable:
		return grant.Report{Error: known.Detail, Class: known.Class}, nil
	}
	return grant.Report{}, err
}

// fetch makes the token request, and once more if a parent was dead that it needs.
func (t *trial) fetch(ctx context.Context) (report grant.Report, err error) {
	var renewed parents
	for isParentRenewed := false; ; isParentRenewed = true {
		used, err := t.view.parentsOf(ctx, t.tested, t.bound, grant.FetchRecipe)
		if err != nil {
			return noParent(report, err)
		}
		if err := t.pay(ctx); err != nil {
			return report, err
		}
		report = grant.Report{}
		sent := time.Now()
		_, err = t.bound.Fetch(ctx, t.view.client, grant.Request{
			Report: &report, DefaultTimeout: t.view.callTimeout, Parents: used.forCall(renewed),
		})
		t.view.pool.fetched(t.ref.Realm, sent, err)
		t.view.noteParents(used, renewed, err)
		var cause *grant.Error
		switch {
		case err == nil:
			return report, nil
		case !errors.As(err, &cause):
			return report, err
		}
		report.Kind, report.Error, report.Class = cause.Kind, cause.Error(), cause.Class.String()
		if !claim.IsOfDeadParent(cause) || isParentRenewed {
			return report, nil
		}
		if renewed, err = t.view.renewParents(ctx, used, cause.DeadParents()); err != nil {
			return noParent(report, err)
		}
	}
}

// pay takes one call from what the caller and the realm may spend. The provider
// counts it like any other, so the realm's own limits hold, whatever is tested.
func (t *trial) pay(ctx context.Context) error {
	payer := payerOf(ctx)
	if t.tested.Program.ComputesToken() {
		payer = nil // no call is made
	}
	if err := mayPay(payer); err != nil {
		return err
	}
	if err := t.view.takeCall(ctx, t.ref, t.realm); err != nil {
		return err
	}
	paid(payer)
	return nil
}

// noParent tells in the report that a parent has no token. What is about the caller,
// or about where the token may go, is an error.
func noParent(report grant.Report, err error) (grant.Report, error) {
	var known *realm.Error
	if !errors.As(err, &known) || known.Code != realm.CodeTokenUnavailable {
		return report, err
	}
	report.Error, report.Class, report.Fault = known.Detail, known.Class, grant.FaultParent
	return report, nil
}

// whyNotTested is why no token request is made; "" if one is.
func whyNotTested(p *grant.Program) (grant.Fault, string) {
	why := p.NoFetch()
	switch {
	case !p.Fetches():
		return grant.FaultFixed, "the realm has a fixed token: there is nothing to fetch"
	case p.Unattended():
		return grant.FaultUnattended, "a new authorization would end the one that there is: POST /{realm}-account/request-access-token makes one"
	case why != "" && p.CanRefresh():
		return grant.FaultTrial, why + ": a trial would spend the refresh token, and lose the new one"
	case why != "":
		return grant.FaultNotAuthorized, why
	}
	return "", ""
}

// takeCall takes one call from the realm's quotas, without a claim: nothing that
// the call gives is kept. CodeBudgetSpent.
func (v *View) takeCall(ctx context.Context, ref realm.Ref, c *catalog.Realm) error {
	t := v.terms(c)
	if len(t.Windows) == 0 {
		return nil
	}
	if err := v.openStore(ctx, c, ref); err != nil {
		return err
	}
	waits := make(chan time.Duration, 1)
	_, err := v.pool.callers.Coordinate(ctx, ref, func(s *tokenstore.State) error {
		replace(waits, t.TakeCall(s))
		return nil
	})
	if err != nil {
		return catalog.StoreError(err)
	}
	if wait := <-waits; wait > 0 {
		return &realm.Error{
			Code: realm.CodeBudgetSpent, Status: http.StatusServiceUnavailable,
			Detail: "the realm's limits allow no call to the provider now", RetryAfter: wait,
		}
	}
	return nil
}

// forgetFailures ends the failures of a (realm, key) and of its realm, here and
// for the other nodes. If the store cannot be written, those of this node end.
func (p *Pool) forgetFailures(ctx context.Context, ref realm.Ref) {
	_, _ = p.callers.Coordinate(ctx, ref, func(s *tokenstore.State) error {
		claim.ForgetFailures(s)
		return nil
	})
	p.entries.Range(func(other realm.Ref, e *entry) bool {
		if other.Realm == ref.Realm {
			e.mu.Lock()
			e.clearFailureLocked()
			e.mu.Unlock()
		}
		return true
	})
}
