package broker

import (
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A token ended while its renewal failed for want of the database: those who
// waited for that renewal got its error, although each node may ask the
// provider for itself then.
func TestCallersOutliveARenewalWithoutTheStore(t *testing.T) {
	c := &catalog.Realm{}
	for kind, serves := range map[kind]bool{load: true, renew: false, flush: false, heal: true} {
		f := newFlight(c, aim{kind: kind})
		f.err = catalog.StoreError(tokenstore.ErrUnavailable)
		if got := f.serves(aim{kind: load}, c); got != serves {
			t.Errorf("%v: %v", kind, got)
		}
		if f.err = errPanic; !f.serves(aim{kind: load}, c) {
			t.Errorf("%v: another error is not passed on", kind)
		}
	}
}

// What a flight failed with is not for those who can be served all the same: by
// the token that was held back for it, or by the entry that took the place of
// the one that it was in.
func TestCallersAskAgain(t *testing.T) {
	c := &catalog.Realm{}
	f := newFlight(c, aim{kind: renew})
	f.err, f.barred = errPanic, &live{}
	if f.serves(aim{kind: load}, c) {
		t.Error("the error of a renewal that held the live token back")
	}
	for _, k := range []kind{load, renew, heal, flush} {
		f := newFlight(c, aim{kind: k})
		if f.err = errDiscarded; f.serves(f.aim, c) {
			t.Errorf("%v: an entry that was discarded", k)
		}
	}
}
