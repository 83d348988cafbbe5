package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what Caddy's own admin endpoint shows of ours.
func (i *instance) metrics() string {
	i.t.Helper()
	a := i.do(http.MethodGet, "http://"+i.config+"/metrics", "")
	if a.StatusCode != http.StatusOK {
		i.t.Fatalf("%s\n%s", a.Status, a.body)
	}
	var ours []string
	for line := range strings.Lines(a.body) {
		if strings.HasPrefix(line, "caddy_tokens_") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// gauged reports whether a series has the value.
func gauged(metrics, series, value string) bool {
	return strings.Contains("\n"+metrics, "\ncaddy_tokens_"+series+" "+value+"\n")
}

// runs are the runs of tests in this process, over which the counters count.
var runs atomic.Int64

// renaming gives the realms of a text, whose ids begin with "met-", ids that
// no other run has.
func renaming() func(text string) string {
	begin := fmt.Sprintf("met%d-", runs.Add(1))
	return func(text string) string { return strings.ReplaceAll(text, "met-", begin) }
}

// TestMetrics: a fetch, a heal, a refusal and a lapse are counted, by realm;
// and nothing tells of a key, or shows what is confidential.
func TestMetrics(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	kill := p.mortal()
	tokens := p.realm("met-a", "inject query access_token\nrenew_on status 401\nlimits {\nwindows 2 1h\n}") +
		p.realm("met-idle", "inject query access_token") + p.lapsed("met-r")
	own := renaming()
	i.load(own(tokens), "token_gateway")
	i.get(own("/met-a/main/x"))
	kill(1)
	if a := i.get(own("/met-a/main/x")); a.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", a.Status, a.body)
	}
	i.call(http.MethodGet, own("/api/token?realm=met-a&key=main&flush=true"), "")
	i.get(own("/met-r/main/x"))
	for _, path := range []string{"/met-nobody/main/x", "/met-a/nobody/x"} {
		i.get(own(path))
	}
	got := i.metrics()
	for series, value := range map[string]string{
		`fetches_total{outcome="ok",realm="met-a"}`:            "2",
		`fetches_total{outcome="invalid_grant",realm="met-r"}`: "1",
		`fetch_duration_seconds_count{realm="met-a"}`:          "2",
		`renewals_total{realm="met-a",why="load"}`:             "1",
		`renewals_total{realm="met-a",why="heal"}`:             "1",
		`dead_tokens_total{realm="met-a"}`:                     "1",
		`heals_total{outcome="ok",realm="met-a"}`:              "1",
		`replays_total{realm="met-a"}`:                         "1",
		`budget_refusals_total{realm="met-a"}`:                 "1",
		`reauth_required_total{realm="met-r"}`:                 "1",
		`tokens{realm="met-a",state="live"}`:                   "1",
		`tokens{realm="met-a",state="idle"}`:                   "0",
		`tokens{realm="met-r",state="reauth_required"}`:        "1",
		`tokens{realm="met-idle",state="live"}`:                "0",
		`budget_left{realm="met-a"}`:                           "0",
		`renewals_waiting{realm="met-a"}`:                      "0",
		`without_claims`:                                       "0",
		`deaf_seconds`:                                         "0",
	} {
		if !gauged(got, own(series), value) {
			t.Errorf("there is no %s %s", series, value)
		}
	}
	for _, part := range []string{`expiry_seconds{realm="met-a"} 7`, `age_seconds{realm="met-a"} `, `events_dropped_total `} {
		if !strings.Contains(got, own(part)) {
			t.Errorf("there is no %s", part)
		}
	}
	if found := leaks(got); found != nil || strings.Contains(got, "main") || strings.Contains(got, "nobody") {
		t.Errorf("shows too much (%v)", found)
	}
	if t.Failed() {
		t.Log(got)
	}
}

// TestMetricsOutliveReloads: every configuration has the metrics, and they
// count on; what it does not define any more is not counted as live.
func TestMetricsOutliveReloads(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	own := renaming()
	for n := range 3 {
		id := own("met-" + string(rune('x'+n)))
		i.load(p.realm(id, "inject query access_token"), "token_gateway")
		i.get("/" + id + "/main/x")
	}
	got := i.metrics()
	if !gauged(got, own(`fetches_total{outcome="ok",realm="met-x"}`), "1") || !gauged(got, own(`fetches_total{outcome="ok",realm="met-z"}`), "1") {
		t.Errorf("the counters began again:\n%s", got)
	}
	if !gauged(got, own(`tokens{realm="met-z",state="live"}`), "1") || strings.Contains(got, own(`tokens{realm="met-x"`)) {
		t.Errorf("the gauges are not of this configuration:\n%s", got)
	}
}

// TestStoreErrors counts what a store does not do, by level.
func TestStoreErrors(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	i.load(p.realm("met-s", "inject query access_token")+"\ncache redis redis://"+freeAddress(t), "token_gateway")
	if a := i.get("/met-s/main/x"); a.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", a.Status, a.body)
	}
	if got := i.metrics(); !strings.Contains(got, `store_errors_total{level="redis"}`) {
		t.Errorf("an absent Redis does not count:\n%s", got)
	}
}

// TestMetricsAreWellFormed gathers them strictly, twice registered.
func TestMetricsAreWellFormed(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	for range 2 {
		if err := registerMetrics(ctx); err != nil {
			t.Fatal(err)
		}
	}
	pedantic := prometheus.NewPedanticRegistry()
	if err := errors.Join(pedantic.Register(gauges{}), pedantic.Register(counters.fetches)); err != nil {
		t.Fatal(err)
	}
	if _, err := pedantic.Gather(); err != nil {
		t.Error(err)
	}
}
