package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// placeCookies puts the lease's cookies in front of those of the caller, which
// are there only where the realm passes them on, and without any of our names by
// now (see cleanCookies). In front, because a quote that the caller opens would
// hide what follows it from parsers of RFC 2109. All of them become one field:
// HTTP/1.1 has no more (RFC 6265 section 5.4), HTTP/2 may have split it (RFC 9113
// section 8.2.3).
func placeCookies(h http.Header, lease *realm.Lease) {
	ours, some := cookiesOf(lease)
	if !some {
		return
	}
	h["Cookie"] = []string{strings.Join(append([]string{ours}, h["Cookie"]...), "; ")}
}

// cookiesOf returns the lease's cookies as they stand in a header; some reports
// whether there are any.
func cookiesOf(lease *realm.Lease) (ours string, some bool) {
	for i, p := range lease.Target.Inject {
		if p.In != realm.PlaceCookie {
			continue
		}
		if some {
			ours += "; "
		}
		ours, some = ours+p.Pair+lease.Values[i], true
	}
	return ours, some
}

// hasCookies reports whether the header begins with the lease's cookies, and
// has no other one that some server would read as one of them.
func hasCookies(h http.Header, lease *realm.Lease) bool {
	ours, some := cookiesOf(lease)
	if !some {
		return true
	}
	lines := h["Cookie"]
	if len(lines) != 1 {
		return false
	}
	rest, ok := strings.CutPrefix(lines[0], ours)
	if !ok || rest != "" && !strings.HasPrefix(rest, "; ") {
		return false
	}
	return cookiePairs.withoutOurs(rest, lease.Target.Inject) == rest
}
