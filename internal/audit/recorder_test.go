package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// fakeStore keeps the entries in memory.
type fakeStore struct {
	tokenstore.AuditStore

	mu      sync.Mutex
	entries []tokenstore.AuditEntry
	away    bool
	slow    time.Duration
	pruned  []time.Time
}

func (s *fakeStore) AppendAudit(ctx context.Context, entries ...*tokenstore.AuditEntry) error {
	s.mu.Lock()
	away, slow := s.away, s.slow
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if away {
		return errors.Join(tokenstore.ErrAudit, tokenstore.ErrUnavailable)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		e.Node, e.Seq = "n", int64(len(s.entries)+1)
		e.Normalize()
		s.entries = append(s.entries, *e)
	}
	return nil
}

func (s *fakeStore) PruneAudit(_ context.Context, before time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruned = append(s.pruned, before)
	return 1, nil
}

func (s *fakeStore) set(change func(s *fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// all are the entries as short texts.
func (s *fakeStore) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.entries {
		all = append(all, fmt.Sprintf("%s %s %s %d", e.Act, e.Result, e.Code, max(e.Count, 1)))
	}
	return all
}

// run runs a test with a recorder whose minutes pass at once.
func run(t *testing.T, test func(t *testing.T, r *Recorder, s *fakeStore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		r := New(Config{Store: s})
		r.Start()
		defer r.Close()
		test(t, r, s)
	})
}

// after lets time pass, and what is due happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func read(client string) Event {
	return Event{Actor: Actor{KindClient, client}, Address: "192.0.2.1", Ref: realm.Ref{Realm: "wx", Key: "main"}}
}

func want(t *testing.T, s *fakeStore, entries ...string) {
	t.Helper()
	if got := s.all(); !slices.Equal(got, entries) {
		t.Errorf("got %q, want %q", got, entries)
	}
}

// isUnavailable reports whether an error is the one for callers.
func isUnavailable(err error) bool {
	var e *realm.Error
	return errors.As(err, &e) && e.Code == realm.CodeAuditUnavailable && e.Status == 503
}

// TestRead: the first read-out is written before it is done, repeats as one
// entry a minute.
func TestRead(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for range 100 {
			if err := r.Read(t.Context(), read("a"), 1); err != nil {
				t.Fatal(err)
			}
		}
		want(t, s, "token.read ok  1")
		if err := r.Read(t.Context(), read("b"), 1); err != nil { // another client
			t.Fatal(err)
		}
		if err := r.Read(t.Context(), read("a"), 2); err != nil { // another token
			t.Fatal(err)
		}
		want(t, s, "token.read ok  1", "token.read ok  1", "token.read ok  1")
		after(2 * time.Minute)
		want(t, s, "token.read ok  1", "token.read ok  1", "token.read ok  1", "token.read ok  99")
		after(3 * time.Hour)
		if n := r.reads.known.Size(); n != 0 {
			t.Errorf("%d read-outs are remembered", n)
		}
		if err := r.Read(t.Context(), read("a"), 1); err != nil {
			t.Fatal(err)
		}
		want(t, s, "token.read ok  1", "token.read ok  1", "token.read ok  1", "token.read ok  99", "token.read ok  1")
	})
}

// TestReadWhileTheStoreIsAway: what was written goes on, and is counted; what
// was not is refused.
func TestReadWhileTheStoreIsAway(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		if err := r.Read(t.Context(), read("a"), 1); err != nil {
			t.Fatal(err)
		}
		s.set(func(s *fakeStore) { s.away = true })
		for range 5 {
			if err := r.Read(t.Context(), read("a"), 1); err != nil {
				t.Fatal(err)
			}
			if err := r.Read(t.Context(), read("b"), 1); !isUnavailable(err) {
				t.Fatalf("got %v", err)
			}
			after(time.Minute)
		}
		want(t, s, "token.read ok  1")
		s.set(func(s *fakeStore) { s.away = false })
		after(time.Minute)
		want(t, s, "token.read ok  1", "token.read ok  5")
		if err := r.Read(t.Context(), read("b"), 1); err != nil {
			t.Fatal(err)
		}
	})
}

