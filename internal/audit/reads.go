package audit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// maxReads is how many different read-outs are remembered. Beyond it, each
	// is written by itself.
	maxReads = 100_000
	// readLife is how long a read-out is remembered that is not repeated.
	readLife = time.Hour
	// forgotten, as a number of repeats, marks a read-out that is not remembered
	// any more. A repeat that comes at this very moment is a first one.
	forgotten = -1 << 62
)

// readID tells read-outs apart: the same client reading the same token from the
// same address repeats itself.
type readID struct {
	actor   Actor
	address string
	ref     realm.Ref
	lineage int64
}

// readOut is one that was written.
type readOut struct {
	// done is closed when the first entry was written, or not: err is set
	// before.
	done chan struct{}
	err  error
	// written is whether done is closed without an error.
	written atomic.Bool
	// repeats counts those since the last entry.
	repeats atomic.Int64
	event   Event
	// entry is when the last entry was written, seen when the last repeat was
	// counted. Only the Recorder's own goroutine uses them.
	entry, seen time.Time
}

// reads are the read-outs that were written.
type reads struct {
	known *xsync.Map[readID, *readOut]
}

func (r *reads) init() { r.known = xsync.NewMap[readID, *readOut]() }

// Read writes that a token is read out, once for each client, address, key and
// lineage, before it is: without an entry, the error is what the caller
// answers. A repeat is counted, without a lock, and goes on while the store is
// away.
func (r *Recorder) Read(ctx context.Context, e Event, lineage int64) error {
	if r == nil {
		return nil
	}
	id := readID{e.Actor, e.Address, e.Ref, lineage}
	if known, ok := r.reads.known.Load(id); ok && known.written.Load() && known.repeats.Add(1) > 0 {
		return nil
	}
	return r.firstRead(ctx, id, e)
}

// firstRead writes a read-out, once for all that come at the same time.
func (r *Recorder) firstRead(ctx context.Context, id readID, e Event) error {
	e.Act = ActRead
	now := r.now()
	first := &readOut{done: make(chan struct{}), event: e, entry: now, seen: now}
	if r.reads.known.Size() >= maxReads {
		return r.recordRead(ctx, first)
	}
	for {
		known, loaded := r.reads.known.LoadOrStore(id, first)
		if !loaded {
			break
		}
		select {
		case <-known.done:
		case <-ctx.Done():
			return Unavailable(ctx.Err())
		}
		switch {
		case known.err == nil && known.repeats.Add(1) > 0:
			return nil
		case known.err != nil && ctx.Err() == nil:
			return known.err
		}
		r.reads.forget(id, known)
	}
	first.err = r.recordRead(ctx, first)
	if first.err == nil {
		first.written.Store(true)
	} else {
		r.reads.forget(id, first)
	}
	close(first.done)
	return first.err
}

func (r *Recorder) recordRead(ctx context.Context, read *readOut) error {
	// Others may wait for the same entry, so that it does not end with ctx.
	if err := r.append(context.WithoutCancel(ctx), read.event.entry(tokenstore.AuditOK, read.entry)); err != nil {
		return Unavailable(err)
	}
	return nil
}

// forget removes a read-out, unless another one has taken its place.
func (r *reads) forget(id readID, gone *readOut) {
	r.known.Compute(id, func(known *readOut, _ bool) (*readOut, xsync.ComputeOp) {
		if known == gone {
			return nil, xsync.DeleteOp
		}
		return known, xsync.CancelOp
	})
}

// writeReads writes the repeats of the last minute, and forgets what was not
// repeated for long.
func (r *Recorder) writeReads(ctx context.Context, at time.Time) error {
	var due []*readOut
	var counts []int64
	write := func() error {
		entries := make([]*tokenstore.AuditEntry, len(due))
		for i, read := range due {
			entries[i] = read.event.entry(tokenstore.AuditOK, r.now())
			entries[i].Count = counts[i]
		}
		if err := r.append(ctx, entries...); err != nil {
			return err
		}
		for i, read := range due {
			read.repeats.Add(-counts[i])
			read.entry, read.seen = at, at
		}
		due, counts = nil, nil
		return nil
	}
	for id, read := range r.reads.known.All() {
		if !read.written.Load() {
			continue
		}
		switch n := read.repeats.Load(); {
		case n > 0 && at.Sub(read.entry) >= window:
			due, counts = append(due, read), append(counts, n)
		case n == 0 && at.Sub(read.seen) >= readLife && read.repeats.CompareAndSwap(0, forgotten):
			r.reads.forget(id, read)
		}
		if len(due) == batch {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}
