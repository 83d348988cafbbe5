package sqlstore

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// operationsMost is how many operations share one transaction at most.
	operationsMost = 64
	// closePatience is how long Close waits for transactions that it has cancelled.
	closePatience = 5 * time.Second
)

// errNoOutcome: a transaction ended and nobody said how.
var errNoOutcome = errors.New("the transaction was given up")

// operation is a Coordinate that waits for its transaction, or is in one.
type operation struct {
	ref    realm.Ref
	decide func(*tokenstore.State) error

	// isGone: its caller has left; isTaken: its decision is made, and is being
	// written; of is the transaction that it is in. The queue's lock guards them.
	isGone, isTaken bool
	of              *sharedWrite

	// What became of it in the last try of its transaction. isWriting: it altered
	// rows, or tells the other nodes something.
	after     tokenstore.State
	err       error
	panicked  any
	isWriting bool
	isSettled bool // that is the outcome

	done chan struct{} // closed when there is an outcome
}

// sharedWrite is a transaction of several operations. Its context ends with it, and
// when all of their callers have left.
type sharedWrite struct {
	ctx     context.Context
	cancel  context.CancelFunc
	ops     []*operation
	callers int // that have not left
}

// operationQueues collect the operations that come while a transaction runs: they
// share the next one. There is a queue for each group of the dialect that has
// something to do.
type operationQueues struct {
	mu       sync.Mutex
	waiting  map[string][]*operation
	isClosed bool

	base     context.Context // ends when the store closes
	stop     context.CancelFunc
	work     sync.WaitGroup
	patience time.Duration // of close
}

func (q *operationQueues) open() {
	q.waiting, q.patience = map[string][]*operation{}, closePatience
	q.base, q.stop = context.WithCancel(context.Background())
}

// close takes no more operations, cancels those that run, and waits until their
// transactions have ended: the database is closed next, and a lock that keeps
// others out of it given up. It does not wait for ever.
func (q *operationQueues) close() {
	q.mu.Lock()
	q.isClosed = true
	q.mu.Unlock()
	q.stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		q.work.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(q.patience):
	}
}

// add puts an operation into its queue. The first one begins at once. It reports
// whether the store is open.
func (q *operationQueues) add(s *Store, op *operation) bool {
	group := s.dialect.groupOf(op.ref.Realm)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isClosed {
		return false
	}
	_, isRunning := q.waiting[group]
	q.waiting[group] = append(q.waiting[group], op)
	if !isRunning {
		q.work.Go(func() { q.run(s, group) })
	}
	return true
}

// leave takes notice that the caller of an operation has left. It reports
// whether nothing of the operation is written.
func (q *operationQueues) leave(op *operation) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	op.isGone = true
	if op.of != nil {
		if op.of.callers--; op.of.callers == 0 {
			op.of.cancel()
		}
	}
	return !op.isTaken
}

// begin begins a try of a transaction. Nothing counts of the one before: what was
// decided in it is not written.
func (q *operationQueues) begin(ops []*operation) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, op := range ops {
		op.err, op.panicked, op.isWriting, op.isTaken = nil, nil, false, false
	}
}

// take reports whether an operation is still wanted. It is asked once the
// transaction has the rows: until then the caller may leave. What is decided for
// somebody who has left would be written, and nobody act on it.
func (q *operationQueues) take(op *operation) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	op.isTaken = !op.isGone
	return op.isTaken
}

// run runs the transactions of a group, one after the other, until nothing
// waits.
func (q *operationQueues) run(s *Store, group string) {
	runtime.Gosched() // whoever is about to come, too, shares the first one
	for w := q.next(group); w != nil; w = q.next(group) {
		q.work.Go(func() {
			s.share(w)
			s.afterWrite(q.base) // nobody waits for it
		})
		w.await(s.dialect.overtakesAfter())
	}
}

// next takes the operations of the next transaction out of a queue; nil for none.
func (q *operationQueues) next(group string) *sharedWrite {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := &sharedWrite{}
	waiting := q.waiting[group]
	for len(waiting) > 0 && len(w.ops) < operationsMost {
		if op := waiting[0]; !op.isGone {
			op.of, w.ops = w, append(w.ops, op)
		}
		waiting = waiting[1:]
	}
	q.waiting[group] = waiting
	if len(w.ops) == 0 {
		delete(q.waiting, group)
		return nil
	}
	w.ctx, w.cancel = context.WithCancel(q.base)
	w.callers = len(w.ops)
	return w
}

