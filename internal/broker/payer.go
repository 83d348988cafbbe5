package broker

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Payer is who a call to a provider is made for: whoever begins a flight pays
// for its calls. Who joins a flight that is under way does not pay, and neither
// does anybody for renewals of the schedule. The broker knows nothing else of
// its callers.
//
// Both methods are quick, do not block, and may be called by many goroutines at
// once. Payers are compared by ==, so that they are pointers.
type Payer interface {
	// MayPay returns why no call may be made for this caller now, or nil. The
	// error has the status 429 and says when to come back. It changes nothing, and
	// may be asked several times for one call.
	MayPay() *realm.Error
	// Paid notes one call, which is made now.
	Paid()
}

type payerKey struct{}

// WithPayer returns a context for the methods of [View], whose calls to
// providers p pays for.
func WithPayer(ctx context.Context, p Payer) context.Context {
	return context.WithValue(ctx, payerKey{}, p)
}

// payerOf returns who pays for the calls that ctx causes; nil for nobody. It is
// not asked on a hit of the memory level.
func payerOf(ctx context.Context) Payer {
	p, _ := ctx.Value(payerKey{}).(Payer)
	return p
}

// mayPay returns why no call may be made for p now; nil if one may be made.
func mayPay(p Payer) error {
	if p == nil {
		return nil
	}
	if err := p.MayPay(); err != nil {
		return err
	}
	return nil
}

// paid notes a call that is made now.
func paid(p Payer) {
	if p != nil {
		p.Paid()
	}
}

// isRefusedTo reports whether the flight came to nothing because its payer may
// cause no call, so that a caller with the goal g and another payer has to begin
// one of his own. Callers of the same payer who want the same are refused with
// him, and do not ask the store one after the other. Who wants something else
// may be served by the stored token.
func (f *flight) isRefusedTo(payer Payer, g goal) bool {
	return f.isRefused && (f.payer != payer || f.purpose != g.purpose)
}
