package adminapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
)

func (a *api) initAll(ctx context.Context, r *request) (any, error) {
	return r.all(ctx, a.accountsFor(r).InitAll)
}

func (a *api) refreshAll(ctx context.Context, r *request) (any, error) {
	return r.all(ctx, a.accountsFor(r).RefreshAll)
}

// renewDue answers like all, for the realms of which the caller may renew
// something.
func (a *api) renewDue(ctx context.Context, r *request) (any, error) {
	mayAny := func(id string) bool { return r.caller.maySome(r.route.right, id) }
	return each(r, func(progress func(account.DueResult)) error {
		return a.accountsFor(r).RenewDue(ctx, mayAny, progress)
	}, func(d account.DueResult) (id string, outcome account.Outcome) {
		return d.Realm + "\x00" + d.Key, d.Result.Result
	})
}

// all answers with what became of each account: by key and in the end, or line
// by line as it happens.
func (r *request) all(ctx context.Context, run func(ctx context.Context, realmID string, progress func(account.Result)) error) (any, error) {
	return each(r, func(progress func(account.Result)) error { return run(ctx, r.ids[0], progress) },
		func(r account.Result) (string, account.Outcome) { return r.Key, r.Result })
}

// each answers with what run tells, as a list or line by line. of is by what a
// result stands in the list, and what became of it.
func each[T any](r *request, run func(progress func(T)) error, of func(T) (id string, _ account.Outcome)) (any, error) {
	results, count := []T{}, sum{}
	err := run(func(result T) {
		results = append(results, result)
		_, outcome := of(result)
		count.add(outcome)
		if r.lines != nil {
			r.lines.send(result)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case r.lines != nil:
		r.lines.send(count)
		return reply{status: http.StatusOK}, nil
	}
	slices.SortFunc(results, func(a, b T) int {
		first, _ := of(a)
		second, _ := of(b)
		return strings.Compare(first, second)
	})
	return listOf(results, len(results), func(result T) T { return result }), nil
}

// sum is the last line: how many there were of each.
type sum struct {
	Total   int `json:"total"`
	OK      int `json:"ok"`
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

// add counts a result by what became of the account.
func (s *sum) add(outcome account.Outcome) {
	s.Total++
	switch outcome {
	case account.OK:
		s.OK++
	case account.Skipped:
		s.Skipped++
	case account.Failed:
		s.Failed++
	}
}
