package caddymodule

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
)

const (
	// activitySteps is how many steps are remembered.
	activitySteps = adminapi.ActivityHours * int(time.Hour/adminapi.ActivityStep)
	// activityRealms bounds of how many realms; of others nothing is.
	activityRealms = 10_000
	// activitySample is how often the counters are read.
	activitySample = time.Minute
)

// totals are the counters of a realm since the process began, or what they grew by
// in one step.
type totals struct{ calls, fetches, heals, errors float64 }

func (t totals) minus(u totals) totals {
	return totals{t.calls - u.calls, t.fetches - u.fetches, t.heals - u.heals, t.errors - u.errors}
}

func (t totals) plus(u totals) totals {
	return totals{t.calls + u.calls, t.fetches + u.fetches, t.heals + u.heals, t.errors + u.errors}
}

// stepTotals is what happened in one step.
type stepTotals struct {
	step int64 // since 1970
	totals
}

// activityOfRealm is the last value of its counters, and the steps in which they
// grew, the oldest first.
type activityOfRealm struct {
	last  totals
	steps []stepTotals
}

// activityRing is what the counters grew by in the last 24 hours, by realm. They
// are read from time to time: nothing is counted twice, and a request costs no
// more for it. A realm has memory for the steps in which something happened.
type activityRing struct {
	now func() time.Time

	mu     sync.Mutex
	realms map[string]*activityOfRealm
}

// recentActivity is that of the process. It outlives configurations, as the
// counters do.
var recentActivity = &activityRing{now: time.Now, realms: map[string]*activityOfRealm{}}

// run reads the counters until ctx ends.
func (r *activityRing) run(ctx context.Context) {
	tick := time.NewTicker(activitySample)
	defer tick.Stop()
	for {
		r.sample(readCounters())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stepOf is the step of a time.
func stepOf(at time.Time) int64 { return at.Unix() / int64(adminapi.ActivityStep.Seconds()) }

// sample notes what the counters grew by since the last time.
func (r *activityRing) sample(read map[string]totals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step := stepOf(r.now())
	for id, total := range read {
		known := r.realms[id]
		if known == nil {
			if len(r.realms) >= activityRealms {
				continue
			}
			known = new(activityOfRealm)
			r.realms[id] = known
		}
		grown := total.minus(known.last)
		if grown == (totals{}) {
			continue
		}
		known.last = total
		if n := len(known.steps); n > 0 && known.steps[n-1].step >= step { // the clock may have gone back
			known.steps[n-1].totals = known.steps[n-1].plus(grown)
			continue
		}
		if len(known.steps) == activitySteps {
			known.steps = append(known.steps[:0], known.steps[1:]...)
		}
		known.steps = append(known.steps, stepTotals{step, grown})
	}
}

// Last implements adminapi.Activities.
func (r *activityRing) Last(steps int, may func(realmID string) bool) []adminapi.Activity {
	r.sample(readCounters())
	r.mu.Lock()
	defer r.mu.Unlock()
	current := stepOf(r.now())
	sums := make([]totals, steps)
	for id, known := range r.realms {
		if !may(id) {
			continue
		}
		for _, s := range known.steps {
			if i := int64(steps) - 1 - (current - s.step); 0 <= i && i < int64(steps) {
				sums[i] = sums[i].plus(s.totals)
			}
		}
	}
	list := make([]adminapi.Activity, steps)
	for i, t := range sums {
		at := (current - int64(steps-1-i)) * int64(adminapi.ActivityStep.Seconds())
		list[i] = adminapi.Activity{
			At:    time.Unix(at, 0).UTC(),
			Calls: uint64(t.calls), Fetches: uint64(t.fetches), Heals: uint64(t.heals), Errors: uint64(t.errors),
		}
	}
	return list
}

// readCounters are the counters as they are now, by realm. Requests of which no
// realm is known are left out.
func readCounters() map[string]totals {
	read := map[string]totals{}
	each(counters.requests, func(label map[string]string, value float64) {
		t := read[label["realm"]]
		t.calls += value
		if label["result"] == resultFailed {
			t.errors += value
		}
		read[label["realm"]] = t
	})
	each(counters.fetches, func(label map[string]string, value float64) {
		t := read[label["realm"]]
		t.fetches += value
		read[label["realm"]] = t
	})
	each(counters.heals, func(label map[string]string, value float64) {
		t := read[label["realm"]]
		t.heals += value
		read[label["realm"]] = t
	})
	delete(read, "")
	return read
}

// each calls do for each series of a counter.
func each(c *prometheus.CounterVec, do func(label map[string]string, value float64)) {
	series := make(chan prometheus.Metric, 64)
	go func() { defer close(series); c.Collect(series) }()
	for one := range series {
		var m dto.Metric
		if one.Write(&m) != nil {
			continue
		}
		label := make(map[string]string, len(m.GetLabel()))
		for _, l := range m.GetLabel() {
			label[l.GetName()] = l.GetValue()
		}
		do(label, m.GetCounter().GetValue())
	}
}

// Interface guards
var _ adminapi.Activities = (*activityRing)(nil)
