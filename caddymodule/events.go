package caddymodule

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() { caddy.RegisterModule((*events)(nil)) }

// The events that are emitted. Their data are the realm and the key; those of
// a new token also why it was got and, where it ends, expires_at.
const (
	eventRefreshed = "token_refreshed"
	eventDead      = "token_dead"
	eventReauth    = "reauth_required"
	eventBudget    = "budget_spent"
)

const (
	// eventQueue is how many events may wait for their handlers.
	eventQueue = 1024
	// eventStart is how often run checks whether Caddy has started all apps.
	eventStart = 20 * time.Millisecond
	// eventStop bounds how long the end of a configuration waits for handlers.
	eventStop = 5 * time.Second
)

// events hands what happens to Caddy's events app. Handlers may be slow, so
// they are called by a goroutine of its own, and nothing else waits for them.
//
// It is a module of its own, so that Caddy names it as the origin of its events.
// The context of the app would not do: Caddy appends the modules that it loads
// to slices that share their memory, so that such a context may name another
// module.
type events struct {
	ctx     caddy.Context
	app     *caddyevents.App
	log     *zap.Logger
	queue   chan event
	dropped atomic.Int64
	stop    chan struct{}
	once    sync.Once
	work    sync.WaitGroup
}

type event struct {
	name string
	data map[string]any
}

// CaddyModule returns the Caddy module information.
func (*events) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  appName + ".events",
		New: func() caddy.Module { return &events{queue: make(chan event, eventQueue), stop: make(chan struct{})} },
	}
}

// Provision keeps the context that the events come from.
func (e *events) Provision(ctx caddy.Context) error {
	e.ctx, e.log = ctx, ctx.Logger()
	return nil
}

// newEvents finds the events app, which Caddy makes where the configuration
// has none.
func newEvents(ctx caddy.Context) (*events, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	own, _ := caddy.NewContext(ctx) // it ends with ctx, and there is nothing to clean up
	module, err := own.LoadModuleByID(appName+".events", nil)
	if err != nil {
		return nil, err
	}
	e := module.(*events)
	e.app = app.(*caddyevents.App)
	return e, nil
}

// emit tells the newest configuration of an event. It does not block: without
// room in the queue the event is dropped, and counted.
func emit(name string, ref realm.Ref, data map[string]any) {
	app := newestApp.Load()
	if app == nil {
		return
	}
	data["realm"], data["key"] = ref.Realm, ref.Key
	select {
	case app.events.queue <- event{name, data}:
	default:
		app.events.dropped.Add(1)
		counters.droppedEvents.Inc()
	}
}

// run emits events until it is stopped, and then those that are there.
func (e *events) run(owner *App) {
	if !e.started(owner) {
		return
	}
	for {
		select {
		case ev := <-e.queue:
			e.callHandlers(ev)
		case <-e.stop:
			e.drain()
			return
		}
	}
}

// started waits until Caddy has started all apps, in whatever order: before
// that the events app may still be taking subscriptions. False where that does
// not happen.
func (e *events) started(owner *App) bool {
	tick := time.NewTicker(eventStart)
	defer tick.Stop()
	for {
		if app, err := caddy.ActiveContext().AppIfConfigured(appName); err == nil && app == owner {
			return true
		}
		select {
		case <-tick.C:
		case <-e.stop:
			return false
		}
	}
}

// callHandlers calls the handlers of an event. A panic in one must not end the process.
func (e *events) callHandlers(ev event) {
	defer func() {
		if r := recover(); r != nil {
			// The value may hold anything, so only its type is told.
			e.log.Error("panic in a handler of an event",
				zap.String("event", ev.name), zap.String("type", fmt.Sprintf("%T", r)), zap.Stack("stack"))
		}
	}()
	e.app.Emit(e.ctx, ev.name, ev.data)
	if n := e.dropped.Swap(0); n > 0 {
		e.log.Warn("events were dropped: their handlers are too slow", zap.Int64("events", n))
	}
}

// drain emits what is left in the queue.
func (e *events) drain() {
	for {
		select {
		case ev := <-e.queue:
			e.callHandlers(ev)
		default:
			return
		}
	}
}

// close ends run, and waits for it; not for ever, because handlers are not our
// code and may hang.
func (e *events) close() {
	e.once.Do(func() { close(e.stop) })
	ended := make(chan struct{})
	go func() { e.work.Wait(); close(ended) }()
	ctx, cancel := context.WithTimeout(context.Background(), eventStop)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
		e.log.Error("a handler of an event does not end")
	}
}

// Interface guards
var _ caddy.Provisioner = (*events)(nil)
