package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() { caddy.RegisterModule((*listener)(nil)) }

// listener is a handler of events that tells them to heard.
type listener struct{}

// heard is what listeners heard; a test with listeners empties it first.
var heard struct {
	sync.Mutex
	events []caddy.Event
	hold   chan struct{} // handlers wait for it; nil: not at all
	panics bool
}

func (*listener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.tokens_test", New: func() caddy.Module { return new(listener) }}
}

func (*listener) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*listener) Handle(_ context.Context, e caddy.Event) error {
	heard.Lock()
	heard.events = append(heard.events, e)
	hold, panics := heard.hold, heard.panics
	heard.Unlock()
	if hold != nil {
		<-hold
	}
	if panics {
		panic(canary)
	}
	return nil
}

// Interface guards
var (
	_ caddyevents.Handler   = (*listener)(nil)
	_ caddyfile.Unmarshaler = (*listener)(nil)
)

// listen has all our events heard.
func listen(i *instance) {
	heard.Lock()
	defer heard.Unlock()
	heard.events, heard.hold, heard.panics = nil, nil, false
	i.global = "events {\n"
	for _, name := range []string{eventRefreshed, eventDead, eventReauth, eventBudget} {
		i.global += "on " + name + " tokens_test\n"
	}
	i.global += "}"
}

// story is what was heard, one event a line.
func story() string {
	heard.Lock()
	defer heard.Unlock()
	var lines strings.Builder
	for _, e := range heard.events {
		fmt.Fprintln(&lines, e.Origin().CaddyModule().ID, e.Name(), e.Data["realm"], e.Data["key"], e.Data["why"])
	}
	return lines.String()
}

func TestEvents(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	listen(i)
	kill := p.mortal()
	i.load(p.realm("ev", "inject query access_token\nrenew_on status 401\nlimits {\nwindows 2 1h\n}")+p.lapsed("ev-r"), "token_gateway")
	i.get("/ev/main/x")
	kill(1)
	i.get("/ev/main/x")
	i.call(http.MethodGet, "/api/token?realm=ev&key=main&flush=true", "")
	i.get("/ev-r/main/x")
	const want = `tokens.events token_refreshed ev main load
tokens.events token_dead ev main <nil>
tokens.events token_refreshed ev main heal
tokens.events budget_spent ev main <nil>
tokens.events reauth_required ev-r main <nil>
`
	waitFor(t, "the last event", func() bool { return strings.Contains(story(), eventReauth) })
	if got := story(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	heard.Lock()
	defer heard.Unlock()
	for _, e := range heard.events {
		if found := leaks(fmt.Sprint(e.Data)); found != nil {
			t.Errorf("%s shows a secret: %v", e.Name(), e.Data)
		}
		if end, ok := e.Data["expires_at"].(string); e.Name() == eventRefreshed && (!ok || !strings.HasSuffix(end, "Z")) {
			t.Errorf("expires_at: %v", e.Data)
		}
	}
}

// TestEventsDoNotBlock: a handler that hangs costs events and no request, and
// one that panics costs nothing.
func TestEventsDoNotBlock(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	listen(i)
	heard.hold, heard.panics = make(chan struct{}), true
	i.load(p.realm("ev-slow", "inject query access_token"), "token_gateway")
	i.get("/ev-slow/main/x")
	waitFor(t, "the handler", func() bool { return story() != "" })
	for range eventQueue + 7 {
		observer{}.Died(realm.Ref{Realm: "ev-slow", Key: "main"})
	}
	if got := newestApp.Load().events.dropped.Load(); got != 7 {
		t.Errorf("%d events were dropped instead of 7", got)
	}
	if a := i.get("/ev-slow/main/x"); a.StatusCode != http.StatusOK {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	close(heard.hold)
	waitFor(t, "the other events", func() bool { return strings.Count(story(), "\n") == eventQueue+1 })
	if log := i.log(); leaks(log) != nil || !strings.Contains(log, "panic in a handler") {
		t.Errorf("the log:\n%s", around(log))
	}
}

// TestEventsOfAFailedReload: when a configuration does not start, the one
// before goes on with its events and its log.
func TestEventsOfAFailedReload(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	listen(i)
	good := p.realm("ev-f", "inject query access_token")
	i.load(good, "token_gateway")
	if err := i.tryLoad(good, "token_gateway\nbind 192.0.2.1"); err == nil {
		t.Fatal("was loaded")
	}
	i.get("/ev-f/main/x")
	waitFor(t, "the event", func() bool { return story() == "tokens.events token_refreshed ev-f main load\n" })
	i.load(good+"\nallow_private ::1", "token_gateway")
	i.call(http.MethodGet, "/api/token?realm=ev-f&key=main&flush=true", "")
	waitFor(t, "the event of the next one", func() bool { return strings.HasSuffix(story(), "ev-f main flush\n") })
}

// TestEventsOfNoConfiguration: one that Caddy never started emits nothing, and
// can be ended twice.
func TestEventsOfNoConfiguration(t *testing.T) {
	e := &events{log: zap.NewNop(), queue: make(chan event, 1), stop: make(chan struct{})}
	e.queue <- event{name: eventDead}
	e.work.Go(func() { e.run(new(App)) }) // which Caddy never starts
	e.close()
	e.close()
	if len(e.queue) != 1 {
		t.Error("an event was emitted before all apps were started")
	}
}
