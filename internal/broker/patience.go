package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// defaultPatience is how long a caller waits for the store. A server that hangs
	// (a stopped process, a network that drops packets, a lock that nobody gives
	// up) is then treated as if it were away.
	defaultPatience = 2 * time.Second
	// probeEvery is how often a store that did not answer is tried again, in
	// the background.
	probeEvery = time.Second
)

// patientStore is the store as callers of tokens see it: what they wait for
// fails after patience, and at once while the store is known not to answer. So
// a caller waits for a store that hangs once, and not in each step on its way.
//
// It watches the store as a whole, and the rows of each realm for themselves: a
// lock that is never given up stops one realm and no other.
type patientStore struct {
	tokenstore.Store // without a limit: lists, changes, what runs in the background
	pool             *Pool
	now              func() time.Time // by which waiting is measured

	// isSilent: the store as a whole does not answer. It is read on hits.
	isSilent atomic.Bool

	mu sync.Mutex
	// silent holds the time since when a part of the store does not answer, by
	// the id of the realm whose rows are waited for; "" stands for the whole.
	silent map[string]time.Time
}

func newPatientStore(s tokenstore.Store, p *Pool) *patientStore {
	return &patientStore{Store: s, pool: p, now: time.Now, silent: map[string]time.Time{}}
}

// Realm implements tokenstore.RealmStore.
func (s *patientStore) Realm(ctx context.Context, id string) (realm.Realm, error) {
	return ask(ctx, s, "", func(ctx context.Context) (realm.Realm, error) {
		if s.pool.link == nil {
			return s.Store.Realm(ctx, id)
		}
		generation := s.pool.link.generation.Load()
		r, err := s.Store.Realm(ctx, id)
		if err == nil {
			s.pool.link.read.Store(id, readRealm{generation, r})
		}
		return r, err
	})
}

// Secret implements tokenstore.SecretStore.
func (s *patientStore) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	return ask(ctx, s, "", func(ctx context.Context) (realm.Secret, error) { return s.Store.Secret(ctx, ref) })
}

// Pushed implements tokenstore.PushedStore.
func (s *patientStore) Pushed(ctx context.Context, ref realm.Ref) (tokenstore.Pushed, error) {
	return ask(ctx, s, "", func(ctx context.Context) (tokenstore.Pushed, error) { return s.Store.Pushed(ctx, ref) })
}

// storedToken is a token and the level that had it.
type storedToken struct {
	token  realm.Token
	source realm.Source
}

// Token implements tokenstore.TokenStore.
func (s *patientStore) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	return s.read(ctx, ref, s.Store.Token)
}

// Reread implements tokenstore.Rereader; without a shared cache it is Token.
func (s *patientStore) Reread(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	if r, ok := s.Store.(tokenstore.Rereader); ok {
		return s.read(ctx, ref, r.Reread)
	}
	return s.read(ctx, ref, s.Store.Token)
}

func (s *patientStore) read(
	ctx context.Context, ref realm.Ref, read func(context.Context, realm.Ref) (realm.Token, realm.Source, error),
) (realm.Token, realm.Source, error) {
	t, err := ask(ctx, s, "", func(ctx context.Context) (storedToken, error) {
		token, source, err := read(ctx, ref)
		return storedToken{token, source}, err
	})
	return t.token, t.source, err
}

// Coordinate implements tokenstore.Coordinator. decide may still run when
// Coordinate has returned, and must not write to what its caller reads.
func (s *patientStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	return ask(ctx, s, ref.Realm, func(ctx context.Context) (tokenstore.State, error) {
		return s.Store.Coordinate(ctx, ref, decide)
	})
}

// Peek implements tokenstore.Coordinator.
func (s *patientStore) Peek(ctx context.Context, ref realm.Ref) (tokenstore.State, error) {
	return ask(ctx, s, "", func(ctx context.Context) (tokenstore.State, error) { return s.Store.Peek(ctx, ref) })
}

// BeginAuthorization implements tokenstore.AuthorizationStore. Nothing is lost
// with a state that nobody hears of.
func (s *patientStore) BeginAuthorization(ctx context.Context, a tokenstore.Authorization, life time.Duration) error {
	_, err := ask(ctx, s, "", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Store.BeginAuthorization(ctx, a, life)
	})
	return err
}

// awaitOpen opens the store for somebody who waits, if that was not done yet.
// Opening goes on when the caller has lost patience: to create the tables may
// take longer.
func (p *Pool) awaitOpen(ctx context.Context) error {
	if p.opened.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	result := make(chan error, 1)
	isStarted := p.start(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
		defer cancel()
		var err error = errPanic
		defer func() {
			if r := recover(); r != nil {
				p.logPanic(r, "panic while opening the store", zap.Skip())
			}
			result <- err
		}()
		err = p.Open(ctx)
	})
	if !isStarted {
		return errClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for it to open: %w", tokenstore.ErrUnavailable, ctx.Err())
	}
}

