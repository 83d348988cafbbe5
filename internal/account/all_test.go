package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// collect runs for all keys, and returns the results by key.
func collect(t *testing.T, run func(context.Context, string, func(Result)) error) []Result {
	t.Helper()
	var list []Result
	if err := run(t.Context(), "jd", func(r Result) { list = append(list, r) }); err != nil {
		t.Error(err)
	}
	slices.SortFunc(list, func(a, b Result) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

func TestInitAll(t *testing.T) {
	p, s, logs := newPuppet(t)
	p.keys = []string{"broken", "fixed", "fresh", "new", "panics", "refused"}
	p.answer = func(_ context.Context, _ string, ref realm.Ref) (*realm.Lease, bool, error) {
		switch ref.Key {
		case "broken":
			return nil, false, errors.New("canary")
		case "panics":
			panic("canary")
		case "refused":
			return nil, false, fmt.Errorf("wrapped: %w", &realm.Error{Code: realm.CodeTokenUnavailable, Detail: "wrong password", Err: errors.New("canary")})
		case "fresh":
			return &realm.Lease{Source: realm.FromDatabase, Expires: 1}, false, nil
		case "fixed":
			return &realm.Lease{Source: realm.FromMemory}, false, nil
		}
		return &realm.Lease{Source: realm.FromUpstream, Expires: 1}, false, nil
	}
	got := collect(t, s.InitAll)
	want := []Result{
		{"broken", Failed, textInternal, realm.CodeInternal},
		{"fixed", Skipped, textEndless, ""},
		{"fresh", Skipped, "the token is still fresh", ""},
		{"new", OK, "", ""},
		{"panics", Failed, textInternal, realm.CodeInternal},
		{"refused", Failed, "wrong password", realm.CodeTokenUnavailable},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	p.did(t, "ensure jd/broken", "ensure jd/fixed", "ensure jd/fresh", "ensure jd/new", "ensure jd/panics", "ensure jd/refused")
	lines := logs.All()
	if len(lines) != 2 {
		t.Errorf("log: %v", lines)
	}
	for _, line := range lines {
		if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, "canary") || !strings.Contains(text, "jd/") {
			t.Errorf("log: %s", text)
		}
	}
}

func TestRefreshAll(t *testing.T) {
	p, s, logs := newPuppet(t)
	p.keys = []string{"endless", "fixed", "fresh", "old", "spent"}
	p.answer = func(_ context.Context, _ string, ref realm.Ref) (*realm.Lease, bool, error) {
		switch ref.Key {
		case "fixed":
			return nil, false, &realm.Error{Code: realm.CodeFixedToken, Detail: "fixed"}
		case "spent":
			return nil, false, &realm.Error{Code: realm.CodeBudgetSpent, Detail: "no call now"}
		}
		if ref.Key == "endless" {
			return new(realm.Lease), true, nil
		}
		return &realm.Lease{Expires: 1}, ref.Key == "fresh", nil
	}
	got := collect(t, s.RefreshAll)
	want := []Result{
		{"endless", Skipped, textEndless, ""},
		{"fixed", Skipped, "fixed", realm.CodeFixedToken},
		{"fresh", Skipped, "the token was obtained a moment ago, or the provider gave the same again", ""},
		{"old", OK, "", ""},
		{"spent", Failed, "no call now", realm.CodeBudgetSpent},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	p.did(t, "renew jd/endless", "renew jd/fixed", "renew jd/fresh", "renew jd/old", "renew jd/spent")
	if lines := logs.All(); len(lines) != 0 {
		t.Errorf("log: %v", lines)
	}
}

func TestAllOfNothing(t *testing.T) {
	p, s, _ := newPuppet(t)
	if got := collect(t, s.InitAll); len(got) != 0 {
		t.Errorf("%v", got)
	}
	p.keys = []string{"a"}
	unexpected := func(r Result) { t.Errorf("unexpected: %v", r) }
	refusal(t, s.InitAll(t.Context(), "x", unexpected), 404, realm.CodeRealmNotFound)
	p.away = &realm.Error{Code: realm.CodeUnavailable, Status: 503}
	refusal(t, s.RefreshAll(t.Context(), "jd", unexpected), 503, realm.CodeUnavailable)
}

// As many at a time as the realm allows, at least one and never more than
// there are; results come as they happen, one at a time.
func TestAllAtATime(t *testing.T) {
	for width, most := range map[int]int64{-1: 1, 0: 1, 1: 1, 3: 3, 100: 7} {
		synctest.Test(t, func(t *testing.T) {
			p, s, _ := newPuppet(t)
			p.width, p.keys = width, []string{"a", "b", "c", "d", "e", "f", "g"}
			var busy, peak, telling atomic.Int64
			p.answer = func(context.Context, string, realm.Ref) (*realm.Lease, bool, error) {
				peak.Store(max(peak.Load(), busy.Add(1)))
				defer busy.Add(-1)
				time.Sleep(time.Second) // of the bubble
				return new(realm.Lease), false, nil
			}
			n := 0
			err := s.RefreshAll(t.Context(), "jd", func(Result) {
				if telling.Add(1) > 1 {
					t.Error("two at once")
				}
				n++
				telling.Add(-1)
			})
			if err != nil || n != 7 || peak.Load() != most {
				t.Errorf("width %d: %d results, %d at a time, %v", width, n, peak.Load(), err)
			}
		})
	}
}

// Nothing is started for a caller that has gone.
func TestAllStops(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.width, p.keys = 1, slices.Repeat([]string{"k"}, 100)
	ctx, leave := context.WithCancel(t.Context())
	var calls atomic.Int64
	p.answer = func(ctx context.Context, _ string, _ realm.Ref) (*realm.Lease, bool, error) {
		if calls.Add(1) == 3 {
			leave()
			return nil, false, ctx.Err()
		}
		return new(realm.Lease), false, nil
	}
	var last Result
	err := s.InitAll(ctx, "jd", func(r Result) { last = r })
	if n := calls.Load(); !errors.Is(err, context.Canceled) || n != 3 {
		t.Errorf("%d calls, %v", n, err)
	}
	if last.Result != Failed || last.Reason == "" {
		t.Errorf("%v", last)
	}
}

// Not even the first one, and whatever select picks.
func TestAllOfACallerThatHasGone(t *testing.T) {
	p, s, _ := newPuppet(t)
	p.keys = []string{"k"}
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		p.measured = leave
		if err := s.InitAll(ctx, "jd", func(r Result) { t.Errorf("unexpected: %v", r) }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// A caller that breaks leaves nobody behind that waits for it.
func TestAllBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails where a goroutine stays
		p, s, _ := newPuppet(t)
		p.keys = slices.Repeat([]string{"k"}, 100)
		var once sync.Once
		defer func() {
			if v := recover(); v != "gone" {
				t.Errorf("panic: %v", v)
			}
			if n := len(p.asked); n > 10 {
				t.Errorf("%d were started", n)
			}
		}()
		_ = s.RefreshAll(t.Context(), "jd", func(Result) {
			once.Do(func() {
				synctest.Wait() // until the others have something to tell
				panic("gone")
			})
		})
	})
}
