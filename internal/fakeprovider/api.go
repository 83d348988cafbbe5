package fakeprovider

import "net/http"

func (p *Provider) serveAPI(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	faults := p.faults.API
	p.mu.Unlock()
	if !pass(r.Context(), nil, faults.Latency) {
		return
	}
	w = slowly(w, r, faults.Trickle)
	if faults.Status != 0 {
		w.WriteHeader(faults.Status)
		return
	}
	state := p.judge(p.speak.carried(r), r.URL.Path)
	switch {
	case faults.HangUp:
		hangUp(w, r)
	case state != live:
		p.speak.dead(state).encoded(faults.Encoding).write(w, r)
	case p.opts.API != nil:
		p.opts.API.ServeHTTP(w, r)
	default:
		p.speak.ok(r).write(w, r)
	}
}
