package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Payer is who a call to a provider is made for: whoever begins a flight pays
// for its calls. Who joins a flight that is under way does not pay, and neither
// does anybody for renewals of the schedule. The broker knows nothing else of
// its callers.
//
// The methods are quick, do not block, and may be called by many goroutines at
// once. Payers are compared by ==, so that they are pointers.
type Payer interface {
	// MayPay returns why no call may be made for this caller now, or nil. The
	// error has the status 429 and says when to come back. It changes nothing, and
	// may be asked several times for one call.
	MayPay() *realm.Error
	// Paid notes one call, which is made now, or will be at once. It returns what
	// takes that back if the call is not made.
	Paid() (takeBack func())
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

// errTooLate: a decision was made after whoever asked for it had lost patience, so that
// nobody would make its call.
var errTooLate = errors.New("nobody waits for the decision any more")

// reservation is a call that a payer has paid for and that is not made yet. It is
// paid when the decision about a claim is about to allow it, and not when it is made
// only: many decisions share a transaction, and each has to know of the calls that
// those before it allow. A decision that is made again is about the same call; and
// one that comes late (see patientStore) may come at the same time as the call
// without a claim, or after it.
type reservation struct {
	payer    Payer
	mu       sync.Mutex
	takeBack func() // nil: nothing is paid
	isOver   bool   // no call is reserved any more
}

// pay pays for the call, unless that was done or none may be made.
func (r *reservation) pay() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver {
		return errTooLate
	}
	if r.takeBack != nil {
		return nil
	}
	if err := mayPay(r.payer); err != nil {
		return err
	}
	r.takeBack = paid(r.payer)
	return nil
}

// use takes notice that a call is made now, and reports whether it was paid here.
func (r *reservation) use() (isPaid bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	isPaid = r.takeBack != nil
	r.takeBack, r.isOver = nil, true
	return isPaid
}

// end takes back what was paid for a call that was not made.
func (r *reservation) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.takeBack != nil {
		r.takeBack()
	}
	r.takeBack, r.isOver = nil, true
}

// paid notes a call that is made now, or at once.
func paid(p Payer) (takeBack func()) {
	if p == nil {
		return func() {}
	}
	return p.Paid()
}

// isRefusedTo reports whether the flight came to nothing because its payer may
// cause no call, so that a caller with the goal g and another payer has to begin
// one of his own. Callers of the same payer who want the same are refused with
// him, and do not ask the store one after the other. Who wants something else
// may be served by the stored token.
func (f *flight) isRefusedTo(payer Payer, g goal) bool {
	return f.isRefused && (f.payer != payer || f.purpose != g.purpose)
}
