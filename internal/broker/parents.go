package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A recipe may send the token of another credential, its parent. That token is
// obtained like any other: from memory, from the store, or by a flight of its own
// with a claim of its own. It is there before the child asks for its claim, so that
// a slow parent uses up no part of that.

// parent is another credential with the lease that this call uses.
type parent struct {
	grant.Parent
	lease *realm.Lease
}

// parents are those of a call, by the names that the recipes have for them.
type parents map[realm.Ref]parent

// forCall is what a call is given of them; renewed are those that were bought for it.
func (p parents) forCall(renewed parents) map[realm.Ref]grant.Parent {
	if p == nil {
		return nil
	}
	given := make(map[realm.Ref]grant.Parent, len(p))
	for named, one := range p {
		bought, ok := renewed[named]
		one.IsFresh = ok && bought.lease.Access == one.Token
		given[named] = one.Parent
	}
	return given
}

// areInMemory reports whether none of the tokens had to be waited for.
func (p parents) areInMemory() bool {
	for _, one := range p {
		if one.lease.Source != realm.FromMemory {
			return false
		}
	}
	return true
}

// parentsOf gets the tokens of the parents that the recipes of these kinds send;
// nil if there are none.
func (v *View) parentsOf(ctx context.Context, child *catalog.Realm, b *grant.Bound, kinds ...grant.RecipeKind) (parents, error) {
	uses, err := b.ParentUses(kinds...)
	if err != nil || len(uses) == 0 {
		return nil, err
	}
	found := make(parents, len(uses))
	for _, u := range uses {
		p, err := v.catalog.Parent(ctx, child, u, b.OwnParentKey())
		if err != nil {
			return nil, unusableParentError{parentError(p.Ref, err)}
		}
		lease, err := v.leaseFor(ctx, p.Realm, p.Ref)
		if err != nil {
			return nil, parentError(p.Ref, err)
		}
		found[u.Parent] = parent{grant.Parent{
			Ref: p.Ref, Token: lease.Access, Hosts: p.Hosts, AllowHTTP: p.AllowHTTP, Dead: lease.Target.Dead,
		}, lease}
	}
	return found, nil
}

// unusableParentError is the error of a parent that was not asked for its token: there is
// none of that name, its secret does not fit, or its token may not go to where the
// recipe sends it. The status tells of that with the child: the parent need not be
// known to memory.
type unusableParentError struct{ error }

func (e unusableParentError) Unwrap() error { return e.error }

// parentError is the error of a child whose parent has no token: the parent's own,
// with its name. The child itself needs no person, and nothing about it is
// hopeless.
func parentError(ref realm.Ref, err error) error {
	var cause *realm.Error
	if unfit := (*realm.FieldError)(nil); errors.As(err, &unfit) {
		cause = unavailable(http.StatusBadGateway, unfitDetail+unfit.Error(), unfit)
	} else if !errors.As(err, &cause) || errors.Is(err, errClosed) {
		return err
	}
	e := &realm.Error{
		Code: cause.Code, Status: cause.Status, RetryAfter: cause.RetryAfter, Err: cause,
		Detail: "the token of " + strings.TrimSuffix(ref.String(), "/") + " is needed first: " + cause.Detail, // there may be no key
	}
	switch cause.Code {
	case realm.CodeRateLimited: // it is about the caller, and not about the parent
		return cause
	case realm.CodeTokenUnavailable, realm.CodeHostNotAllowed, realm.CodeUnavailable, realm.CodeDamaged, realm.CodeInternal:
	default:
		e.Code = realm.CodeTokenUnavailable
		if e.Status < http.StatusInternalServerError {
			e.Status = http.StatusBadGateway
		}
	}
	return e
}

// areCurrent reports whether the tokens are those that memory has, of the realms as
// they are now, so that nothing is to be asked once more.
func (v *View) areCurrent(used parents) bool {
	for _, p := range used {
		e, ok := v.pool.entries.Load(p.Ref)
		if !ok {
			return false
		}
		c, isKnown := v.catalog.Remembered(p.Ref.Realm)
		now, l := realm.InstantOf(v.pool.now()), e.live.Load()
		if l == nil || !isKnown || l.owner != c || l.lease.Access != p.Token || l.lease.InjectOnly || !l.isUsable(now) || v.pool.isSuspect(e, now) {
			return false
		}
	}
	return true
}

