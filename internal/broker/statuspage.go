package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// StatusQuery selects tokens of memory. What is empty selects nothing.
type StatusQuery struct {
	Page       tokenstore.Page
	Realm, Key string
	State      string
	// Keyword is a part of the realm or the key; upper and lower case are one.
	Keyword string
	// Attention: only what needs a person, or soon will. AttentionFirst puts that in
	// front of the rest.
	Attention, AttentionFirst bool
	// May reports whether the caller may see a token; nil for all.
	May func(realm.Ref) bool
}

// maxListedError is how much of an error a page shows, in bytes: of a thousand
// tokens with long errors a page would have more than a megabyte. Who asks for one
// token gets all of it.
const (
	maxListedError = 512
	// maxListedCode is how much of a provider's code; real ones are short.
	maxListedCode = 64
)

// selected is a token that a query selects.
type selected struct {
	ref realm.Ref
	e   *entry
	// isUrgent: it needs attention, and that is asked for.
	isUrgent bool
}

// StatusPage is the health of the stores with the page of tokens that a query
// selects, by realm and key, and how many it selects. Only those of the page are
// described. One token, selected by realm and key, has its history.
func (v *View) StatusPage(ctx context.Context, q StatusQuery) (Status, int) {
	s := v.storesStatus(ctx)
	now := realm.InstantOf(v.pool.now())
	found := v.find(q, now)
	first := min((q.Page.Number-1)*q.Page.Size, len(found))
	page := found[first:min(first+q.Page.Size, len(found))]
	s.Tokens = make([]TokenStatus, 0, len(page))
	isDeaf, isOne := v.pool.isDeaf(now), q.Realm != "" && q.Key != ""
	for _, one := range page {
		t := v.describe(one.ref, one.e, now, isDeaf)
		if isOne {
			t.History = v.pool.histories.of(one.ref)
		} else {
			t.shorten()
		}
		s.Tokens = append(s.Tokens, t)
	}
	return s, len(found)
}

// ListedStatusOf is the status of one token as a page shows it.
func (v *View) ListedStatusOf(ref realm.Ref) (t TokenStatus, ok bool) {
	e, ok := v.pool.entries.Load(ref)
	if !ok {
		return t, false
	}
	now := realm.InstantOf(v.pool.now())
	t = v.describe(ref, e, now, v.pool.isDeaf(now))
	t.shorten()
	return t, true
}

// find selects tokens, and sorts them. What costs least is looked at first: of ten
// thousand tokens nearly all are looked at by name alone.
func (v *View) find(q StatusQuery, now realm.Instant) (found []selected) {
	keyword := strings.ToLower(q.Keyword)
	consider := func(ref realm.Ref, e *entry) bool {
		switch {
		case q.Realm != "" && ref.Realm != q.Realm, q.Key != "" && ref.Key != q.Key:
		case keyword != "" && !strings.Contains(strings.ToLower(ref.Realm), keyword) && !strings.Contains(strings.ToLower(ref.Key), keyword):
		case q.May != nil && !q.May(ref):
		case q.State != "" && v.currentState(ref, e, now).String() != q.State:
		case q.Attention && !v.needsAttention(ref, e, now):
		default:
			found = append(found, selected{ref, e, q.AttentionFirst && v.needsAttention(ref, e, now)})
		}
		return true
	}
	if q.Realm != "" && q.Key != "" {
		ref := realm.Ref{Realm: q.Realm, Key: q.Key}
		if e, ok := v.pool.entries.Load(ref); ok {
			consider(ref, e)
		}
		return found
	}
	v.pool.entries.Range(consider)
	slices.SortFunc(found, func(a, b selected) int {
		if a.isUrgent != b.isUrgent {
			if a.isUrgent {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.ref.Realm, b.ref.Realm), cmp.Compare(a.ref.Key, b.ref.Key))
	})
	return found
}

// RealmCounts are the tokens of a realm that this node knows.
type RealmCounts struct {
	// Attention is how many of them a person should look at, or soon will.
	Attention int `json:"attention"`
	// States are how many are in each state that any is in.
	States map[string]int `json:"states"`
}

// Counts counts the tokens of realms that may lets through; nil lets all through.
func (v *View) Counts(realms []string, may func(realm.Ref) bool) map[string]RealmCounts {
	counts := make(map[string]RealmCounts, len(realms))
	for _, id := range realms {
		counts[id] = RealmCounts{States: map[string]int{}}
	}
	now := realm.InstantOf(v.pool.now())
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		c, ok := counts[ref.Realm]
		if !ok || may != nil && !may(ref) {
			return true
		}
		c.States[v.currentState(ref, e, now).String()]++
		if v.needsAttention(ref, e, now) {
			c.Attention++
		}
		counts[ref.Realm] = c
		return true
	})
	return counts
}

// currentState is the state of an entry.
func (v *View) currentState(ref realm.Ref, e *entry, now realm.Instant) state {
	f, _ := e.state()
	return stateOf(e.live.Load(), v.standing(ref.Realm, f, now), now)
}

// needsAttention reports whether somebody should look at a token: nothing but a
// person helps, its requests fail, its secret does not fit, another system fetches it, or the calls that
// its realm is allowed are nearly used up.
func (v *View) needsAttention(ref realm.Ref, e *entry, now realm.Instant) bool {
	if s := v.currentState(ref, e, now); s == stateReauth || s == stateFailing {
		return true
	}
	if b, ok := v.pool.budgets.Load(ref.Realm); ok && b.isLow {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.activity != nil && e.activity.earlyDeaths.isContended(now)
}

// States are the words for what a token can be in.
func States() []string {
	words := make([]string, 0, states)
	for s := range states {
		words = append(words, s.String())
	}
	return words
}

// shorten cuts what a provider said to what a list shows.
func (t *TokenStatus) shorten() {
	t.LastError, t.Code = shorten(t.LastError, maxListedError), shorten(t.Code, maxListedCode)
}

// shorten cuts a text to so many bytes, between two characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const mark = "…"
	end := most - len(mark)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}
