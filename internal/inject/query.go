package inject

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// pairs is how a list of name=value pairs is written: by which separators. At
// the second one only some upstreams split.
type pairs struct {
	sep, other byte
	both       string
}

var (
	// HTML 4.01 appendix B.2.2 has ";" in a query.
	queryPairs = pairs{'&', ';', "&;"}
	// RFC 2965 section 3.3.4 has "," in a Cookie field.
	cookiePairs = pairs{';', ',', ";,"}
)

// placeQuery returns the query with the lease's pairs at its end and without
// the caller's pairs of any injected name. It works on bytes: url.Values would
// sort the pairs, rewrite their escapes and drop what it cannot parse. Every other
// pair stays as it came, and in its place.
//
// Some upstreams merge the query with a form body. That is not looked at: bodies
// are never read here.
func placeQuery(raw string, lease *realm.Lease) string {
	places := lease.Target.Inject
	size := len(raw)
	for i, p := range places {
		if p.In == realm.PlaceURL {
			size += len("&") + len(p.Pair) + len(lease.Values[i])
		}
	}
	if size == len(raw) {
		return queryPairs.withoutOurs(raw, places)
	}
	var b strings.Builder
	b.Grow(size)
	some := queryPairs.keepOthers(&b, raw, places)
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

// withoutOurs returns the list without the pairs that have the name of an
// injected one. It allocates only where there is such a pair.
func (ps pairs) withoutOurs(raw string, places []realm.Place) string {
	for rest, more := raw, raw != ""; more; {
		var pair string
		if pair, rest, more = ps.cut(rest); isOurs(pair, places) {
			var b strings.Builder
			ps.keepOthers(&b, raw, places)
			return b.String()
		}
	}
	return raw
}

// cut cuts the first pair off; more reports whether there is another one.
func (ps pairs) cut(raw string) (pair, rest string, more bool) {
	if i := strings.IndexAny(raw, ps.both); i >= 0 {
		return raw[:i], raw[i+1:], true
	}
	return raw, "", false
}

// keepOthers writes the pairs of raw that do not have the name of an injected
// one, and reports whether there was such a pair. Two pairs that become
// neighbours are separated by sep if one of the separators between them was that:
// the other one would join them for upstreams that do not split there.
func (ps pairs) keepOthers(b *strings.Builder, raw string, places []realm.Place) bool {
	some, sep := false, ps.sep
	for more := raw != ""; more; {
		pair, next := raw, byte(0)
		if i := strings.IndexAny(raw, ps.both); i >= 0 {
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
		case sep != ps.sep:
			sep = next
		}
	}
	return some
}

// isOurs reports whether some upstream would read the pair as an injected one.
// Where the realm puts the token does not matter: APIs that take it from a header
// often take it from a parameter or a cookie of that name as well, and a value
// there might be the one that counts.
func isOurs(pair string, places []realm.Place) bool {
	name, _, _ := strings.Cut(pair, "=")
	for i := range places {
		if places[i].In != realm.PlacePath && readsAs(name, places[i].Name) {
			return true
		}
	}
	return false
}
