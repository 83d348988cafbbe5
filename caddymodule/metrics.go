package caddymodule

import (
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	metricsNamespace = "caddy"
	metricsSubsystem = appName
)

// counters count since the process began, over all configurations. Only realms
// that exist have a series, so that callers cannot make new ones, and no series
// has a key.
var counters = newCounters()

type counterSet struct {
	requests       *prometheus.CounterVec
	fetches        *prometheus.CounterVec
	fetchDuration  *prometheus.HistogramVec
	renewals       *prometheus.CounterVec
	deadTokens     *prometheus.CounterVec
	heals          *prometheus.CounterVec
	replays        *prometheus.CounterVec
	ways           *prometheus.CounterVec
	budgetRefusals *prometheus.CounterVec
	reauthRequired *prometheus.CounterVec
	storeErrors    *prometheus.CounterVec
	droppedEvents  prometheus.Counter
	droppedEntries prometheus.Counter
	surplusAnswers prometheus.Counter
}

func newCounters() *counterSet {
	return &counterSet{
		requests:       counter("requests_total", "Proxied requests, by result: ok, refused (4xx) or failed (5xx, or no answer). The client is empty for callers without one.", "client", "realm", "result"),
		fetches:        counter("fetches_total", "Token requests to a provider, by outcome: ok, or the kind of the failure.", "realm", "outcome"),
		renewals:       counter("renewals_total", "New tokens, by why they were got: load, renew (ahead of the end), heal or flush.", "realm", "why"),
		deadTokens:     counter("dead_tokens_total", "Tokens that the provider's API refused.", "realm"),
		heals:          counter("heals_total", "Searches for another token after one was refused, by outcome: ok or failed.", "realm", "outcome"),
		replays:        counter("replays_total", "Proxied requests that were sent again with another token.", "realm"),
		ways:           counter("ways_total", "Requests of token_proxy and token_gateway, by how they were proxied: short, or why not.", "way"),
		budgetRefusals: counter("budget_refusals_total", "Token requests that the realm's limits did not allow.", "realm"),
		reauthRequired: counter("reauth_required_total", "Secrets for which somebody has to authorize again.", "realm"),
		storeErrors:    counter("store_errors_total", "Operations that a store did not do, by level: sqlite, mysql or redis.", "level"),
		fetchDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "fetch_duration_seconds",
			Help: "How long token requests to a provider took.", Buckets: prometheus.DefBuckets,
		}, []string{"realm"}),
		droppedEvents: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "events_dropped_total",
			Help: "Events that were not emitted, because their handlers are too slow.",
		}),
		droppedEntries: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "audit_dropped_total",
			Help: "Proxied requests without an entry in the audit, because they came faster than entries can be written.",
		}),
		surplusAnswers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "surplus_answers_total",
			Help: "Connections to APIs that were closed, because something came that no request had asked for.",
		}),
	}
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help,
	}, labels)
}

// registerMetrics adds the metrics to the registry of a configuration, which
// is a new one for each; the metrics are the same.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	for _, c := range collectors() {
		var again prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &again) {
			return err
		}
	}
	return nil
}

// collectors are all metrics of this product.
func collectors() []prometheus.Collector {
	return []prometheus.Collector{
		counters.requests, counters.fetches, counters.fetchDuration, counters.renewals, counters.deadTokens, counters.heals, counters.replays, counters.ways,
		counters.budgetRefusals, counters.reauthRequired, counters.storeErrors, counters.droppedEvents, counters.droppedEntries, counters.surplusAnswers,
		gauges{},
	}
}

// storeFailed counts a failure of one level of a store.
func storeFailed(level string) { counters.storeErrors.WithLabelValues(level).Inc() }

// observer counts what happens in the pools, and makes events of it for the
// newest configuration.
type observer struct{}

// Fetched implements broker.Observer.
func (observer) Fetched(realmID, outcome string, took time.Duration) {
	counters.fetches.WithLabelValues(realmID, outcome).Inc()
	counters.fetchDuration.WithLabelValues(realmID).Observe(took.Seconds())
}

// Refreshed implements broker.Observer.
func (observer) Refreshed(ref realm.Ref, why string, expires time.Time) {
	counters.renewals.WithLabelValues(ref.Realm, why).Inc()
	data := map[string]any{"why": why}
	if !expires.IsZero() {
		data["expires_at"] = expires.UTC().Format(time.RFC3339)
	}
	emit(eventRefreshed, ref, data)
}

// Died implements broker.Observer.
func (observer) Died(ref realm.Ref) {
	counters.deadTokens.WithLabelValues(ref.Realm).Inc()
	emit(eventDead, ref, map[string]any{})
}

// Healed implements broker.Observer.
func (observer) Healed(realmID string, ok bool) {
	outcome := "ok"
	if !ok {
		outcome = "failed"
	}
	counters.heals.WithLabelValues(realmID, outcome).Inc()
}

// ReauthRequired implements broker.Observer.
func (observer) ReauthRequired(ref realm.Ref) {
	counters.reauthRequired.WithLabelValues(ref.Realm).Inc()
	emit(eventReauth, ref, map[string]any{})
}

// BudgetSpent implements broker.Observer.
func (observer) BudgetSpent(ref realm.Ref) {
	counters.budgetRefusals.WithLabelValues(ref.Realm).Inc()
	emit(eventBudget, ref, map[string]any{})
}

// Interface guards
var _ broker.Observer = observer{}
