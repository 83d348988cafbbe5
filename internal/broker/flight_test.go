package broker

import (
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A token ended while its renewal failed for want of the database: those who
// waited for that renewal got its error, although each node may ask the
// provider for itself then.
func TestCallersOutliveARenewalWithoutTheStore(t *testing.T) {
	c := &catalog.Realm{}
	for purpose, serves := range map[claim.Purpose]bool{claim.Load: true, claim.Renew: false, claim.Flush: false, claim.Heal: true} {
		f := newFlight(c, goal{purpose: purpose})
		f.err = catalog.StoreError(tokenstore.ErrUnavailable)
		if got := f.serves(goal{purpose: claim.Load}, c); got != serves {
			t.Errorf("%v: %v", purpose, got)
		}
		if f.err = errPanic; !f.serves(goal{purpose: claim.Load}, c) {
			t.Errorf("%v: another error is not passed on", purpose)
		}
	}
}

// What a flight failed with is not for those who can be served all the same: by
// the token that was held back for it, or by the entry that took the place of
// the one that it was in.
func TestCallersAskAgain(t *testing.T) {
	c := &catalog.Realm{}
	f := newFlight(c, goal{purpose: claim.Renew})
	f.err, f.withheld = errPanic, &live{}
	if f.serves(goal{purpose: claim.Load}, c) {
		t.Error("the error of a renewal that held the live token back")
	}
	for _, p := range []claim.Purpose{claim.Load, claim.Renew, claim.Heal, claim.Flush} {
		f := newFlight(c, goal{purpose: p})
		if f.err = errDiscarded; f.serves(f.goal, c) {
			t.Errorf("%v: an entry that was discarded", p)
		}
	}
}
