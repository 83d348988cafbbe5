package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// maxRefusers is how many callers, by who and where they are and what they try,
// are told apart in a minute. The refusals of all others are counted together, so that a flood from many addresses fills
// neither memory nor disk.
const maxRefusers = 256

// refusalID tells refusals apart.
type refusalID struct {
	actor                      Actor
	address, act, code, result string
}

// refusal counts equal ones.
type refusal struct {
	event Event
	count int64
	// first is when the first one of those happened that are counted.
	first time.Time
	// next is when the next entry may be written.
	next time.Time
}

// refusals are those of the last minute.
type refusals struct {
	mu    sync.Mutex
	known map[refusalID]*refusal
	// callers counts the refusals in known that have an address.
	callers int
}

func (r *refusals) init() { r.known = map[refusalID]*refusal{} }

// Refused notes that somebody was refused, with the act that was tried and the
// code of the error. Nobody waits for the entry: the first of equal ones is
// written within a second or so, the others as one a minute.
func (r *Recorder) Refused(e Event) { r.count(e, tokenstore.AuditRefused) }

// Failed notes that an act failed that has no other entry, as Refused does.
func (r *Recorder) Failed(e Event) { r.count(e, tokenstore.AuditFailed) }

// count counts an event among equal ones.
func (r *Recorder) count(e Event, result string) {
	if r == nil {
		return
	}
	now := r.now()
	s := &r.refusals
	s.mu.Lock()
	defer s.mu.Unlock()
	id := refusalID{e.Actor, e.Address, e.Act, e.Code, result}
	known := s.known[id]
	if known == nil && e.Address != "" && s.callers >= maxRefusers {
		id.actor, id.address = Actor{}, ""
		e = Event{Act: e.Act, Code: e.Code, Detail: "of more callers than are told apart"}
		known = s.known[id]
	}
	if known == nil {
		known = &refusal{event: e}
		s.known[id] = known
		if id.address != "" {
			s.callers++
		}
	}
	if known.count == 0 {
		known.first, known.event = now, e
	}
	known.count++
	known.event.merge(e)
}

// merge leaves of an event what an equal one has in common with it.
func (e *Event) merge(other Event) {
	if e.Ref.Realm != other.Ref.Realm {
		e.Ref = realm.Ref{}
	}
	if e.Ref.Key != other.Ref.Key {
		e.Ref.Key = ""
	}
	if e.Target != other.Target {
		e.Target = ""
	}
	if e.Detail != other.Detail {
		e.Detail = ""
	}
}

// writeRefusals writes what is due, and forgets what was not repeated.
func (r *Recorder) writeRefusals(ctx context.Context, at time.Time) error {
	s := &r.refusals
	s.mu.Lock()
	var entries []*tokenstore.AuditEntry
	var written []refusalID
	for _, id := range slices.SortedFunc(maps.Keys(s.known), func(a, b refusalID) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.actor.Kind, b.actor.Kind), cmp.Compare(a.actor.ID, b.actor.ID),
			cmp.Compare(a.act, b.act), cmp.Compare(a.code, b.code), cmp.Compare(a.result, b.result))
	}) {
		known := s.known[id]
		switch {
		case at.Before(known.next):
		case known.count > 0:
			e := known.event.entry(id.result, known.first)
			e.Count = known.count
			entries, written = append(entries, e), append(written, id)
		default:
			delete(s.known, id)
			if id.address != "" {
				s.callers--
			}
		}
	}
	s.mu.Unlock()
	if err := r.append(ctx, entries...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, id := range written {
		known := s.known[id]
		known.count -= max(entries[i].Count, 1) // 1 is written as absent
		known.next = at.Add(window)
	}
	return nil
}
