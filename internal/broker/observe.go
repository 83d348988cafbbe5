package broker

import (
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Observer is told what happens, for metrics and events. Its methods are quick
// and do not block. Nothing confidential is told, and of realms only those
// that exist.
type Observer interface {
	// Fetched: a call to a provider ended; outcome is "ok" or the kind of its
	// failure, see grant.Kind.
	Fetched(realmID, outcome string, took time.Duration)
	// Refreshed: there is a new token. why is load, renew, heal or flush.
	Refreshed(ref realm.Ref, why string, expires time.Time)
	// Died: the provider's API refused a token.
	Died(ref realm.Ref)
	// Healed: those whose token the API had refused got another one, or there
	// was none. All who wait for it are one.
	Healed(realmID string, ok bool)
	// ReauthRequired: nothing that is stored works, a person is needed.
	ReauthRequired(ref realm.Ref)
	// BudgetSpent: the realm's limits allowed no call.
	BudgetSpent(ref realm.Ref)
}

// Observe sets who is told from now on, nil for nobody.
func (p *Pool) Observe(o Observer) {
	if o == nil {
		p.observer.Store(nil)
		return
	}
	p.observer.Store(&o)
}

// fetched tells that a call to a provider ended, which was sent at an instant
// of the real clock.
func (p *Pool) fetched(realmID string, sent time.Time, err error) {
	outcome := "ok"
	var cause *grant.Error
	switch {
	case errors.As(err, &cause):
		outcome = string(cause.Kind)
	case err != nil:
		outcome = string(grant.KindConnection)
	}
	p.notify(func(o Observer) { o.Fetched(realmID, outcome, time.Since(sent)) })
}

func (p *Pool) notify(tell func(Observer)) {
	if o := p.observer.Load(); o != nil {
		tell(*o)
	}
}
