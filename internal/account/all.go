package account

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Outcome is the result of one account.
type Outcome string

// The outcomes.
const (
	// OK: there is a new token.
	OK Outcome = "ok"
	// Skipped: nothing had to be done.
	Skipped Outcome = "skipped"
	// Failed: there is no new token; Reason says why.
	Failed Outcome = "failed"
)

// Result is what became of the account with this key. Reason is empty for OK,
// and holds nothing confidential.
type Result struct {
	Key    string  `json:"key"`
	Result Outcome `json:"result"`
	Reason string  `json:"reason,omitempty"`
	// Code says for programs why it failed, or was not tried; "" where nothing had
	// to be done.
	Code realm.Code `json:"code,omitempty"`
}

// InitAll gets a token for every secret of the realm that has none, and renews
// those that are due; those that the caller may not renew are skipped.
// progress is told each result as it happens, and never
// called by two goroutines at once. No failure stops the others.
//
// When the context ends, what is under way is finished by the broker, nothing
// new is started, and the context's error is returned. Other errors come
// before the first result: CodeRealmNotFound, CodeUnavailable.
func (s *Service) InitAll(ctx context.Context, realmID string, progress func(Result)) error {
	return s.all(ctx, realmID, s.ensure, progress)
}

// RefreshAll renews the token of every secret of the realm, due or not, but
// for those that were obtained a moment ago. Otherwise it is like InitAll.
func (s *Service) RefreshAll(ctx context.Context, realmID string, progress func(Result)) error {
	return s.all(ctx, realmID, s.renew, progress)
}

func (s *Service) ensure(ctx context.Context, ref realm.Ref) (Result, error) {
	lease, err := s.broker.Ensure(ctx, ref)
	switch {
	case err != nil:
		return Result{}, err
	case lease.Source == realm.FromUpstream:
		return Result{Result: OK}, nil
	case lease.Expires == 0:
		return Result{Result: Skipped, Reason: textEndless}, nil
	}
	return Result{Result: Skipped, Reason: "the token is still fresh"}, nil
}

func (s *Service) renew(ctx context.Context, ref realm.Ref) (Result, error) {
	lease, fresh, err := s.broker.RenewNow(ctx, ref)
	switch {
	case err != nil:
		return Result{}, err
	case fresh && lease.Expires == 0:
		return Result{Result: Skipped, Reason: textEndless}, nil
	case fresh:
		return Result{Result: Skipped, Reason: "the token was obtained a moment ago, or the provider gave the same again"}, nil
	}
	return Result{Result: OK}, nil
}

// all does something for every key of the realm, for as many at a time as the
// realm allows.
func (s *Service) all(ctx context.Context, realmID string, do func(context.Context, realm.Ref) (Result, error), progress func(Result)) error {
	keys, err := s.catalog.Keys(ctx, realmID)
	if err != nil {
		return err
	}
	width, err := s.broker.Concurrency(ctx, realmID)
	if err != nil {
		return err
	}
	starting, stop := context.WithCancel(ctx)
	waiting, results := make(chan string), make(chan Result)
	var workers sync.WaitGroup
	for range min(max(width, 1), len(keys)) {
		workers.Go(func() {
			for key := range waiting {
				ref := realm.Ref{Realm: realmID, Key: key}
				if s.allow(ref) != nil {
					results <- Result{Key: key, Result: Skipped, Reason: "forbidden", Code: realm.CodeForbidden}
					continue
				}
				results <- s.renewOne(ctx, ref, do)
			}
		})
	}
	report(results, stop, func() {
		handOut(starting, keys, waiting)
		workers.Wait()
	}, progress)
	return ctx.Err()
}

// report tells the results of work until it ends. Where progress panics, work is
// stopped, and its results are told to nobody: it is not left waiting.
func report[R any](results chan R, stop, work func(), progress func(R)) {
	go func() {
		work()
		close(results)
	}()
	defer func() {
		stop()
		for range results { //nolint:revive // they are told to nobody
		}
	}()
	for r := range results {
		progress(r)
	}
}

// handOut sends the keys to the workers until the context ends.
func handOut(ctx context.Context, keys []string, to chan<- string) {
	defer close(to)
	for _, key := range keys {
		if ctx.Err() != nil { // select takes either of two that are ready
			return
		}
		select {
		case to <- key:
		case <-ctx.Done():
			return
		}
	}
}

// renewOne does it for one account. A panic fails only that account. Its value
// may hold anything, so that only its type is logged.
func (s *Service) renewOne(ctx context.Context, ref realm.Ref, do func(context.Context, realm.Ref) (Result, error)) (r Result) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("panic while an account was renewed", zap.Stringer("ref", ref),
				zap.String("type", fmt.Sprintf("%T", v)), zap.Stack("stack"))
			r = Result{ref.Key, Failed, textInternal, realm.CodeInternal}
		}
	}()
	r, err := do(ctx, ref)
	if err != nil {
		r = s.failed(ref, err)
	}
	r.Key = ref.Key
	return r
}

const (
	textInternal = "internal error; the log says more"
	textEndless  = "the token has no end"
)

// failed is the result of an error. One that has no meaning for the caller
// stays in the log, by its type: its text may hold anything.
func (s *Service) failed(ref realm.Ref, err error) Result {
	var e *realm.Error
	switch {
	case errors.As(err, &e) && e.Code == realm.CodeFixedToken:
		return Result{Result: Skipped, Reason: e.Detail, Code: e.Code}
	case e != nil:
		return Result{Result: Failed, Reason: e.Detail, Code: e.Code}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Result{Result: Failed, Reason: "the caller did not wait for it"}
	}
	s.log.Error("an account was not renewed", zap.Stringer("ref", ref), zap.String("type", fmt.Sprintf("%T", err)))
	return Result{Result: Failed, Reason: textInternal, Code: realm.CodeInternal}
}
