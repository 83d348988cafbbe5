package broker

import (
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A token ended while its renewal failed for want of the database: those who
// waited for that renewal got its error, although each node may ask the
// provider for itself then.
func TestCallersOutliveARenewalWithoutTheStore(t *testing.T) {
	c := &compiled{}
	for kind, serves := range map[kind]bool{load: true, renew: false, flush: false, heal: true} {
		f := newFlight(c, aim{kind: kind})
		f.err = storeFailed(tokenstore.ErrUnavailable)
		if got := f.serves(aim{kind: load}, c); got != serves {
			t.Errorf("%v: %v", kind, got)
		}
		if f.err = errPanic; !f.serves(aim{kind: load}, c) {
			t.Errorf("%v: another error is not passed on", kind)
		}
	}
}
