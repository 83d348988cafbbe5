package broker

import (
	"container/heap"
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// realmQueue lets the calls of one realm pass: no more at a time than the realm
// allows. Callers that wait come before renewals ahead of time, and of those the
// ones whose token was used last come first.
type realmQueue struct {
	running  int             // calls, or what is about to become one
	callers  []chan struct{} // who waits for a place
	renewals byLastUse       // that wait
	// renewing counts the renewals that were started from the queue.
	renewing int
	// No renewal is started from since until until; alarm is when the schedule
	// was told to look again.
	since, until, alarm realm.Instant
}

// isPaused reports whether renewals have to wait. A pause of the future does not
// count: the clock went back, and it would last until the clock is there again.
func (q *realmQueue) isPaused(now realm.Instant) bool { return q.since <= now && now < q.until }

// queueLocked returns the queue of a realm, and makes it if there is none.
func (s *schedule) queueLocked(id string) *realmQueue {
	q, ok := s.queues[id]
	if !ok {
		q = new(realmQueue)
		s.queues[id] = q
	}
	return q
}

// acquire waits for a place among the calls of a realm; release gives it back.
func (s *schedule) acquire(ctx context.Context, id string, places int) (release func(), err error) {
	s.mu.Lock()
	q := s.queueLocked(id)
	if q.running < places {
		q.running++
		s.mu.Unlock()
		return func() { s.release(id) }, nil
	}
	turn := make(chan struct{})
	q.callers = append(q.callers, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return func() { s.release(id) }, nil
	case <-ctx.Done():
		s.cancelWait(id, turn)
		return nil, unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
	}
}

// release gives a place to the next who waits for one.
func (s *schedule) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queueLocked(id)
	if len(q.callers) > 0 {
		close(q.callers[0])
		q.callers = q.callers[1:]
		return
	}
	q.running--
	s.trimLocked(id, q)
}

// cancelWait takes back the wish for a place, or gives back the place if it was
// granted meanwhile.
func (s *schedule) cancelWait(id string, turn chan struct{}) {
	s.mu.Lock()
	q := s.queueLocked(id)
	for i, c := range q.callers {
		if c == turn {
			q.callers = append(q.callers[:i], q.callers[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	s.release(id)
}

// trimLocked removes a queue that nobody uses.
func (s *schedule) trimLocked(id string, q *realmQueue) {
	if q.running == 0 && q.renewing == 0 && len(q.callers) == 0 && len(q.renewals) == 0 && q.until == 0 {
		delete(s.queues, id)
	}
}

// pauseRenewals lets no renewal of a realm start before until. It reports
// whether they were not paused before.
func (s *schedule) pauseRenewals(id string, now, until realm.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queueLocked(id)
	if q.isPaused(now) {
		q.until = max(q.until, until)
		return false
	}
	q.since, q.until = now, until
	return true
}

// queue has a renewal start as soon as there is room for it.
func (s *schedule) queue(v *View, r renewal) {
	s.mu.Lock()
	q := s.queueLocked(r.ref.Realm)
	if r.e.queued.CompareAndSwap(false, true) {
		heap.Push(&q.renewals, r)
	}
	s.mu.Unlock()
	s.advance(v, r.ref.Realm)
}

// advance starts the renewals of a realm for which there is room. It does not
// wait for the store: a realm that is not in memory is read on the side.
func (s *schedule) advance(v *View, id string) {
	if c, ok := v.catalog.Remembered(id); ok {
		s.startQueued(id, v.terms(c).Concurrency, func(r renewal) bool { return v.startRenewal(c, r) })
		return
	}
	s.pool.start(func(ctx context.Context) {
		c, err := v.catalog.Realm(ctx, id)
		if err != nil { // it is gone, or the store is: they are found again by the next sweep
			s.startQueued(id, 1, func(renewal) bool { return false })
			return
		}
		s.startQueued(id, v.terms(c).Concurrency, func(r renewal) bool { return v.startRenewal(c, r) })
	})
}

// advanceAll is advance for every realm whose renewals wait: callers moved the
// queues on until now.
func (s *schedule) advanceAll(v *View) {
	s.mu.Lock()
	ids := slices.Collect(maps.Keys(s.queues))
	s.mu.Unlock()
	for _, id := range ids {
		s.advance(v, id)
	}
}

// startQueued takes renewals out of a queue as long as there is room; start
// reports whether there was something to do.
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
	now, isOnDemand := realm.InstantOf(s.pool.now()), s.isOnDemand()
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queueLocked(id)
	switch {
	case len(q.renewals) == 0:
		s.trimLocked(id, q)
		return r, false
	case q.isPaused(now):
		if q.alarm != q.until && !isOnDemand {
			q.alarm = q.until
			heap.Push(&s.heap, renewal{at: q.until, ref: realm.Ref{Realm: id}})
		}
		return r, false
	case q.renewing >= places:
		return r, false
	}
	q.since, q.until, q.alarm = 0, 0, 0
	q.renewing++
	r = heap.Pop(&q.renewals).(renewal)
	r.e.queued.Store(false)
	return r, true
}

// renewed gives back the place of a renewal.
func (s *schedule) renewed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queueLocked(id)
	q.renewing--
	s.trimLocked(id, q)
}

// eachQueue tells how many renewals of each realm wait for their turn.
func (s *schedule) eachQueue(tell func(id string, waiting int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, q := range s.queues {
		tell(id, len(q.renewals))
	}
}

// byLastUse is a heap of renewals, the most recently used token first.
type byLastUse []renewal

func (h byLastUse) Len() int           { return len(h) }
func (h byLastUse) Less(i, j int) bool { return h[i].e.used.Load() > h[j].e.used.Load() }
func (h byLastUse) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *byLastUse) Push(x any) { *h = append(*h, x.(renewal)) }

// Pop implements heap.Interface.
func (h *byLastUse) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
