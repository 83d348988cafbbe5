package sources

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// elsewhere is a source whose answer a test sets, over a clock that it sets.
type elsewhere struct {
	value Value
	err   error
	reads atomic.Int64
	// hold keeps Read back until it is closed, or its context ends; nil: not at all.
	hold  chan struct{}
	clock time.Time
}

func (e *elsewhere) String() string { return "elsewhere kv/wx#appsecret" }

func (e *elsewhere) Read(ctx context.Context) (Value, error) {
	e.reads.Add(1)
	if e.hold != nil {
		select {
		case <-e.hold:
		case <-ctx.Done():
			return Value{}, ctx.Err()
		}
	}
	return e.value, e.err
}

func (e *elsewhere) field(t *testing.T) *Field {
	t.Helper()
	e.clock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := NewField(e, NewMemory(), zap.NewNop(), func() time.Time { return e.clock })
	t.Cleanup(f.Close)
	return f
}

// wants checks what the field gives.
func wants(t *testing.T, f *Field, want realm.Hidden) {
	t.Helper()
	got, err := f.Value(t.Context())
	if err != nil || got != want {
		t.Errorf("got another value (%t), %v", got != "", err)
	}
}

func TestValueIsAskedForWhenItIsNotFresh(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	e.value.Text = "two"
	e.clock = e.clock.Add(time.Minute - 1)
	wants(t, f, "one")
	changes := 0
	f.OnChange(func() { changes++ })
	e.clock = e.clock.Add(1)
	wants(t, f, "two")
	wants(t, f, "two")
	if n := e.reads.Load(); n != 2 || changes != 1 {
		t.Errorf("asked %d times, told of %d changes", n, changes)
	}
}

// All who want the value wait for the one who asks.
func TestOneCallerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}, hold: make(chan struct{})}
		f := e.field(t)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() { wants(t, f, "one") })
		}
		synctest.Wait() // until all of them wait
		close(e.hold)
		callers.Wait()
		if n := e.reads.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The last value is used to the end of its lease. Then the error names the source.
func TestLastValueServesToItsLease(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	e.err = errors.New("it cannot be reached")
	e.clock = e.clock.Add(time.Hour - 1)
	wants(t, f, "one")
	if s := f.Status(); s.Err == nil || !s.IsKnown || !s.Until.Equal(e.clock.Add(1)) {
		t.Errorf("status: %+v", s)
	}
	e.clock = e.clock.Add(1)
	_, err := f.Value(t.Context())
	if want := "elsewhere kv/wx#appsecret: it cannot be reached"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	e.err = nil
	e.clock = e.clock.Add(retry)
	wants(t, f, "one")
	if s := f.Status(); s.Err != nil {
		t.Errorf("status: %+v", s)
	}
}

