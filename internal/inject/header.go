package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// filter says which of the caller's header fields and trailers do not go to
// the provider: other copies of what is injected, the credentials with which
// the caller proved itself to us, and what tells about the caller's network.
//
// The copies are left out of a copy of the header, so that the request that a
// log prints, or a retry sends, is the caller's. The rest is deleted in place:
// reverse_proxy hands its transport a header map of its own, and a log that
// lacks these fields lacks nothing. That saves the copy where only the query
// gets a token, and Caddy the work of encoding them for a debug log that is
// not written. Trailers are deleted in place as well: only the map
// that the request came with is filled when its body ends.
type filter struct {
	places        []realm.Place
	authenticated bool
	forwarded     bool
}

// header returns the header to send.
func (f filter) header(h http.Header, lease *realm.Lease) http.Header {
	n := 0
	for _, p := range f.places {
		if p.In == realm.PlaceHeader {
			n++
		}
	}
	strip(h, f.private)
	if n == 0 {
		return h
	}
	out := make(http.Header, n+len(h))
	for name, values := range h {
		if !f.copies(name) {
			out[name] = values
		}
	}
	f.unlist(out)
	for i, p := range f.places {
		if p.In == realm.PlaceHeader {
			out[p.Name] = lease.Values[i : i+1 : i+1]
		}
	}
	return out
}

// strip deletes in place. It deletes only what it has seen: on a retry there
// is nothing left, and a write loop of the attempt before may still read the
// map.
func strip(h http.Header, drops func(name string) bool) {
	for name := range h {
		if drops(name) {
			delete(h, name)
		}
	}
}

// drops says whether a field stays behind.
func (f filter) drops(name string) bool { return f.copies(name) || f.private(name) }

// private says whether a field is none of the provider's business.
func (f filter) private(name string) bool {
	if f.authenticated && (alias(name, "Authorization") || alias(name, "Proxy-Authorization")) {
		return true
	}
	return !f.forwarded && isForwarded(name)
}

// copies says whether the name is another spelling of an injected one.
func (f filter) copies(name string) bool {
	for i := range f.places {
		if f.places[i].In == realm.PlaceHeader && alias(name, f.places[i].Name) {
			return true
		}
	}
	return false
}

// unlist takes the injected names out of the Connection field (an upgrade has
// one): the next hop would remove what is listed there (RFC 9110 section
// 7.6.1).
func (f filter) unlist(h http.Header) {
	listed := false
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			listed = listed || f.copies(strings.TrimSpace(option))
		}
	}
	if !listed {
		return
	}
	var kept []string
	for _, line := range h["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if option = strings.TrimSpace(option); option != "" && !f.copies(option) {
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

// isForwarded lists the fields that tell a server about the hops in front.
func isForwarded(name string) bool {
	const family = "X-Forwarded-"
	if len(name) > len(family) && alias(name[:len(family)], family) {
		return true
	}
	return alias(name, "Via") || alias(name, "Forwarded") || alias(name, "X-Forwarded") || alias(name, "X-Real-Ip")
}

// alias says whether some upstream takes the two names for one. CGI, and with
// it PHP, WSGI and Rack, sees X-Access-Token as HTTP_X_ACCESS_TOKEN; servers
// turn "_", "." and, the older ones, everything but letters and digits into
// "_" on the way (RFC 3875 section 4.1.18).
func alias(name, ours string) bool {
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

func foldByte(b byte) byte {
	switch {
	case 'A' <= b && b <= 'Z':
		return b | 0x20
	case 'a' <= b && b <= 'z', '0' <= b && b <= '9':
		return b
	}
	return '-'
}
