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
		spent := p.windows[windowKey(e, a, q.Forced)]
		if n := len(spent); n >= q.Calls {
			if free := spent[n-q.Calls].Add(q.Per).Sub(now); free > 0 {
				return free
			}
		}
	}
	p.count(e, a, false, now)
	if a.force {
		p.count(e, a, true, now)
	}
	return 0
}

func (p *Provider) count(e endpoint, a ask, forced bool, now time.Time) {
	key := windowKey(e, a, forced)
	p.windows[key] = append(p.windows[key], now)
}

// windowKey cannot be ambiguous: endpoint names are ours and hold no NUL.
func windowKey(e endpoint, a ask, forced bool) string {
	if forced {
		return e.name + "\x00forced\x00" + a.ref
	}
	return e.name + "\x00\x00" + a.ref
}
