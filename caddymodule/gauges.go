package caddymodule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are computed when they are asked for, of what the newest
// configuration knows.
type gauges struct{}

var (
	tokensGauge    = gauge("tokens", "Tokens in memory, by state, as in GET /api/status.", "realm", "state")
	expiryGauge    = gauge("expiry_seconds", "How long the live token lives that ends first.", "realm")
	ageGauge       = gauge("age_seconds", "How long ago the oldest live token was asked for.", "realm")
	budgetGauge    = gauge("budget_left", "Calls that the tightest window of the realm's limits still allowed when this node asked last.", "realm")
	waitingGauge   = gauge("renewals_waiting", "Renewals that wait for their turn.", "realm")
	deafGauge      = gauge("deaf_seconds", "For how long this node has not heard what changes on other nodes, or on the upstream of an edge; 0 while it hears.")
	unclaimedGauge = gauge("without_claims", "Keys for which this node asked the provider a moment ago though the database could not be written.")
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, metricsSubsystem, name), help, labels, nil)
}

// Describe implements prometheus.Collector.
func (gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{tokensGauge, expiryGauge, ageGauge, budgetGauge, waitingGauge, deafGauge, unclaimedGauge} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (gauges) Collect(to chan<- prometheus.Metric) {
	app := newestApp.Load()
	if app == nil {
		return
	}
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	seconds := func(d *prometheus.Desc, value time.Duration, id string) {
		if value >= 0 {
			send(d, value.Seconds(), id)
		}
	}
	stats := app.view.Stats()
	send(deafGauge, stats.DeafFor.Seconds())
	send(unclaimedGauge, float64(stats.WithoutClaims))
	for id, r := range stats.Realms {
		for state, n := range r.Tokens {
			send(tokensGauge, float64(n), id, state)
		}
		seconds(expiryGauge, r.ExpiresIn, id)
		seconds(ageGauge, r.Age, id)
		send(waitingGauge, float64(r.Waiting), id)
		if r.BudgetLeft >= 0 {
			send(budgetGauge, float64(r.BudgetLeft), id)
		}
	}
}

// Interface guards
var _ prometheus.Collector = gauges{}
