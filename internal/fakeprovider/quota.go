package fakeprovider

import "time"

// Quota is a limit of a token endpoint per app: at most Calls granted
// requests in any window of length Per.
type Quota struct {
	Calls int
	Per   time.Duration
	// Forced counts, and limits, only the requests that force a new token.
	Forced bool
}

// spend writes a request into the windows of its app, or returns how long it
// takes until one is free again. The caller holds the lock.
func (p *Provider) spend(e endpoint, a ask, quotas []Quota, now time.Time) time.Duration {
	for _, q := range quotas {
		if q.Forced && !a.force {
			continue
		}
		if wait := q.wait(p.windows[windowKey(e, a, q.Forced)], now); wait > 0 {
			return wait
		}
	}
	for _, q := range p.opts.Total {
		if wait := q.wait(p.windows[totalWindow], now); wait > 0 {
			return wait
		}
	}
	p.count(e, a, now)
	return 0
}

// wait is how long it takes until the quota allows another request after those
// that were granted.
func (q Quota) wait(granted []time.Time, now time.Time) time.Duration {
	n := len(granted)
	if n < q.Calls {
		return 0
	}
	return granted[n-q.Calls].Add(q.Per).Sub(now)
}

// count writes a granted request into all its windows. The caller holds the
// lock.
func (p *Provider) count(e endpoint, a ask, now time.Time) {
	keys := []string{windowKey(e, a, false), totalWindow}
	if a.force {
		keys = append(keys, windowKey(e, a, true))
	}
	for _, key := range keys {
		p.windows[key] = append(p.windows[key], now)
	}
}

const totalWindow = "\x00total"

// windowKey cannot be ambiguous: endpoint names are ours and hold no NUL.
func windowKey(e endpoint, a ask, forced bool) string {
	if forced {
		return e.name + "\x00forced\x00" + a.ref
	}
	return e.name + "\x00\x00" + a.ref
}
