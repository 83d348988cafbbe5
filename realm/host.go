package realm

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

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

var (
	errHost     = errors.New("must be host or host:port, without scheme and path")
	errPort     = errors.New("must have a port from 1 to 65535, or none")
	errHostName = errors.New("is not a valid host name")
)

// ParseHostPattern reads "api.example.com", "*.example.com:8443",
// "[::1]:8080".
func ParseHostPattern(s string) (HostPattern, error) {
	var p HostPattern
	if strings.Contains(s, "/") {
		return p, errHost
	}
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
	_, ip := parseIP(p.host)
	if wild && (ip || !strings.Contains(p.host, ".")) {
		return p, errors.New(`must have a domain of at least two labels behind "*."`)
	}
	return p, nil
}

// Match reports whether a request to host:port with the given scheme may carry
// the token. hostport is what is dialled, or a Host header.
func (p HostPattern) Match(hostport, scheme string) bool {
	host, port, err := splitHostPort(hostport)
	if err != nil || host == "" {
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

// String is the pattern in its canonical spelling.
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

// defaultPort is the port that a URL of the scheme means where it names none.
func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// splitHostPort splits "host", "host:port", "[v6]:port", "[v6]" and a bare
// "v6"; port 0 means that there was none. It allocates nothing for a good one.
func splitHostPort(s string) (string, uint16, error) {
	if strings.HasPrefix(s, "[") {
		return splitBracketed(s)
	}
	switch strings.Count(s, ":") {
	case 0:
		return s, 0, nil
	case 1:
		host, text, _ := strings.Cut(s, ":")
		port, err := parsePort(text)
		return host, port, err
	}
	if !isIPv6(s) {
		return "", 0, errHost
	}
	return s, 0, nil
}

// splitBracketed splits "[v6]" and "[v6]:port" (RFC 3986 section 3.2.2).
func splitBracketed(s string) (string, uint16, error) {
	host, rest, found := strings.Cut(s[1:], "]")
	if !found || !isIPv6(host) {
		return "", 0, errHost
	}
	if rest == "" {
		return host, 0, nil
	}
	text, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return "", 0, errHost
	}
	port, err := parsePort(text)
	return host, port, err
}

// parsePort reads a port; 0 is none that can be dialled.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errPort
	}
	return uint16(n), nil
}

// canonicalHost makes two spellings of one host equal: case, trailing dot,
// internationalised names (UTS #46), forms of an IP address.
func canonicalHost(host string) (string, error) {
	if addr, ok := parseIP(host); ok {
		if addr.Zone() != "" {
			return "", errors.New("is an address with a zone, which is no host of an API")
		}
		return addr.Unmap().String(), nil
	}
	name := strings.TrimSuffix(host, ".")
	if isASCII(name) {
		name = strings.ToLower(name)
	} else {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil || !utf8.ValidString(name) {
			return "", errHostName
		}
		name = ascii
	}
	if !isDomain(name) {
		return "", errHostName
	}
	return name, nil
}

// Address is what is dialled: HostPort, and its parts.
type Address struct{ HostPort, Host, Port string }

// AddressOf is the address of a base URL, as a name: it is resolved when it is dialled.
func AddressOf(base *url.URL) Address {
	a := Address{Host: base.Hostname(), Port: base.Port()}
	if ascii, err := idna.Lookup.ToASCII(a.Host); err == nil {
		a.Host = ascii
	}
	n, err := strconv.ParseUint(a.Port, 10, 16)
	switch {
	case err == nil:
		a.Port = strconv.FormatUint(n, 10) // Caddy has no zeros in front
	case base.Scheme == "http":
		a.Port = "80"
	default:
		a.Port = "443"
	}
	a.HostPort = net.JoinHostPort(a.Host, a.Port)
	return a
}

// isDomain checks a name in lower case: labels of letters, digits, hyphens
// and, as containers and service records have them, underscores (RFC 1123
// section 2.1 and RFC 2181 section 11).
func isDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// parseIP reads an address. It looks before it tries: a failed attempt costs
// an allocation, and most hosts are names.
func parseIP(host string) (netip.Addr, bool) {
	if host == "" || !strings.Contains(host, ":") && !isDigit(host[len(host)-1]) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

func isIPv6(host string) bool {
	addr, ok := parseIP(host)
	return ok && addr.Is6()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
