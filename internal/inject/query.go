package inject

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// placeQuery returns the query with the lease's pairs at its end and without
// the caller's pairs of those names. It works on bytes: url.Values would sort
// the pairs, rewrite their escapes and drop what it cannot parse. Every other
// pair stays as it came, and in its place.
//
// Pairs end at "&", and also at ";", where some upstreams split (HTML 4.01
// appendix B.2.2). Some upstreams merge the query with a form body or with
// cookies. Those are not looked at: bodies are never read here.
func placeQuery(raw string, lease *realm.Lease) string {
	places := lease.Target.Inject
	size := len(raw)
	for i, p := range places {
		if p.In == realm.PlaceURL {
			size += len("&") + len(p.Pair) + len(lease.Values[i])
		}
	}
	if size == len(raw) {
		return raw
	}
	var b strings.Builder
	b.Grow(size)
	some := keepOthers(&b, raw, places)
	for i, p := range places {
		if p.In != realm.PlaceURL {
			continue
		}
		if some {
			b.WriteByte('&')
		}
		some = true
		b.WriteString(p.Pair)
		b.WriteString(lease.Values[i])
	}
	return b.String()
}

// keepOthers writes the pairs of raw that do not have the name of an injected
// one, and reports whether there was such a pair. Two pairs that become
// neighbours are separated by "&" if one of the separators between them was "&":
// a ";" there would join them for upstreams that split at "&" only.
func keepOthers(b *strings.Builder, raw string, places []realm.Place) bool {
	some, sep := false, byte('&')
	for more := raw != ""; more; {
		pair, next := raw, byte(0)
		if i := strings.IndexAny(raw, "&;"); i >= 0 {
			pair, next, raw = raw[:i], raw[i], raw[i+1:]
		}
		more = next != 0
		switch {
		case !isOurs(pair, places):
			if some {
				b.WriteByte(sep)
			}
			b.WriteString(pair)
			some, sep = true, next
		case sep != '&':
			sep = next
		}
	}
	return some
}

// isOurs reports whether some upstream would read the pair as an injected one.
func isOurs(pair string, places []realm.Place) bool {
	name, _, _ := strings.Cut(pair, "=")
	for i := range places {
		if places[i].In == realm.PlaceURL && readsAs(name, places[i].Name) {
			return true
		}
	}
	return false
}