// patience is how long a caller waits for the store.
func (p *Pool) patience() time.Duration { return time.Duration(p.waits.Load()) }

// budgetKey is the context key of a *budget.
type budgetKey struct{}

// budget is how long a flight may still wait for the store before it makes its
// call: each step on the way uses up a part of it. Without one, each operation
// has the whole of patience. An outcome is saved without one, because a refresh
// token may hang on it; and so is the store read while another node is making the
// call, because that takes as long as it takes.
type budget struct{ spent atomic.Int64 }

// withBudget gives what is done with the context one budget.
func withBudget(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, new(budget))
}

// withoutBudget gives each operation the whole of patience.
func withoutBudget(ctx context.Context) context.Context {
	return context.WithValue(ctx, budgetKey{}, (*budget)(nil))
}

// of is how long an operation with the context may take, of this much patience.
func (b *budget) of(patience time.Duration) time.Duration {
	if b == nil {
		return patience
	}
	return max(patience-time.Duration(b.spent.Load()), 0)
}

// spend takes what an operation took from the budget.
func (b *budget) spend(d time.Duration) {
	if b != nil {
		b.spent.Add(int64(d))
	}
}

// ask lets a caller wait for one operation of the store. The operation runs in
// a goroutine of its own: a driver may wait for a server longer than its context
// allows, above all in COMMIT. What it returns after patience is lost: an
// outcome that was saved nevertheless is recognised by its call's id, and a
// claim that was written runs out.
func ask[T any](ctx context.Context, s *patientStore, part string, op func(context.Context) (T, error)) (T, error) {
	var none T
	if since, ok := s.silentSince(part); ok {
		return none, fmt.Errorf("%w: it has not answered since %s", tokenstore.ErrUnavailable, since.UTC().Format(time.RFC3339))
	}
	type answer struct {
		value    T
		err      error
		panicked any
	}
	b, _ := ctx.Value(budgetKey{}).(*budget)
	began := s.now()
	defer func() { b.spend(s.now().Sub(began)) }()
	limited, cancel := context.WithTimeout(ctx, b.of(s.pool.patience()))
	defer cancel()
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			a.panicked = recover()
			done <- a
		}()
		a.value, a.err = op(limited)
	}()
	var err error
	select {
	case a := <-done:
		if a.panicked != nil { // it belongs to whoever asked
			panic(a.panicked)
		}
		if a.err == nil || limited.Err() == nil || ctx.Err() != nil {
			return a.value, a.err
		}
		err = a.err
	case <-limited.Done():
		err = limited.Err()
	}
	if ctx.Err() == nil { // it was the store that took too long, not the caller that left
		s.suspend(part)
		err = fmt.Errorf("%w: it did not answer in time: %w", tokenstore.ErrUnavailable, err)
	}
	return none, err
}

// silentSince returns since when a part of the store, or the whole, does not
// answer.
func (s *patientStore) silentSince(part string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, ok := s.silent[""]; ok {
		return since, true
	}
	since, ok := s.silent[part]
	return since, ok
}

// suspend notes that a part of the store does not answer, and has it tried
// until it does.
func (s *patientStore) suspend(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.silent[part]; ok {
		return
	}
	s.silent[part] = s.pool.now()
	s.isSilent.Store(part == "" || s.isSilent.Load())
	s.pool.log.Warn("the store does not answer; going on as if it were away", zap.String("rows_of_realm", part))
	s.pool.start(func(ctx context.Context) { s.probe(ctx, part) })
}

// resume takes notice that the store as a whole answers.
func (s *patientStore) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.silent, "")
	s.isSilent.Store(false)
}

// probe tries a part of the store until it answers, or ctx ends.
func (s *patientStore) probe(ctx context.Context, part string) {
	for s.pool.sleep(ctx, probeEvery) == nil {
		if s.answers(ctx, part) {
			s.mu.Lock()
			delete(s.silent, part)
			if part == "" {
				s.isSilent.Store(false)
			}
			s.mu.Unlock()
			s.pool.log.Info("the store answers again", zap.String("rows_of_realm", part))
			return
		}
	}
}

// answers reports whether a part of the store answers within patience, be it
// with an error.
func (s *patientStore) answers(ctx context.Context, part string) bool {
	limited, cancel := context.WithTimeout(ctx, s.pool.patience())
	defer cancel()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if part == "" {
			err = s.Store.Ping(limited)
		} else {
			_, _ = s.Store.Coordinate(limited, realm.Ref{Realm: part}, func(*tokenstore.State) error { return nil })
		}
	}()
	select {
	case <-done:
		// A server that refuses connections makes nobody wait; an edge has nothing to
		// ask it.
		return limited.Err() == nil && (err == nil || s.pool.upstream == nil)
	case <-limited.Done():
		return false
	}
}
