package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Observer is told what happens, for metrics and events. Its methods are quick
// and do not block. Nothing confidential is told.
type Observer interface {
	// Fetched: a call to a provider ended; outcome is "ok" or the kind of its
	// failure.
	Fetched(realmID, outcome string, took time.Duration)
	// Refreshed: there is a new token. why is load, renew, heal or flush.
	Refreshed(ref realm.Ref, why string, expires time.Time)
	// Died: the provider's API refused a token.
	Died(ref realm.Ref)
	// Healed: a call was made good with another token, or could not be.
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

func (p *Pool) observe(tell func(Observer)) {
	if o := p.observer.Load(); o != nil {
		tell(*o)
	}
}