// TestReadsAtOnce: of many first ones, one is written, and all wait for it.
func TestReadsAtOnce(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for _, away := range []bool{true, false} {
			s.set(func(s *fakeStore) { s.slow, s.away = 100*time.Millisecond, away })
			var work sync.WaitGroup
			for range 50 {
				work.Go(func() {
					if err := r.Read(t.Context(), read("a"), 1); isUnavailable(err) != away {
						t.Errorf("got %v", err)
					}
				})
			}
			work.Wait()
		}
		want(t, s, "token.read ok  1")
		after(2 * time.Minute)
		want(t, s, "token.read ok  1", "token.read ok  49")
	})
}

// TestStoreThatHangs: nobody waits longer than patience for an entry.
func TestStoreThatHangs(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		s.set(func(s *fakeStore) { s.slow = time.Hour })
		start := time.Now()
		_, err := r.Begin(t.Context(), Event{Act: ActFlush})
		if !isUnavailable(err) || time.Since(start) != patience {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// TestBegin: an act is written before it is done, and a second entry says that
// it failed.
func TestBegin(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		begun, err := r.Begin(t.Context(), Event{Act: ActFlush, Ref: realm.Ref{Realm: "wx", Key: "main"}})
		if err != nil {
			t.Fatal(err)
		}
		want(t, s, "token.flush ok  1")
		s.set(func(s *fakeStore) { s.away = true })
		begun.Failed("token_unavailable")
		after(10 * time.Second)
		if _, err := r.Begin(t.Context(), Event{Act: ActFlush}); !isUnavailable(err) {
			t.Errorf("got %v", err)
		}
		s.set(func(s *fakeStore) { s.away = false })
		after(10 * time.Second)
		want(t, s, "token.flush ok  1", "token.flush failed token_unavailable 1")
		if e := s.entries[1]; e.Detail != "began with the entry n/1" || e.Realm != "wx" {
			t.Errorf("got %+v", e)
		}
	})
}

// TestLateEntriesAreBounded: what waits for the store does not fill the memory,
// and what is lost is counted.
func TestLateEntriesAreBounded(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		s.set(func(s *fakeStore) { s.away = true })
		for range maxLate + 7 {
			r.Done(Event{Act: ActCallback})
		}
		after(time.Minute)
		s.set(func(s *fakeStore) { s.away = false })
		after(time.Minute)
		all := s.all()
		if len(all) != maxLate+1 || !slices.Contains(all, "audit.checkpoint failed  7") {
			t.Errorf("%d entries", len(all))
		}
	})
}

// TestRefusalFlood: 100,000 refusals of one address are a handful of entries,
// those of many addresses at most maxRefusers and one for the others.
func TestRefusalFlood(t *testing.T) {
	refusal := func(address string) Event {
		return Event{Address: address, Act: ActRead, Code: "forbidden"}
	}
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for i := range 100_000 {
			r.Refused(refusal("192.0.2.1"))
			if i == 0 {
				after(2 * time.Second)
				want(t, s, "token.read refused forbidden 1") // the first one is known at once
			}
		}
		after(2 * time.Minute)
		want(t, s, "token.read refused forbidden 1", "token.read refused forbidden 99999")
		if n := len(r.refusals.known); n != 0 {
			t.Errorf("%d refusals are remembered", n)
		}
	})
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for i := range 100_000 {
			r.Refused(refusal(fmt.Sprint("10.0.", i)))
		}
		after(2 * time.Minute)
		all := s.all()
		if len(all) != maxRefusers+1 || all[0] != fmt.Sprint("token.read refused forbidden ", 100_000-maxRefusers) {
			t.Errorf("%d entries, the first is %q", len(all), all[0])
		}
	})
}

// TestRefusalsThatGoOn: equal refusals are one entry a minute.
func TestRefusalsThatGoOn(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for range 300 {
			r.Refused(read("a"))
			after(time.Second)
		}
		if all := s.all(); len(all) < 5 || len(all) > 6 {
			t.Errorf("%d entries in five minutes", len(all))
		}
	})
}

