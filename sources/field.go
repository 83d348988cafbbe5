package sources

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// DefaultTimeout is how long a source may take that says nothing about it.
	DefaultTimeout = 10 * time.Second
	// doubtful is how long a value is used that a provider refused: somebody may
	// have replaced it where it comes from.
	doubtful = 10 * time.Second
	// retry is how soon a source is asked again that failed, spare how soon while there
	// is a value that can be used in its place: whoever asks one that hangs waits.
	retry = time.Second
	spare = 30 * time.Second
)

// Memory is what is known of a source. Fields with the same source share one, so
// that it is asked once for all of them, and so does the field of the next
// configuration. It has the form of caddy.Destructor.
type Memory struct {
	// asking is a semaphore of one: whoever asks the source.
	asking chan struct{}

	mu    sync.Mutex
	value realm.Hidden
	known bool
	// readAt is when the value was read. It is not asked for again before freshUntil
	// (zero: until it changes), and not used after endsAt (zero: no end).
	readAt, freshUntil, endsAt time.Time
	isDoubted                  bool
	// given is the last value, refused ones included, whose successor is news. fields
	// are those who are told of it.
	given   realm.Hidden
	isGiven bool
	fields  map[*Field]struct{}
	// isTelling: the fields are being told of the value. Until they know, what depends
	// on the one before counts.
	isTelling bool
	// err is why the source gave nothing the last time, at failedAt.
	err      error
	failedAt time.Time
}

// NewMemory knows nothing yet.
func NewMemory() *Memory {
	return &Memory{asking: make(chan struct{}, 1), fields: make(map[*Field]struct{})}
}

// Destruct forgets the value.
func (m *Memory) Destruct() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value, m.known, m.given, m.isGiven = "", false, "", false
	return nil
}

// Field is a field whose value a source gives. It is safe for concurrent use.
type Field struct {
	source  Source
	memory  *Memory
	log     *zap.Logger
	now     func() time.Time
	timeout time.Duration
	// changed is called when there is another value than the one before.
	changed func()
	// base ends what is asked when the configuration ends.
	base context.Context
	end  context.CancelFunc
}

// NewField makes the field of a source. now is the clock (nil: time.Now).
func NewField(source Source, memory *Memory, log *zap.Logger, now func() time.Time) *Field {
	f := &Field{source: source, memory: memory, log: log, now: now, timeout: DefaultTimeout, changed: func() {}}
	if now == nil {
		f.now = time.Now
	}
	if p, ok := source.(Patient); ok && p.Timeout() > 0 {
		f.timeout = p.Timeout()
	}
	f.base, f.end = context.WithCancel(context.Background())
	memory.mu.Lock()
	defer memory.mu.Unlock()
	memory.fields[f] = struct{}{}
	return f
}

// OnChange has changed called when there is another value than the one before, whichever
// of the fields of the source has asked for it.
func (f *Field) OnChange(changed func()) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.changed = changed
}

// Close ends what is being asked. No value is given any more but the one that is
// known, and no change is told.
func (f *Field) Close() {
	f.end()
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	delete(f.memory.fields, f)
}

// Load reads a Local source, whatever is known of it. It is for a configuration that
// is being loaded, which is refused without a value.
func (f *Field) Load(ctx context.Context) error {
	local, ok := f.source.(Local)
	if !ok {
		return nil
	}
	select { // also of a field of another configuration, which shares the memory
	case f.memory.asking <- struct{}{}:
		defer func() { <-f.memory.asking }()
	case <-ctx.Done():
		return f.fault(ctx.Err())
	}
	v, err := local.Read(ctx)
	if err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return f.fault(err)
	}
	f.keep(v)
	return nil
}

// Known is the value that was read last, without asking for it; false for none.
func (f *Field) Known() (realm.Hidden, bool) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	return f.memory.value, f.memory.known
}

// Times are when the value that is known is asked for again, and when it ends; zero for
// never. A Local source tells by itself when it changes.
func (f *Field) Times() (askAt, endsAt time.Time) {
	if _, isLocal := f.source.(Local); isLocal {
		return time.Time{}, time.Time{}
	}
	m, now := f.memory, f.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	askAt = m.freshUntil
	if earliest := m.readAt.Add(retry); askAt.Before(earliest) { // one that is fresh for no time
		askAt = earliest
	}
	if again := m.retryAtLocked(now); m.err != nil && askAt.Before(again) {
		askAt = again
	}
	return askAt, m.endsAt
}

// Doubt notes that a provider refused the value. It is asked for again soon, by whoever
// needs it next, ten seconds after it was read: until there is another one, or Trust.
func (f *Field) Doubt() { f.setDoubted(true) }

// Trust notes that a provider took the value.
func (f *Field) Trust() { f.setDoubted(false) }

func (f *Field) setDoubted(isDoubted bool) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.memory.isDoubted = isDoubted
}

// Status tells the state of the field.
func (f *Field) Status() Status {
	m := f.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{Source: f.source.String(), Err: m.err, Until: m.endsAt, IsKnown: m.known}
}

