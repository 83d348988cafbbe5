package fakeprovider

import "slices"

// traffic counts the token requests that are open, and the authorization
// requests that an app makes by itself. The provider's lock guards it.
type traffic struct {
	now, peak int
	ofApp     map[string]*traffic
}

func newTraffic() traffic { return traffic{ofApp: map[string]*traffic{}} }

// enter counts a request until leave is called. The caller of either holds the
// lock.
func (t *traffic) enter(ref string) (leave func()) {
	app := t.ofApp[ref]
	if app == nil {
		app = &traffic{}
		t.ofApp[ref] = app
	}
	for _, c := range []*traffic{t, app} {
		c.now++
		c.peak = max(c.peak, c.now)
	}
	return func() {
		t.now--
		app.now--
	}
}

// Peak is the greatest number of requests for tokens and, by an app itself, for
// codes that were open at once: of all apps together, or, where apps are named,
// of the one of them that had most.
func (p *Provider) Peak(refs ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(refs) == 0 {
		return p.open.peak
	}
	peaks := []int{0}
	for _, ref := range refs {
		if app := p.open.ofApp[ref]; app != nil {
			peaks = append(peaks, app.peak)
		}
	}
	return slices.Max(peaks)
}