// TestRefusedOfMany: an entry for several says only what they have in common.
func TestRefusedOfMany(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		for i := range 3 {
			e := read("a")
			e.Act, e.Code, e.Ref.Key = ActRead, "forbidden", fmt.Sprint(i)
			r.Refused(e)
		}
		after(time.Minute)
		if e := s.entries[0]; e.ActorID != "a" || e.Realm != "wx" || e.Key != "" || e.Count != 3 || e.Address != "192.0.2.1" {
			t.Errorf("got %+v", e)
		}
	})
}

// TestRequests: proxied requests are written where the settings say so, and
// never wait.
func TestRequests(t *testing.T) {
	var dropped int64
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		r := New(Config{Store: s, Dropped: func(n int64) { dropped += n }})
		r.Request(Event{}, tokenstore.AuditOK)
		r.Apply(Settings{Requests: true})
		for range maxRequests + 5 {
			r.Request(Event{}, tokenstore.AuditOK)
		}
		r.Start()
		after(time.Minute)
		all := s.all()
		if len(all) != maxRequests+1 || !slices.Contains(all, "access failed  5") || dropped != 5 {
			t.Errorf("%d entries, %d dropped", len(all), dropped)
		}
		r.Close()
	})
}

// TestClose: what was counted is written when the recorder ends.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStore{}
		r := New(Config{Store: s})
		r.Apply(Settings{Requests: true})
		r.Start()
		for range 3 {
			if err := r.Read(t.Context(), read("a"), 1); err != nil {
				t.Fatal(err)
			}
		}
		r.Refused(read("b"))
		r.Request(read("c"), tokenstore.AuditOK)
		r.Done(Event{Act: ActCallback})
		r.Failed(Event{Act: ActCallback})
		r.Close()
		r.Close()
		got := s.all()
		slices.Sort(got)
		if expected := []string{" refused  1", "access ok  1", "account.callback failed  1", "account.callback ok  1", "token.read ok  1", "token.read ok  2"}; !slices.Equal(got, expected) {
			t.Errorf("got %q", got)
		}
		for _, e := range s.entries {
			if e.Time.After(time.Now()) {
				t.Errorf("an entry of the future: %+v", e)
			}
		}
	})
}

// TestRetain: entries are deleted when they are older than the settings say.
func TestRetain(t *testing.T) {
	run(t, func(t *testing.T, r *Recorder, s *fakeStore) {
		r.Apply(Settings{Retain: 24 * time.Hour})
		after(2*time.Hour + 2*time.Minute)
		if len(s.pruned) != 3 || !s.pruned[0].Equal(time.Now().Add(-26*time.Hour-time.Minute)) {
			t.Errorf("got %v at %v", s.pruned, time.Now())
		}
	})
}

// TestNoRecorder: where there is no audit, everything is allowed.
func TestNoRecorder(t *testing.T) {
	var r *Recorder
	begun, err := r.Begin(t.Context(), Event{})
	begun.Failed("x")
	r.Failed(Event{})
	r.Done(Event{})
	r.Refused(Event{})
	r.Request(Event{}, tokenstore.AuditOK)
	if err != nil || r.Read(t.Context(), Event{}, 1) != nil || r.Change(t.Context(), Event{}) != t.Context() {
		t.Error("something was refused")
	}
}

// TestRepeatsAllocateNothing: a read-out from memory is as cheap with an audit
// as without.
func TestRepeatsAllocateNothing(t *testing.T) {
	r := New(Config{Store: &fakeStore{}})
	ctx, e := t.Context(), read("a")
	if err := r.Read(ctx, e, 1); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = r.Read(ctx, e, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRepeat(b *testing.B) {
	r := New(Config{Store: &fakeStore{}})
	b.RunParallel(func(pb *testing.PB) {
		e := read("a")
		for pb.Next() {
			_ = r.Read(b.Context(), e, 1)
		}
	})
}
