package inject

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// filter decides which of the caller's header fields and trailers do not go to
// the provider: those that a provider might read in place of an injected one,
// the caller's own credentials unless the realm passes them on, what tells about the
// caller's network, what overrides the request line, and what asks for a part of an
// answer that is scrubbed.
//
// Where a header is injected, the first kind is left out of a copy of the header,
// so that a log prints, and a retry sends, the request of the caller. All others
// are deleted in place:
// reverse_proxy gives its transport a header map of its own, and nobody misses
// these fields in a log. That saves the copy where the token goes into the query
// only, and saves Caddy from encoding the fields for a debug log that is not
// written. Trailers are deleted in place too, because only the map that the
// request came with is filled when its body ends.
type filter struct {
	places        []realm.Place
	pass          []string // canonical names
	authenticated bool
	forwarded     bool
	// whole: an answer has to be the whole body, because a part of one may begin or
	// end within a token.
	whole bool
}

// filterOf returns the filter of a request.
func filterOf(job Job, target *realm.Target) filter {
	return filter{
		places: target.Inject, pass: target.Pass,
		authenticated: job.Authenticated, forwarded: target.Forwarded, whole: target.Scrub,
	}
}

// outgoingHeader returns the header to send, with the token in its places.
func (f filter) outgoingHeader(h http.Header, lease *realm.Lease) http.Header {
	n := 0
	for _, p := range f.places {
		switch p.In {
		case realm.PlaceHeader, realm.PlaceCookie, realm.PlaceBody: // with a body, its length and type may change
			n++
		}
	}
	if n == 0 {
		strip(h, f.drops)
		f.cleanCookies(h)
		return h
	}
	strip(h, f.isPrivate)
	out := make(http.Header, n+len(h))
	for name, values := range h {
		if !f.isCopy(name) {
			out[name] = values
		}
	}
	f.cleanConnection(out)
	f.cleanCookies(out)
	for i, p := range f.places {
		if p.In == realm.PlaceHeader {
			out[p.Name] = lease.Values[i : i+1 : i+1]
		}
	}
	placeCookies(out, lease)
	return out
}

// strip deletes fields in place. It writes to the map only where there is such a
// field: on a retry there is none left, and the goroutine that sends the attempt
// before may still read the map.
func strip(h http.Header, drops func(name string) bool) {
	for name := range h {
		if drops(name) {
			delete(h, name)
		}
	}
}

// drops reports whether a field does not go to the provider.
func (f filter) drops(name string) bool { return f.isCopy(name) || f.isPrivate(name) }

// isPrivate reports whether a field is between the caller and us, or would make
// the provider do something other than what the request line says.
func (f filter) isPrivate(name string) bool {
	switch {
	case isAlias(name, "Authorization"), isAlias(name, "Proxy-Authorization"):
		return f.authenticated || !slices.Contains(f.pass, name)
	case isAlias(name, "Cookie"):
		return !slices.Contains(f.pass, name)
	case isAlias(name, "Range"), isAlias(name, "If-Range"):
		return f.whole
	}
	return !f.forwarded && isForwarded(name) || isOverride(name)
}

// isCopy reports whether some upstream would read the field as an injected one,
// also where the realm puts the token into the query (see isOurs).
func (f filter) isCopy(name string) bool {
	for i := range f.places {
		if f.places[i].In != realm.PlacePath && isAlias(name, f.places[i].Name) {
			return true
		}
	}
	return false
}

// cleanCookies removes the cookies that have the name of an injected field, where
// the realm passes cookies on at all, and that of a session of the console.
func (f filter) cleanCookies(h http.Header) {
	cutCookies(h, func(line string) string {
		return cookiePairs.withoutOurs(cookiePairs.withoutOurs(line, f.places), sessionPlaces)
	})
}

// cutCookies cuts something out of the lines of cookies. The values of the field
// are not changed in place, since the map may share them with the caller's.
func cutCookies(h http.Header, cut func(line string) string) {
	lines := h["Cookie"]
	for i, line := range lines {
		if cut(line) == line {
			continue
		}
		kept := slices.Clone(lines[:i])
		for _, line := range lines[i:] {
			if line = cut(line); strings.Trim(line, " ,;") != "" {
				kept = append(kept, line)
			}
		}
		h["Cookie"] = kept
		if len(kept) == 0 {
			delete(h, "Cookie")
		}
		return
	}
}

// cleanConnection removes the injected names from the Connection field, which
// only an upgrade has by now: the next hop removes the fields that are listed
// there (RFC 9110 section 7.6.1), and a caller could strip the token that way.
func (f filter) cleanConnection(h http.Header) {
	listed := false
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			listed = listed || f.isCopy(strings.TrimSpace(option))
		}
	}
	if !listed {
		return
	}
	var kept []string
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if option = strings.TrimSpace(option); option != "" && !f.isCopy(option) {
				kept = append(kept, option)
			}
		}
	}
	if kept == nil {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// overrideNames are read by isOverride.
var overrideNames = realm.OverrideHeaders()

// isOverride reports whether some server takes the field for the method or the
// path of the request.
func isOverride(name string) bool {
	for _, o := range overrideNames {
		if isAlias(name, o) {
			return true
		}
	}
	return false
}

// isForwarded reports whether a field tells a server about the hops before it.
func isForwarded(name string) bool {
	const family = "X-Forwarded-"
	if len(name) > len(family) && isAlias(name[:len(family)], family) {
		return true
	}
	return isAlias(name, "Via") || isAlias(name, "Forwarded") || isAlias(name, "X-Forwarded") || isAlias(name, "X-Real-Ip")
}

// isAlias reports whether some upstream takes the two field names for one. CGI
// programs, and with them PHP, WSGI and Rack, see X-Access-Token as
// HTTP_X_ACCESS_TOKEN. On the way servers turn "-" and "." into "_", and older
// ones everything but letters and digits (RFC 3875 section 4.1.18).
func isAlias(name, ours string) bool {
	if len(name) != len(ours) {
		return false
	}
	for i := range len(name) {
		if foldByte(name[i]) != foldByte(ours[i]) {
			return false
		}
	}
	return true
}

// foldByte makes equal the bytes that such servers make equal. Everything but
// letters and digits becomes "-".
func foldByte(b byte) byte {
	switch {
	case 'A' <= b && b <= 'Z':
		return b | 0x20
	case 'a' <= b && b <= 'z', '0' <= b && b <= '9':
		return b
	}
	return '-'
}