// await waits for the end of a transaction before the next one begins, but not for
// one that hangs in a server that does not answer: one that all callers have left,
// or that takes longer than patience (0: any time) and may be overtaken.
func (w *sharedWrite) await(patience time.Duration) {
	var late <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		late = t.C
	}
	select {
	case <-w.ctx.Done():
	case <-late:
	}
}

// share runs a transaction of several operations. Each of them has an outcome
// afterwards, whatever happens: a panic is one of their callers', who know what to
// do with it, and does not end the process.
func (s *Store) share(w *sharedWrite) {
	defer func() {
		panicked := recover()
		w.cancel()
		for _, op := range w.ops {
			if !op.isSettled {
				op.panicked, op.err = panicked, errNoOutcome
			}
			close(op.done)
		}
	}()
	s.coordinate(w.ctx, w.ops)
}

// coordinate runs operations in one transaction and settles each of them. If it
// fails, the failure is of those that it is about. Where that may be a single row,
// which cannot be read or written, each has a transaction for itself. What could not
// be written for another reason, as on a full disk, concerns nobody who wrote nothing:
// the others decide once more, without those whose writes are lost.
func (s *Store) coordinate(ctx context.Context, ops []*operation) {
	err := s.tryWrite(ctx, "coordinate", realm.Ref{}, func(tx *txn) error {
		s.operations.begin(ops)
		return s.coordinateIn(ctx, tx, ops)
	})
	if err != nil && len(ops) > 1 && ctx.Err() == nil {
		if s.dialect.isOfOneRow(err) {
			for _, op := range ops {
				s.coordinate(ctx, []*operation{op})
			}
			return
		}
		if writers, readers := partition(ops); len(writers) > 0 && len(readers) > 0 {
			settle(writers, err)
			s.coordinate(ctx, readers)
			return
		}
	}
	settle(ops, err)
}

// partition tells operations that altered something from those that did not.
func partition(ops []*operation) (writers, readers []*operation) {
	for _, op := range ops {
		if op.isWriting {
			writers = append(writers, op)
		} else {
			readers = append(readers, op)
		}
	}
	return writers, readers
}

// settle makes the outcome of operations what the last try left, or the failure of
// their transaction. A panic stays one: its caller has to hear of it.
func settle(ops []*operation, failed error) {
	for _, op := range ops {
		if failed != nil && op.panicked == nil {
			op.err = failed
		}
		op.isSettled = true
	}
}

// coordinateIn runs operations in a transaction, those of each realm in their
// order. All are decided before the first one is written. An error is one of the
// transaction; what fails by itself is in the operation.
func (s *Store) coordinateIn(ctx context.Context, tx *txn, ops []*operation) error {
	tx.changed, tx.unchanged = nil, true
	of := map[string][]*operation{}
	for _, op := range ops {
		of[op.ref.Realm] = append(of[op.ref.Realm], op)
	}
	var realms []*realmRows
	for id, ops := range of {
		r, err := s.lockRealm(ctx, tx, id, keysOf(ops))
		if err != nil {
			return err
		}
		for _, op := range ops {
			s.operate(op, r)
		}
		realms = append(realms, r)
	}
	for _, r := range realms {
		if err := r.write(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// keysOf are the keys of operations, each once, in an order that is the same in
// all transactions, so that two that lock them do not meet.
func keysOf(ops []*operation) []string {
	keys := make([]string, len(ops))
	for i, op := range ops {
		keys[i] = op.ref.Key
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// operate makes the decision of an operation, and takes it into the rows.
func (s *Store) operate(op *operation, r *realmRows) {
	if !s.operations.take(op) {
		op.err = context.Canceled
		return
	}
	k := r.of(op.ref.Key)
	before, err := r.state(k)
	if err != nil {
		op.err = err
		return
	}
	after := before
	if op.err = op.run(&after); op.err != nil || op.panicked != nil {
		return
	}
	after.Now, after.Token, after.Open = before.Now, before.Token, before.Open
	if op.isWriting, op.err = s.put(r, k, &after); op.err == nil {
		op.after = after
	}
}

// run calls decide. A panic is its caller's, and of no other operation.
func (op *operation) run(st *tokenstore.State) (err error) {
	defer func() { op.panicked = recover() }()
	if err := op.decide(st); err != nil {
		return finalError{err}
	}
	return nil
}
