package realm

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// HostPattern is one entry of a realm's hosts: a host with a port, perhaps
// with "*." for exactly one label in front. Port 0 stands for the default
// port of the request's scheme.
type HostPattern struct {
	host     string // lower case, ASCII, without trailing dot
	wildcard bool
	port     uint16
}

// ParseHostPattern reads "api.example.com", "*.example.com:8443",
// "[::1]:8080".
func ParseHostPattern(s string) (HostPattern, error) {
	var p HostPattern
	rest, wild := strings.CutPrefix(s, "*.")
	p.wildcard = wild
	host, port, err := splitHostPort(rest)
	if err != nil {
		return p, err
	}
	p.port = port
	if p.host, err = canonicalHost(host); err != nil {
		return p, err
	}
	if wild && (isIP(p.host) || !strings.Contains(p.host, ".")) {
		return p, errors.New(`"*." needs a domain of at least two labels behind it`)
	}
	return p, nil
}

// Match says whether a request to host:port with the given scheme may carry
// the token. hostport is what is dialled, or a Host header.
func (p HostPattern) Match(hostport, scheme string) bool {
	host, port, err := splitHostPort(hostport)
	if err != nil {
		return false
	}
	if port == 0 {
		port = defaultPort(scheme)
	}
	want := p.port
	if want == 0 {
		want = defaultPort(scheme)
	}
	if port != want {
		return false
	}
	if host == p.host && !p.wildcard { // the usual case, without an allocation
		return true
	}
	host, err = canonicalHost(host)
	if err != nil {
		return false
	}
	if !p.wildcard {
		return host == p.host
	}
	label, domain, ok := strings.Cut(host, ".")
	return ok && label != "" && domain == p.host
}

// String is the pattern as it is written.
func (p HostPattern) String() string {
	s := p.host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if p.wildcard {
		s = "*." + s
	}
	if p.port != 0 {
		s += ":" + strconv.Itoa(int(p.port))
	}
	return s
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// splitHostPort splits "host", "host:port", "[v6]:port", "[v6]" and a bare
// "v6"; port 0 means that there was none.
func splitHostPort(s string) (string, uint16, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is6() {
		return s, 0, nil
	}
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]"), 0, nil
	}
	if !strings.Contains(s, ":") {
		return s, 0, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("must be host or host:port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", 0, errors.New("the port must be a number from 1 to 65535")
	}
	return host, uint16(n), nil
}

// canonicalHost makes two spellings of one host equal: case, trailing dot,
// internationalised names, forms of an IP address.
func canonicalHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return "", errors.New("an address with a zone is no host of an API")
		}
		return addr.Unmap().String(), nil
	}
	host = strings.TrimSuffix(host, ".")
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil || ascii == "" {
		return "", errors.New("is not a valid host name")
	}
	return ascii, nil
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