// A source that says that there is no value ends the one before.
func TestRefusalEndsTheValue(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	e.err = errors.Join(ErrRefused, errors.New("it was deleted"))
	e.clock = e.clock.Add(time.Minute)
	if _, err := f.Value(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

// A source that failed is left alone for a second.
func TestFailedSourceIsLeftAlone(t *testing.T) {
	e := &elsewhere{err: errors.New("it cannot be reached")}
	f := e.field(t)
	for range 5 {
		if _, err := f.Value(t.Context()); err == nil {
			t.Error("there is a value")
		}
	}
	if n := e.reads.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A source that hangs costs one caller its time in half a minute and not each of them in
// each second, while there is a value whose lease has not ended.
func TestFailedSourceIsLeftAloneForLongerWithAValue(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: 2 * time.Minute}}
	f := e.field(t)
	wants(t, f, "one")
	e.err = errors.New("it cannot be reached")
	e.clock = e.clock.Add(time.Minute)
	wants(t, f, "one")
	e.clock = e.clock.Add(spare - 1)
	wants(t, f, "one")
	if n := e.reads.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
	e.clock = e.clock.Add(1)
	wants(t, f, "one")
	if n := e.reads.Load(); n != 3 {
		t.Errorf("asked %d times after half a minute", n)
	}
	e.clock = e.clock.Add(spare - 1) // the lease ends with it
	e.err = nil
	e.clock = e.clock.Add(1)
	wants(t, f, "one")
	if n := e.reads.Load(); n != 4 {
		t.Errorf("asked %d times after the lease", n)
	}
}

// A value that the provider refused is asked for again, but not in a storm.
func TestDoubtedValueIsAskedForSoon(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Hour, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	f.Doubt()
	e.value.Text = "two"
	e.clock = e.clock.Add(doubtful - 1)
	wants(t, f, "one")
	e.clock = e.clock.Add(1)
	wants(t, f, "two")
	e.clock = e.clock.Add(doubtful)
	wants(t, f, "two")
	if n := e.reads.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// A value that comes once more is still the one that was refused: it was asked for once,
// and then not before its time. A provider that takes it ends that.
func TestDoubtLasts(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Hour, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	f.Doubt()
	for range 3 {
		e.clock = e.clock.Add(doubtful)
		wants(t, f, "one")
		wants(t, f, "one")
	}
	if n := e.reads.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
	f.Trust()
	e.clock = e.clock.Add(doubtful)
	wants(t, f, "one")
	if n := e.reads.Load(); n != 4 {
		t.Errorf("asked %d times for a value that is taken", n)
	}
}

// What the next configuration knows of a source that it did not change, it need not
// ask for.
func TestMemoryOutlivesTheField(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	wants(t, f, "one")
	next := NewField(e, f.memory, zap.NewNop(), f.now)
	defer next.Close()
	f.Close()
	wants(t, next, "one")
	if n := e.reads.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// All fields of one source are told of its change, whichever asks. Only the one that
// asked was told: what was obtained for the others stayed in use. One that is closed is
// told of nothing.
func TestEveryFieldIsToldOfAChange(t *testing.T) {
	e := &elsewhere{value: Value{Text: "one", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	var told []string
	for _, name := range []string{"second", "third"} {
		other := NewField(e, f.memory, zap.NewNop(), f.now)
		defer other.Close()
		other.OnChange(func() { told = append(told, name) })
		wants(t, other, "one")
		if name == "third" {
			other.Close()
		}
	}
	wants(t, f, "one")
	f.OnChange(func() { told = append(told, "first") })
	e.value.Text = "two"
	e.clock = e.clock.Add(time.Minute)
	wants(t, f, "two")
	slices.Sort(told)
	if got := strings.Join(told, " "); got != "first second" || e.reads.Load() != 2 {
		t.Errorf("told: %q; asked %d times", got, e.reads.Load())
	}
}

// A source that hangs is given up after its time, and when the configuration ends; a
// caller that leaves does not wait for it.
func TestHangingSource(t *testing.T) {
	e := &elsewhere{hold: make(chan struct{})}
	f := e.field(t)
	f.timeout = time.Millisecond
	if _, err := f.Value(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "no answer within 1ms") {
		t.Errorf("%v", err)
	}
	f.timeout = time.Hour
	e.clock = e.clock.Add(retry)
	done := make(chan error)
	go func() { _, err := f.Value(context.Background()); done <- err }()
	waitFor(t, func() bool { return e.reads.Load() == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Value(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	f.Close()
	if err := <-done; err == nil {
		t.Error("a value after the end")
	}
}

// What is wrong is logged once, and no value ever.
func TestLogOfAField(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	e := &elsewhere{value: Value{Text: "canary5f1c", Fresh: time.Minute, Lease: time.Hour}}
	f := e.field(t)
	f.log = zap.New(core)
	wants(t, f, "canary5f1c")
	e.err = errors.New("it cannot be reached")
	for range 3 {
		e.clock = e.clock.Add(time.Minute)
		wants(t, f, "canary5f1c")
	}
	e.err, e.value.Text = nil, "canary5f1c-next"
	e.clock = e.clock.Add(time.Minute)
	wants(t, f, "canary5f1c-next")
	var told []string
	for _, entry := range logs.All() {
		told = append(told, entry.Message)
		for _, value := range entry.ContextMap() {
			if text, ok := value.(string); ok && strings.Contains(text, "canary") {
				t.Errorf("a value in the log: %s", entry.Message)
			}
		}
	}
	if len(told) != 2 {
		t.Errorf("told: %q", told)
	}
}

// A value that no field may have is an error that does not quote it.
func TestValueThatNoFieldMayHave(t *testing.T) {
	for _, text := range []string{strings.Repeat("canary", 20_000), "canary\xff"} {
		e := &elsewhere{value: Value{Text: realm.Hidden(text)}}
		if _, err := e.field(t).Value(t.Context()); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
}

// Nobody is given another value before those who depend on the one before know of it:
// what was refused with that would still count.
func TestValueWaitsForWhoIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "secret")
		put := func(text string) {
			if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}
		put("old")
		file, err := NewFile(path)
		if err != nil {
			t.Fatal(err)
		}
		memory := NewMemory()
		f := NewField(file, memory, zap.NewNop(), time.Now)
		defer f.Close()
		if err := f.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		told := make(chan struct{})
		f.OnChange(func() { <-told })
		put("new")
		go f.Recheck()
		synctest.Wait()
		// Another configuration is loaded meanwhile.
		next := NewField(file, memory, zap.NewNop(), time.Now)
		defer next.Close()
		loaded := make(chan error, 1)
		go func() { loaded <- next.Load(t.Context()) }()
		synctest.Wait()
		given := make(chan struct{})
		go func() {
			defer close(given)
			if v, err := f.Value(t.Context()); v != "new" || err != nil {
				t.Errorf("%d bytes, %v", len(v), err)
			}
		}()
		synctest.Wait()
		select {
		case <-given:
			t.Error("the value is given, and nobody is told")
		default:
		}
		close(told)
		<-given
		if err := <-loaded; err != nil {
			t.Error(err)
		}
	})
}
