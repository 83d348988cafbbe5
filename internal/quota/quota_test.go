package quota

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Whatever the moments at which calls are wanted: no window of the realm's
// ever holds more of them than it allows, and what spent says is when the next
// one fits.
func TestWindowsAreNeverExceeded(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		windows := []realm.Window{
			{Calls: 1 + r.IntN(40), Per: realm.Duration(time.Second * time.Duration(1+r.IntN(60)))},
			{Calls: 1 + r.IntN(400), Per: realm.Duration(time.Minute * time.Duration(1+r.IntN(60)))},
		}
		var b tokenstore.Budget
		var calls []time.Time
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for range 2000 {
			now = now.Add(time.Duration(r.ExpFloat64() * float64(windows[0].Per.Std()) / 30))
			if wait := WaitFor(&b, windows, now, InFlight{}); wait > 0 {
				if r.IntN(4) == 0 {
					now = now.Add(wait)
					if left := WaitFor(&b, windows, now, InFlight{}); left > 0 {
						t.Fatalf("seed %d: %v after the wait of %v there is another one of %v", seed, now, wait, left)
					}
				}
				continue
			}
			if Remaining(&b, windows, now) < 1 {
				t.Fatalf("seed %d: a call is allowed and none is left", seed)
			}
			Record(&b, windows, now)
			ended := now.Add(time.Duration(r.Int64N(int64(time.Second))))
			Ended(&b, now, ended)
			// The provider may have counted it at any moment in between.
			calls = append(calls, now.Add(time.Duration(r.Int64N(int64(ended.Sub(now))+1))))
		}
		slices.SortFunc(calls, time.Time.Compare)
		for _, w := range windows {
			for i := w.Calls; i < len(calls); i++ {
				if gap := calls[i].Sub(calls[i-w.Calls]); gap < w.Per.Std() {
					t.Fatalf("seed %d: %d calls within %v, allowed are %d in %v", seed, w.Calls+1, gap, w.Calls, w.Per)
				}
			}
		}
		for _, s := range b.Windows {
			if len(s.Calls) > marksPerWindow+2 {
				t.Errorf("seed %d: %d marks are kept", seed, len(s.Calls))
			}
		}
	}
}

// Little of a quota is left unused: what cannot be used is a share of the
// window.
func TestWindowsAreUsed(t *testing.T) {
	windows := []realm.Window{{Calls: 200, Per: realm.Duration(time.Second)}}
	var b tokenstore.Budget
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	start, n := now, 0
	for now.Sub(start) < 20*time.Second {
		if wait := WaitFor(&b, windows, now, InFlight{}); wait > 0 {
			now = now.Add(wait)
			continue
		}
		Record(&b, windows, now)
		n++
		now = now.Add(time.Millisecond)
	}
	if n < 200*20*9/10 {
		t.Errorf("%d calls in 20 s, allowed are 200 a second", n)
	}
}

// A window that the realm does not have any more counts nothing, and is
// forgotten after its time; until then it counts for a node, or a
// configuration, that has it.
func TestWindowsOfAnotherConfiguration(t *testing.T) {
	var b tokenstore.Budget
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hour, minute := []realm.Window{{Calls: 3, Per: realm.Duration(time.Hour)}}, []realm.Window{{Calls: 1, Per: realm.Duration(time.Minute)}}
	Record(&b, hour, now)
	if wait := WaitFor(&b, minute, now, InFlight{}); wait != 0 {
		t.Errorf("wait %v", wait)
	}
	Record(&b, minute, now)
	if n := Remaining(&b, hour, now); n != 1 {
		t.Errorf("of the hour: %d are left", n)
	}
	Record(&b, hour, now)
	if wait := WaitFor(&b, hour, now, InFlight{}); wait != time.Hour {
		t.Errorf("of the hour: wait %v", wait)
	}
	if n := Remaining(&b, minute, now); n != 0 {
		t.Errorf("left: %d", n)
	}
	for range 60 {
		now = now.Add(time.Minute)
		Record(&b, minute, now)
	}
	if len(b.Windows) != 1 || b.Windows[0].Per != time.Minute {
		t.Errorf("%+v", b.Windows)
	}
	if n := Remaining(&b, nil, now); n != -1 {
		t.Errorf("left without windows: %d", n)
	}
}

// A call that hangs on its way counts until it has ended, though its window is
// over: it may reach the provider in the next one.
func TestWindowsCountWhatIsUnderWay(t *testing.T) {
	var b tokenstore.Budget
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	short := []realm.Window{{Calls: 2, Per: realm.Duration(time.Second)}}
	long := []realm.Window{{Calls: 2, Per: realm.Duration(time.Hour)}}
	for open, want := range map[int]bool{0: true, 1: true, 2: false, 9: false} {
		if got := WaitFor(&b, short, now, InFlight{open, 15 * time.Second}) == 0; got != want {
			t.Errorf("%d under way: allowed %v", open, got)
		}
		if WaitFor(&b, long, now, InFlight{open, 15 * time.Second}) != 0 {
			t.Errorf("%d under way: a window of an hour counts them twice", open)
		}
	}
}
