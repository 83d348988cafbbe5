package fakeprovider_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestRatesAndFetchesBetween(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Credentials: map[string]string{"app": "s3cret", "other": "s3cret"}})
	began := b.clock.now()
	for _, wait := range []time.Duration{0, 400 * time.Millisecond, 400 * time.Millisecond, 200 * time.Millisecond, time.Minute} {
		b.clock.advance(wait)
		b.fetch()
	}
	b.form("grant_type", "client_credentials", "client_id", "other", "client_secret", "x")
	if n := b.PeakRate(time.Second, "app"); n != 3 { // the fourth is a whole second after the first
		t.Errorf("the peak is %d", n)
	}
	if n := b.PeakRate(time.Hour); n != 6 {
		t.Errorf("the peak of an hour is %d", n)
	}
	if n := b.FetchesBetween(began, began.Add(800*time.Millisecond)); n != 2 {
		t.Errorf("%d fetches", n)
	}
	if n := b.FetchesBetween(began.Add(time.Second), began.Add(time.Hour), "app"); n != 2 {
		t.Errorf("%d fetches later", n)
	}
	if a, all := len(b.Events("other")), len(b.Events()); a != 2 || all != 12 {
		t.Errorf("%d events of one app, %d of all", a, all)
	}
}

func TestPeakRateWithAClockSetBack(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	for range 3 {
		b.fetch()
		b.clock.advance(-time.Hour)
	}
	if n := b.PeakRate(time.Minute); n != 1 {
		t.Errorf("the peak is %d", n)
	}
}

func TestPeakOfOneApp(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Credentials: map[string]string{"app": "s3cret", "other": "s3cret"}})
	release := b.Hold()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { b.fetch() })
	}
	wg.Go(func() { b.form("grant_type", "client_credentials", "client_id", "other", "client_secret", "s3cret") })
	for deadline := time.Now().Add(time.Minute); b.Fetches() < 3; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d requests arrived", b.Fetches())
		}
		runtime.Gosched()
	}
	release()
	wg.Wait()
	b.fetch()
	if b.Peak() != 3 || b.Peak("app") != 2 || b.Peak("other") != 1 || b.Peak("other", "app") != 2 || b.Peak("nobody") != 0 {
		t.Errorf("peaks: %d, %d, %d", b.Peak(), b.Peak("app"), b.Peak("other"))
	}
}

func TestReturnedIsWhatWentOut(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Strict})
	if !b.Returned(pair.Access) || !b.Returned(pair.Refresh) {
		t.Error("the pair of Authorize is not returned")
	}
	b.Set(fakeprovider.Faults{Answers: []string{"empty", "expiry text", ""}})
	refresh := pair.Refresh
	for _, want := range []struct{ access, refresh bool }{
		{false, false},
		{true, false}, // that answer holds no refresh token
		{true, true},
	} {
		b.spend(refresh)
		refresh = b.Descendant(refresh)
		if access := b.Newest(); b.Returned(access) != want.access || b.Returned(refresh) != want.refresh {
			t.Errorf("got %v and %v, want %v", b.Returned(access), b.Returned(refresh), want)
		}
	}
	if b.Returned("never") {
		t.Error("a token that was never issued is returned")
	}
}

// The provider has decided; nothing has left it yet.
func TestHeldAnswerIsNotReturned(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Strict})
	release := b.HoldAnswers(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.spend(pair.Refresh)
	}()
	for deadline := time.Now().Add(time.Minute); len(b.Spends("app")) < 1; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was spent")
		}
		runtime.Gosched()
	}
	child := b.Descendant(pair.Refresh)
	if child == pair.Refresh || b.Returned(child) {
		t.Error("the held answer counts as returned")
	}
	release()
	<-done
	if !b.Returned(child) {
		t.Error("the answer is out, and does not count as returned")
	}
}

func TestDescendantIsTheNewestChild(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Grace, Grace: time.Minute})
	if b.Descendant(pair.Refresh) != pair.Refresh || b.Descendant("never") != "" {
		t.Error("before anything was spent")
	}
	b.spend(pair.Refresh)
	_, kept := b.wantSpent(b.spend(pair.Refresh))
	_, last := b.wantSpent(b.spend(kept))
	if b.Descendant(pair.Refresh) != last || len(b.Spends()) != 2 || len(b.Reuses()) != 1 {
		t.Errorf("%d spends, %d reuses", len(b.Spends()), len(b.Reuses()))
	}
}

func TestStaleCalls(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Life: time.Hour}})
	overtaken := b.fetch().text("access_token")
	b.clock.advance(time.Minute)
	current := b.fetch().text("access_token")
	b.clock.advance(time.Second)
	b.bearer("/x", overtaken) // dead for 1 s
	b.clock.advance(time.Hour)
	b.bearer("/x", current) // ended 1 s ago
	b.bearer("/x", "never")
	b.Set(fakeprovider.Faults{RefuseTokens: true})
	b.bearer("/x", b.fetch().text("access_token"))
	for d, want := range map[time.Duration]int{0: 2, time.Second - 1: 2, time.Second: 0} {
		if n := len(b.StaleCalls(d, "app")); n != want {
			t.Errorf("%d calls with a token that was dead for more than %v, want %d", n, d, want)
		}
	}
	if n := len(b.DeadCalls()); n != 4 {
		t.Errorf("%d dead calls", n)
	}
}
