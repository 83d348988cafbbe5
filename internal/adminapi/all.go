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

// all answers with what became of each account: by key and in the end, or line
// by line as it happens.
func (r *request) all(ctx context.Context, run func(ctx context.Context, realmID string, progress func(account.Result)) error) (any, error) {
	results := []account.Result{}
	err := run(ctx, r.ids[0], func(result account.Result) {
		results = append(results, result)
		if r.lines != nil {
			r.lines.send(result)
		}
	})
	switch {
	case err != nil:
		return nil, err
	case r.lines != nil:
		r.lines.send(sumOf(results))
		return reply{status: http.StatusOK}, nil
	}
	slices.SortFunc(results, func(a, b account.Result) int { return strings.Compare(a.Key, b.Key) })
	return listOf(results, len(results), func(r account.Result) account.Result { return r }), nil
}

// sum is the last line: how many there were of each.
type sum struct {
	Total   int `json:"total"`
	OK      int `json:"ok"`
	Skipped int `json:"skipped"`
	Failed  int `json:"failed"`
}

// sumOf counts the results by what became of the account.
func sumOf(results []account.Result) sum {
	s := sum{Total: len(results)}
	for _, r := range results {
		switch r.Result {
		case account.OK:
			s.OK++
		case account.Skipped:
			s.Skipped++
		case account.Failed:
			s.Failed++
		}
	}
	return s
}
