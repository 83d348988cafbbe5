package audit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// maxRequests is how many proxied requests wait to be written.
const maxRequests = 8192

// requests are proxied requests that get an entry each.
type requests struct {
	queue   chan *tokenstore.AuditEntry
	dropped atomic.Int64 // since the last entry that says so
	// batch is what was taken from the queue and could not be written yet. Only
	// the Recorder's own goroutine uses it.
	batch []*tokenstore.AuditEntry
}

func (r *requests) init() { r.queue = make(chan *tokenstore.AuditEntry, maxRequests) }

// WritesRequests reports whether proxied requests get an entry each.
func (r *Recorder) WritesRequests() bool { return r != nil && r.settings.Load().Requests }

// Request notes a proxied request, where the settings say so. It never waits:
// what does not fit is counted.
func (r *Recorder) Request(e Event, result string) {
	if !r.WritesRequests() {
		return
	}
	e.Act = ActAccess
	select {
	case r.requests.queue <- e.entry(result, r.now()):
	default:
		r.requests.dropped.Add(1)
		r.dropped(1)
		return
	}
	if len(r.requests.queue) >= maxRequests/2 {
		select {
		case r.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// writeRequests writes what is in the queue, and how many did not fit.
func (r *Recorder) writeRequests(ctx context.Context, _ time.Time) error {
	q := &r.requests
	for {
		for len(q.batch) < batch && len(q.queue) > 0 {
			q.batch = append(q.batch, <-q.queue)
		}
		entries := q.batch
		dropped := q.dropped.Load()
		if dropped > 0 {
			e := Event{Actor: Actor{Kind: KindSystem}, Act: ActAccess, Detail: "so many requests came faster than they could be written"}
			sum := e.entry(tokenstore.AuditFailed, r.now())
			sum.Count = dropped
			entries = append(entries[:len(entries):len(entries)], sum)
		}
		if len(entries) == 0 {
			return nil
		}
		if err := r.append(ctx, entries...); err != nil {
			return err
		}
		q.batch = nil
		q.dropped.Add(-dropped)
	}
}
