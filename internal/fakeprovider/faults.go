package fakeprovider

import (
	"context"
	"sync"
	"time"
)

// Faults are what goes wrong at the provider now. The zero value: nothing.
// Times, and what Hold and HoldAnswers do, are for token requests and for the
// authorization requests that an app makes by itself; no person waits.
type Faults struct {
	// Latency passes before the provider commits to an answer, Linger between
	// its commitment and the answer: a caller that gives up in between has
	// lost a token (or spent a refresh token) without knowing it.
	Latency time.Duration
	Linger  time.Duration
	// Trickle passes before each byte of an answer to a token request.
	Trickle time.Duration
	// Refuse refuses every token request with this reason.
	Refuse Refusal
	// RetryAfter is sent along with refusals.
	RetryAfter time.Duration
	// AuthorizeStatus is the HTTP status that is the whole answer to every
	// authorization request.
	AuthorizeStatus int
	// RefuseTokens makes the API refuse every token, also a fresh one.
	RefuseTokens bool
	// API is what else goes wrong there.
	API APIFaults
	// Answer is the name of the malformed answer (see Malformed) that every
	// granted token request gets.
	Answer string
	// Answers are malformed answers for the next granted requests, one each;
	// "" lets one request through unharmed.
	Answers []string
}

// Set replaces the faults.
func (p *Provider) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// Hold keeps every token request waiting, before it is decided, until release
// is called. It may be called again afterwards.
func (p *Provider) Hold() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.gate = gate
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.gate == gate {
			p.gate = nil
		}
		close(gate)
	})
}

// HoldAnswers lets the provider decide, and write into the ledger, but keeps
// the next n answers back until release is called. Those after them pass.
func (p *Provider) HoldAnswers(n int) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.answerGate, p.toHold = gate, n
	return sync.OnceFunc(func() { close(gate) })
}

// answerHeld returns the gate that the answer decided now has to pass. The
// caller holds the lock.
func (p *Provider) answerHeld() <-chan struct{} {
	if p.toHold == 0 {
		return nil
	}
	p.toHold--
	return p.answerGate
}

// pass waits until a gate is open and d has passed. It returns false when the
// caller went away meanwhile.
func pass(ctx context.Context, gate <-chan struct{}, d time.Duration) bool {
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return false
		}
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Faults) next() string {
	if len(f.Answers) == 0 {
		return f.Answer
	}
	name := f.Answers[0]
	f.Answers = f.Answers[1:]
	return name
}
