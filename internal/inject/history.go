package inject

import (
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// acceptedSlots and liveSlots bound what is remembered of all realms
	// together. Two requests that fall into one slot displace each other, and
	// what is displaced counts as unknown.
	acceptedSlots = 1 << 14
	liveSlots     = 1 << 12
	// maxRefusals is how many refusals are remembered per realm.
	maxRefusals = 1024
	// retryAfter is how often a refusal that no token cured is tried again,
	// except where other requests show that the token lives. Without that, a
	// provider that refused every token for a while would never be asked for
	// another one.
	retryAfter = 15 * time.Minute
)

// History remembers how APIs answered, to tell a dead token from a request
// that lacks a right: both are often refused with the same status. A token
// request for each refusal of the second kind would spend the provider's quota,
// end the tokens of others and hold up the healing of tokens that really die.
//
// A request is remembered by realm, key, method and path, a refusal also by its
// status and error code, all as hashes. The zero value is ready for use. All
// transports of one configuration share one History.
type History struct {
	// accepted holds the requests that the API accepted, see refusedSince. It is
	// written for every accepted answer, so it has neither locks nor
	// allocations, and an unchanged slot is only read.
	accepted [acceptedSlots]atomic.Uint64
	// live holds the tokens that the API accepted, by realm and key.
	live [liveSlots]atomic.Uint64

	mu sync.Mutex
	// uncured are the refusals that a fresh token did not cure, by realm.
	uncured map[string]*refusalSet
	// trials are the tokens of which the next answer tells whether they helped, by
	// request.
	trials map[uint64]trial

	// now is the clock; nil for the real one.
	now func() time.Time
}

// hashSeed differs in each process, so that nobody can choose paths that
// displace others.
var hashSeed = maphash.MakeSeed()

// hashPair returns a hash of a hash and a text.
func hashPair(h uint64, text string) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h = (h ^ maphash.String(hashSeed, text)) * odd
	return h ^ h>>32
}

// requestID identifies a request: the hash of its realm, key, method and path.
type requestID struct {
	ref  realm.Ref
	key  uint64 // the hash of realm and key
	hash uint64
}

func requestOf(ref realm.Ref, method, path string) requestID {
	key := hashPair(hashPair(0, ref.Realm), ref.Key)
	return requestID{ref, key, hashPair(hashPair(key, method), path)}
}

// A slot of accepted holds the hash of a request without its lowest bit. That
// bit is set when the request was refused since it was accepted.
const refusedSince = 1

// mark returns what stands in the slot of a request that was accepted.
func (r requestID) mark() uint64 { return r.hash &^ refusedSince }

// slot returns where it is remembered that the API accepted the request.
func (h *History) slot(r requestID) *atomic.Uint64 { return &h.accepted[r.hash>>1%acceptedSlots] }

// noteAccepted remembers that the API accepted a request with the token. Most
// calls find what they would write, and write nothing: cores that serve the
// same request must not fight for its memory.
func (h *History) noteAccepted(r requestID, token realm.Hidden) {
	if slot := h.slot(r); slot.Load() != r.mark() {
		slot.Store(r.mark())
	}
	live := hashPair(r.key, string(token))
	if slot := &h.live[r.key%liveSlots]; slot.Load() != live {
		slot.Store(live)
	}
}

// refusal is how an API refused a request.
type refusal struct {
	status int
	code   string // from the document or the header; "" for none
}

// refusedAs returns the hash of a refusal of the request.
func (r requestID) refusedAs(as refusal) uint64 {
	return hashPair(hashPair(r.hash, strconv.Itoa(as.status)), as.code)
}

// noteUncured remembers that the API refused a request with a fresh token too.
func (h *History) noteUncured(r requestID, as refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uncured == nil {
		h.uncured = map[string]*refusalSet{}
	}
	set := h.uncured[r.ref.Realm]
	if set == nil {
		set = new(refusalSet)
		h.uncured[r.ref.Realm] = set
	}
	set.put(r.refusedAs(as), h.time().Add(retryAfter))
}

// noteCured forgets a refusal that a fresh token did cure.
func (h *History) noteCured(r requestID, as refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uncured[r.ref.Realm].remove(r.refusedAs(as))
}

// blame returns what is at fault for a refusal, as far as earlier answers tell.
func (h *History) blame(r requestID, as refusal, token realm.Hidden) realm.Blame {
	slot := h.slot(r)
	was := slot.Load()
	accepted := was&^refusedSince == r.mark()
	if was == r.mark() {
		slot.CompareAndSwap(was, was|refusedSince)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	set := h.uncured[r.ref.Realm]
	retryAt, uncured := set.get(r.refusedAs(as))
	retry := uncured && !h.time().Before(retryAt)
	switch {
	case accepted && (!uncured || retry):
		set.remove(r.refusedAs(as))
		return realm.BlameToken
	case accepted && was != r.mark():
		// Such requests are accepted now and refused then: their query or body
		// decides. Two refusals in a row may mean that the token has died.
		return realm.BlameUnknown
	case !uncured:
		return realm.BlameUnknown
	case retry && !accepted && !h.accepts(r, token):
		set.put(r.refusedAs(as), h.time().Add(retryAfter))
		return realm.BlameUnknown
	}
	return realm.BlameRequest
}

// accepts reports whether the API accepted some request with the token.
func (h *History) accepts(r requestID, token realm.Hidden) bool {
	return h.live[r.key%liveSlots].Load() == hashPair(r.key, string(token))
}

func (h *History) time() time.Time {
	if h.now == nil {
		return time.Now()
	}
	return h.now()
}

// refusalSet holds up to maxRefusals refusals and, for each, when it may be
// tried again. It consists of two generations: when the young one is full, it
// takes the place of the old one, whose refusals are forgotten unless they were
// looked up since. A nil set is empty.
type refusalSet struct {
	young, old map[uint64]time.Time
}

// put remembers a refusal.
func (s *refusalSet) put(refusal uint64, retryAt time.Time) {
	if _, known := s.young[refusal]; !known && len(s.young) >= maxRefusals/2 {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = map[uint64]time.Time{}
	}
	s.young[refusal] = retryAt
}

// get looks a refusal up, and keeps it from being forgotten.
func (s *refusalSet) get(refusal uint64) (retryAt time.Time, ok bool) {
	if s == nil {
		return time.Time{}, false
	}
	if retryAt, ok = s.young[refusal]; ok {
		return retryAt, true
	}
	if retryAt, ok = s.old[refusal]; ok {
		s.put(refusal, retryAt)
	}
	return retryAt, ok
}

// remove forgets a refusal.
func (s *refusalSet) remove(refusal uint64) {
	if s != nil {
		delete(s.young, refusal)
		delete(s.old, refusal)
	}
}
