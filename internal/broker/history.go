package broker

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// keptCalls is how many calls a history has.
	keptCalls = 20
	// keptHistories is how many there are: a node may have a million tokens, each
	// of which is renewed many times a day.
	keptHistories = 20_000
)

// Call is one call to a provider, as this node made it.
type Call struct {
	At     time.Time `json:"at"`
	Result string    `json:"result"` // ok or failed
	// Why is load, renew, heal, flush, authorize or exchange.
	Why string `json:"why"`
	// Detail is the reason of a failure.
	Detail string `json:"detail,omitempty"`
	// Lineage is that of the new token; of a call that failed, that of the token
	// that there was.
	Lineage int64 `json:"lineage"`
	TookMS  int64 `json:"took_ms"`
}

// pastCall is a Call as memory keeps it.
type pastCall struct {
	at      realm.Instant
	lineage int64
	took    time.Duration
	detail  string
	why     claim.Purpose
	isOK    bool
}

// histories are the last calls for each (realm, key). The zero value is ready.
// There is one only where a call has ended.
type histories struct {
	mu  sync.Mutex
	all map[realm.Ref][]pastCall // the oldest first
}

// add adds a call. Beyond keptHistories another history is forgotten, whichever.
func (h *histories) add(ref realm.Ref, c pastCall) {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls, ok := h.all[ref]
	if h.all == nil {
		h.all = map[realm.Ref][]pastCall{}
	}
	if !ok && len(h.all) >= keptHistories {
		for other := range h.all {
			delete(h.all, other)
			break
		}
	}
	if len(calls) == keptCalls {
		calls = slices.Delete(calls, 0, 1)
	}
	h.all[ref] = append(calls, c)
}

// of is the history of a (realm, key), the newest call first.
func (h *histories) of(ref realm.Ref) []Call {
	h.mu.Lock()
	past := slices.Clone(h.all[ref])
	h.mu.Unlock()
	calls := make([]Call, 0, len(past))
	for _, c := range slices.Backward(past) {
		result := "failed"
		if c.isOK {
			result = "ok"
		}
		calls = append(calls, Call{
			At: c.at.Time(), Result: result, Why: c.why.String(), Detail: c.detail, Lineage: c.lineage, TookMS: c.took.Milliseconds(),
		})
	}
	return calls
}

// forget forgets what was about a secret, or about all of a realm where there is no
// key.
func (h *histories) forget(ref realm.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ref.Key != "" {
		delete(h.all, ref)
		return
	}
	for known := range h.all {
		if known.Realm == ref.Realm {
			delete(h.all, known)
		}
	}
}

// recordCall remembers the call that the attempt has made: with the reason why it
// failed, nil for one that gave a token.
func (a *attempt) recordCall(failed error) {
	c := pastCall{at: a.now(), lineage: a.stored.Lineage, took: a.took, why: a.flight.purpose, isOK: failed == nil}
	if failed != nil {
		c.detail = failed.Error()
	}
	a.pool.histories.add(a.ref, c)
}