// getParents gets the tokens that the attempt's calls may need. If they had to be
// waited for, the secret may have been replaced meanwhile.
func (a *attempt) getParents(ctx context.Context) (err error) {
	if a.parents != nil && a.view.areCurrent(a.parents) { // the attempt waited for its claim a moment
		return nil
	}
	owner := a.flight.owner
	kinds := []grant.RecipeKind{grant.FetchRecipe, grant.RefreshRecipe}
	switch {
	case a.flight.purpose == claim.Exchange:
		kinds = []grant.RecipeKind{grant.ExchangeRecipe}
	case owner.Program.Unattended():
		kinds = []grant.RecipeKind{grant.RefreshRecipe, grant.AuthorizeRecipe, grant.ExchangeRecipe}
	}
	a.parents, err = a.view.parentsOf(a.forParents(ctx), owner, a.bound, kinds...)
	if refused := new(realm.Error); errors.As(err, &refused) && refused.Code == realm.CodeRateLimited {
		a.flight.isRefused = true
	}
	if err != nil {
		a.flight.parentWait = parentWait(err)
		if unusable := (unusableParentError{}); errors.As(err, &unusable) {
			return a.faultFor(reauthRetry, unusable.error)
		}
		return err
	}
	if a.parents.areInMemory() {
		return nil
	}
	return a.checkSecret(ctx)
}

// parentWait is how long renewals wait for a parent that failed: one parent may have
// thousands of children. Callers ask whenever they need a token.
func parentWait(err error) time.Duration {
	var cause *realm.Error
	if errors.As(err, &cause) && cause.RetryAfter > 0 {
		return min(cause.RetryAfter, reauthRetry)
	}
	return reauthRetry // somebody has to do something first
}

// forParents is the context in which parents are asked: whoever pays for the
// child's calls pays for those of its parents.
func (a *attempt) forParents(ctx context.Context) context.Context {
	ctx = withBudget(ctx)
	if a.flight.payer != nil {
		ctx = WithPayer(ctx, a.flight.payer)
	}
	return ctx
}

// noteParents tells what a call showed about the tokens of the parents: a provider
// that gave what was asked for has accepted them.
func (v *View) noteParents(used, renewed parents, failed error) {
	if failed != nil {
		return
	}
	for _, p := range renewed {
		v.Helped(p.Ref, p.lease)
	}
	for _, p := range used {
		v.Worked(p.Ref, p.lease)
	}
}

// renewParents replaces the tokens that the provider refused, each once and only if
// it is the current one still, and returns those that were bought for it.
func (v *View) renewParents(ctx context.Context, used parents, dead []realm.Ref) (parents, error) {
	renewed := parents{}
	for _, named := range dead {
		p := used[named]
		lease, isBought, err := v.Heal(ctx, p.Ref, p.Token, realm.BlameUnknown)
		if err != nil {
			return nil, parentError(p.Ref, err)
		}
		if isBought {
			p.lease = lease
			renewed[named] = p
		}
	}
	return renewed, nil
}

// afterDeadParent is what follows a call that failed because of dead parents: they
// are renewed, and the call is made once more under a claim of its own; nil if that
// was done already. A code is sent once only.
func (a *attempt) afterDeadParent(ctx context.Context, cause *grant.Error) again {
	if !claim.IsOfDeadParent(cause) || a.isParentRenewed {
		return nil
	}
	a.isParentRenewed = true
	a.entry.handBack(a.flight) // the provider has not ended it
	renew := func(ctx context.Context) (err error) {
		a.renewed, err = a.view.renewParents(a.forParents(ctx), a.parents, cause.DeadParents())
		return err
	}
	if a.flight.purpose == claim.Exchange {
		_ = renew(ctx) // the next code finds a live one
		return nil
	}
	return renew
}

// parentsTimeout is how long the tokens of a realm's parents may take, of all that
// they need themselves too. Each is obtained once.
func (v *View) parentsTimeout(c *catalog.Realm) (sum time.Duration) {
	seen := map[string]bool{}
	for level := []*catalog.Realm{c}; len(level) > 0; {
		var above []*catalog.Realm
		for _, r := range level {
			for _, u := range r.Program.Parents() {
				if seen[u.Parent.Realm] {
					continue
				}
				seen[u.Parent.Realm] = true
				parent, ok := v.catalog.Remembered(u.Parent.Realm)
				if !ok { // as long as its child, as far as is known
					sum += v.ownFlightTimeout(r)
					continue
				}
				sum, above = sum+v.ownFlightTimeout(parent), append(above, parent)
			}
		}
		level = above
	}
	return sum
}
