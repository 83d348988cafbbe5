package account

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// dueRealms is how many realms RenewDue works on at a time. A provider that hangs
// does not hold up those of the others.
const dueRealms = 8

// DueResult is what became of a key of a realm. As JSON it is a Result with its
// realm.
type DueResult struct {
	Realm string `json:"realm"`
	Result
}

// RenewDue renews the tokens of all realms whose renewal is due, and skips the
// others, like those that the caller may not renew. Realms of which the caller may
// renew nothing (mayAny) are left out: he does not learn that they are there.
// progress, the end of the context and the errors are those of InitAll; a realm
// that fails as a whole stops no other.
func (s *Service) RenewDue(ctx context.Context, mayAny func(realmID string) bool, progress func(DueResult)) error {
	realms, err := s.catalog.RealmsWithTokens(ctx)
	if err != nil {
		return err
	}
	realms = slices.DeleteFunc(realms, func(id string) bool { return !mayAny(id) })
	starting, stop := context.WithCancel(ctx)
	waiting, results := make(chan string), make(chan DueResult)
	var workers sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	for range min(dueRealms, len(realms)) {
		workers.Go(func() {
			for id := range waiting {
				err := s.all(starting, id, s.renewDue, func(r Result) { results <- DueResult{id, r} })
				if err != nil && !isUnknownRealm(err) { // it was deleted meanwhile
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
				}
			}
		})
	}
	report(results, stop, func() {
		handOut(starting, realms, waiting)
		workers.Wait()
	}, progress)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(failures...)
}

func isUnknownRealm(err error) bool {
	var e *realm.Error
	return errors.As(err, &e) && e.Code == realm.CodeRealmNotFound
}

func (s *Service) renewDue(ctx context.Context, ref realm.Ref) (Result, error) {
	due, found, err := s.broker.IsDue(ctx, ref)
	switch {
	case err != nil:
		return Result{}, err
	case due:
		return s.ensure(ctx, ref)
	case found:
		return Result{Result: Skipped, Reason: "the token is not due"}, nil
	}
	return Result{Result: Skipped, Reason: "nobody has asked for a token yet"}, nil
}