// Value is the value as it is now: the one that is known while it is fresh, else the
// one that the source gives. If it cannot be asked, the known one is good to the end
// of its lease. One caller asks, and all others wait for him.
func (f *Field) Value(ctx context.Context) (realm.Hidden, error) {
	if value, ok := f.fresh(); ok {
		return value, nil
	}
	select {
	case f.memory.asking <- struct{}{}:
		defer func() { <-f.memory.asking }()
	case <-ctx.Done():
		return "", f.fault(ctx.Err())
	}
	if value, ok := f.fresh(); ok { // somebody else has asked meanwhile
		return value, nil
	}
	if err := f.justFailed(); err != nil {
		return f.last(err)
	}
	return f.ask(ctx)
}

// Recheck reads a Local source if it has changed.
func (f *Field) Recheck() {
	if _, err := f.Value(f.base); err != nil && f.base.Err() == nil {
		f.log.Warn("a field has no value", zap.Error(err))
	}
}

// fresh is the value that need not be asked for.
func (f *Field) fresh() (realm.Hidden, bool) {
	m, now := f.memory, f.now()
	local, isLocal := f.source.(Local)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.known, m.isTelling:
		return "", false
	case isLocal:
		return m.value, !local.IsChanged()
	case m.isDoubted && !now.Before(m.readAt.Add(doubtful)):
		return "", false
	}
	return m.value, now.Before(m.freshUntil)
}

// justFailed is the error of a source on another machine, or of a command, that
// failed a moment ago.
func (f *Field) justFailed() error {
	if _, isLocal := f.source.(Local); isLocal {
		return nil
	}
	m := f.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil && f.now().Before(m.retryAtLocked(f.now())) {
		return m.err
	}
	return nil
}

// retryAtLocked is when a source is asked again that failed.
func (m *Memory) retryAtLocked(now time.Time) time.Time {
	if m.isGoodLocked(now) {
		return m.failedAt.Add(spare)
	}
	return m.failedAt.Add(retry)
}

// isGoodLocked reports whether there is a value whose lease has not ended.
func (m *Memory) isGoodLocked(now time.Time) bool {
	return m.known && (m.endsAt.IsZero() || now.Before(m.endsAt))
}

// ask reads the source. It goes on when the caller leaves, since others may wait,
// and ends with the configuration.
func (f *Field) ask(ctx context.Context) (realm.Hidden, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
	defer cancel()
	defer context.AfterFunc(f.base, cancel)() //nolint:contextcheck // it ends with the configuration, too
	v, err := f.source.Read(ctx)
	if err == nil {
		err = v.check()
	}
	switch {
	case f.base.Err() != nil:
		return f.last(errors.New("the configuration has ended"))
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("no answer within %s", f.timeout)
	}
	if err != nil {
		f.recordFailure(err)
		return f.last(err)
	}
	f.keep(v)
	return v.Text, nil
}

// keep remembers a value, and tells all fields of the source if it is another one. A
// provider that refused it is not said to take it when it comes once more.
func (f *Field) keep(v Value) {
	m, now := f.memory, f.now()
	m.mu.Lock()
	m.isDoubted = m.isDoubted && m.value == v.Text
	m.value, m.known, m.readAt, m.err = v.Text, true, now, nil
	m.freshUntil, m.endsAt = now.Add(v.Fresh), time.Time{}
	if v.Lease > 0 {
		m.endsAt = now.Add(v.Lease)
	}
	changed := m.newsLocked(v.Text)
	m.isTelling = len(changed) > 0
	m.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	f.log.Info("the value of a field has changed", zap.String("source", f.source.String()))
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.isTelling = false
	}()
	for _, tell := range changed {
		tell()
	}
}

// newsLocked are those who are to be told of a value; none if it is the one before.
func (m *Memory) newsLocked(value realm.Hidden) (changed []func()) {
	isNews := m.isGiven && m.given != value
	m.given, m.isGiven = value, true
	if !isNews {
		return nil
	}
	for f := range m.fields {
		changed = append(changed, f.changed)
	}
	return changed
}

// recordFailure remembers why there is no value, and logs it when it is news. A
// value that was refused has ended.
func (f *Field) recordFailure(err error) {
	m := f.memory
	m.mu.Lock()
	isNews := m.err == nil || m.err.Error() != err.Error()
	m.err, m.failedAt = err, f.now()
	if errors.Is(err, ErrRefused) {
		m.value, m.known = "", false
	}
	isKept := m.known
	m.mu.Unlock()
	if !isNews {
		return
	}
	told := "the source of a field gives no value"
	if isKept {
		told += "; the last one is used"
	}
	f.log.Warn(told, zap.String("source", f.source.String()), zap.Error(err))
}

// last is the value that is known, to the end of its lease; else the error.
func (f *Field) last(err error) (realm.Hidden, error) {
	m := f.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isGoodLocked(f.now()) {
		return m.value, nil
	}
	return "", f.fault(err)
}

// fault names the source.
func (f *Field) fault(err error) error { return fmt.Errorf("%s: %w", f.source, err) }
