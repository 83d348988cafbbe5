package caddymodule

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// lastLease are the placeholders of the lease that was used last. Nearly all
// requests of a transport use the same one, so that most requests do not
// allocate for placeholders that they may never ask for.
type lastLease struct{ p atomic.Pointer[leaseVars] }

// leaseVars are the values of the placeholders for one lease.
type leaseVars struct {
	ref    realm.Ref
	lease  *realm.Lease
	now    func() time.Time // the clock by which the lease ends
	lookup caddy.ReplacerFunc
}

// setPlaceholders makes {http.token.*} known to the replacer. The token itself
// is not among them.
func (t *Transport) setPlaceholders(repl *caddy.Replacer, ref realm.Ref, lease *realm.Lease) {
	if repl == nil {
		return
	}
	vars := t.last.p.Load()
	if vars == nil || vars.lease != lease || vars.ref != ref {
		vars = &leaseVars{ref: ref, lease: lease, now: t.app.pool.Now}
		vars.lookup = vars.get
		t.last.p.Store(vars)
	}
	repl.Map(vars.lookup)
}

// renewed counts a request that is sent again, and shows the token with which
// it is. A value that is set comes before a lookup.
func (t *Transport) renewed(req *http.Request, ref realm.Ref, lease *realm.Lease) {
	counters.replays.WithLabelValues(ref.Realm).Inc()
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	vars := leaseVars{ref: ref, lease: lease, now: t.app.pool.Now}
	for _, key := range [...]string{"http.token.source", "http.token.expires_in"} {
		value, _ := vars.get(key)
		repl.Set(key, value)
	}
}

func (v *leaseVars) get(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.token.")
	if !ok {
		return nil, false
	}
	switch name {
	case "realm":
		return v.ref.Realm, true
	case "key":
		return v.ref.Key, true
	case "source":
		return v.lease.Source.String(), true
	case "expires_in":
		end := v.lease.Expires.Time()
		if end.IsZero() {
			return "", true
		}
		return end.Sub(v.now()).Milliseconds(), true
	}
	return nil, false
}
