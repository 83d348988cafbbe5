package inject

import "github.com/caddy-tokens/caddy-tokens/realm"

// maxTrials is how many tokens may be on trial at a time. When there are more, all of
// them are forgotten, and count as unknown.
const maxTrials = 1024

// trial is a token that was fetched because of a refusal, and of which nobody knows
// yet whether it helped.
type trial struct {
	token uint64 // its hash
	as    refusal
}

// noteTrial remembers that a token was fetched because a request was refused. The next
// answer to such a request tells whether it helped.
func (h *History) noteTrial(r requestID, token realm.Hidden, as refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trials == nil || len(h.trials) >= maxTrials {
		h.trials = map[uint64]trial{}
	}
	h.trials[r.hash] = trial{hashPair(r.key, string(token)), as}
}

// endTrial reports whether a token that was used in a request was on trial for such a
// request, and for which refusal. It is not any more.
func (h *History) endTrial(r requestID, token realm.Hidden) (as refusal, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.trials[r.hash]
	if !ok || t.token != hashPair(r.key, string(token)) {
		return refusal{}, false
	}
	delete(h.trials, r.hash)
	return t.as, true
}
