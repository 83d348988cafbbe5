package broker

import (
	"container/heap"
	"context"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// lane is where the calls of one realm pass: no more at a time than the realm
// allows. Callers that wait come before renewals ahead of time, and of those
// the ones that were used last come first.
type lane struct {
	running int             // calls, or what is about to become one
	callers []chan struct{} // who waits for a place
	queued  queued          // renewals that wait
	// renewing counts the renewals that were started from the queue.
	renewing int
	// until: no renewal is started before, as was said at the instant since;
	// alarm is for when the schedule was told to look again.
	since, until, alarm realm.Instant
}

// held says whether renewals have to wait. A clock that went back would make
// them wait for ever.
func (l *lane) held(now realm.Instant) bool { return l.since <= now && now < l.until }

// lane returns the lane of a realm; the caller holds the lock.
func (s *schedule) lane(id string) *lane {
	l, ok := s.lanes[id]
	if !ok {
		l = new(lane)
		s.lanes[id] = l
	}
	return l
}

// enter waits for a place among the calls of a realm; leave gives it back.
func (s *schedule) enter(ctx context.Context, id string, places int) (leave func(), err error) {
	s.mu.Lock()
	l := s.lane(id)
	if l.running < places {
		l.running++
		s.mu.Unlock()
		return func() { s.leave(id) }, nil
	}
	turn := make(chan struct{})
	l.callers = append(l.callers, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return func() { s.leave(id) }, nil
	case <-ctx.Done():
		s.giveUp(id, turn)
		return nil, unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
	}
}

// leave gives a place to the next who waits for one.
func (s *schedule) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(id)
	if len(l.callers) > 0 {
		close(l.callers[0])
		l.callers = l.callers[1:]
		return
	}
	l.running--
	s.tidy(id, l)
}

// giveUp takes back the wish for a place, or the place.
func (s *schedule) giveUp(id string, turn chan struct{}) {
	s.mu.Lock()
	l := s.lane(id)
	for i, c := range l.callers {
		if c == turn {
			l.callers = append(l.callers[:i], l.callers[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	s.leave(id)
}

// tidy removes a lane that nobody uses; the caller holds the lock.
func (s *schedule) tidy(id string, l *lane) {
	if l.running == 0 && l.renewing == 0 && len(l.callers) == 0 && len(l.queued) == 0 && l.until == 0 {
		delete(s.lanes, id)
	}
}

// hold lets no renewal of a realm start before an instant, where the realm has
// to wait and not the key alone. It says whether that is news.
func (s *schedule) hold(id string, v verdict, now, until realm.Instant) bool {
	if v.scope == scopeKey {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(id)
	if l.held(now) {
		l.until = max(l.until, until)
		return false
	}
	l.since, l.until = now, until
	return true
}

// queue has a renewal start as soon as there is room for it.
func (s *schedule) queue(v *View, r renewal) {
	s.mu.Lock()
	l := s.lane(r.ref.Realm)
	if r.e.waiting.CompareAndSwap(false, true) {
		heap.Push(&l.queued, r)
	}
	s.mu.Unlock()
	s.advance(v, r.ref.Realm)
}

// advance starts the renewals of a realm for which there is room. It does not
// wait for the store: a realm that is not in memory is read on the side.
func (s *schedule) advance(v *View, id string) {
	if c, ok := v.catalog.Remembered(id); ok {
		s.startQueued(id, v.terms(c).concurrency, func(r renewal) bool { return v.renewQueued(c, r) })
		return
	}
	s.pool.start(func(ctx context.Context) {
		c, err := v.catalog.Realm(ctx, id)
		if err != nil { // it is gone, or the store is: they are found again by the next sweep
			s.startQueued(id, 1, func(renewal) bool { return false })
			return
		}
		s.startQueued(id, v.terms(c).concurrency, func(r renewal) bool { return v.renewQueued(c, r) })
	})
}

// startQueued takes renewals out of a queue as long as there is room; start
// says whether there was something to do.
func (s *schedule) startQueued(id string, places int, start func(renewal) bool) {
	for {
		r, ok := s.next(id, places)
		if !ok {
			return
		}
		if !start(r) {
			s.renewed(id)
		}
	}
}

// next takes the most recently used renewal out of a queue, if one may start.
func (s *schedule) next(id string, places int) (r renewal, ok bool) {
	now := realm.InstantOf(s.pool.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(id)
	switch {
	case len(l.queued) == 0:
		s.tidy(id, l)
		return r, false
	case l.held(now):
		if l.alarm != l.until {
			l.alarm = l.until
			heap.Push(&s.heap, renewal{at: l.until, ref: realm.Ref{Realm: id}})
		}
		return r, false
	case l.renewing >= places:
		return r, false
	}
	l.since, l.until, l.alarm = 0, 0, 0
	l.renewing++
	r = heap.Pop(&l.queued).(renewal)
	r.e.waiting.Store(false)
	return r, true
}

// renewed gives back the place of a renewal.
func (s *schedule) renewed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(id)
	l.renewing--
	s.tidy(id, l)
}

// eachQueue tells how many renewals of each realm wait for their turn.
func (s *schedule) eachQueue(tell func(id string, waiting int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.lanes {
		tell(id, len(l.queued))
	}
}

// queued is a heap by last use.
type queued []renewal

func (h queued) Len() int           { return len(h) }
func (h queued) Less(i, j int) bool { return h[i].e.used.Load() > h[j].e.used.Load() }
func (h queued) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *queued) Push(x any) { *h = append(*h, x.(renewal)) }

// Pop implements heap.Interface.
func (h *queued) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
