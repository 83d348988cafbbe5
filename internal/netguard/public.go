package netguard

import "net/netip"

// notPublic4 are the IPv4 ranges that are not the public internet, from the
// IANA IPv4 Special-Purpose Address Registry (RFC 6890), and one address of a
// cloud that looks public and is not.
var notPublic4 = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private (RFC 1918)
	"100.64.0.0/10",    // carrier-grade NAT (RFC 6598); Alibaba's metadata
	"127.0.0.0/8",      // loopback
	"169.254.0.0/16",   // link-local; the metadata services of most clouds
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments; Oracle's metadata
	"192.0.2.0/24",     // documentation (RFC 5737)
	"192.88.99.0/24",   // 6to4 relays (RFC 7526)
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks (RFC 2544)
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"168.63.129.16/32", // Azure's host service: public by number only
)

// globalUnicast6 is all that IANA has given to the public internet. What lies
// outside is refused without a list: loopback, IPv4-compatible, NAT64
// (64:ff9b::/96, 64:ff9b:1::/48), ULA, link-local, site-local, multicast.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// notPublic6 are the exceptions within, from the IANA IPv6 Special-Purpose
// Address Registry: they are not reachable, or embed an IPv4 address that
// could be a private one.
var notPublic6 = prefixes(
	"2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4
	"3fff::/20",     // documentation (RFC 9637)
)

// prefixes reads prefixes that are written in this file.
func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// IsPublic reports whether an address, unmapped and without a zone, belongs to the
// public internet.
func IsPublic(addr netip.Addr) bool {
	exceptions := notPublic4
	if addr.Is6() {
		if !globalUnicast6.Contains(addr) {
			return false
		}
		exceptions = notPublic6
	}
	for _, prefix := range exceptions {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}
