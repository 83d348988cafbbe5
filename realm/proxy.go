package realm

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap/zapcore"
)

// ProxyOff, in place of a URL, says that a realm goes without the proxy of the
// configuration.
const ProxyOff = "off"

// proxyResolve stands behind a URL where the proxy resolves the names.
const proxyResolve = "resolve"

// ProxyURL is what a realm says about its proxy: "off", or an http, https or socks5
// URL, and behind it "resolve" where the proxy looks the names up. Its password is
// confidential: every way of printing it masks user and password, unless the password is
// named as {secret.x}. Reveal gives all of it.
type ProxyURL string

var (
	_ fmt.Formatter           = ProxyURL("")
	_ json.Marshaler          = ProxyURL("")
	_ zapcore.ObjectMarshaler = ProxyURL("")
)

// Reveal returns the value itself.
func (p ProxyURL) Reveal() string { return string(p) }

// String masks the user and the password.
func (p ProxyURL) String() string {
	scheme, rest, ok := strings.Cut(string(p), "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 || isNamed(rest[:at]) {
		return string(p)
	}
	return scheme + "://" + Mask + rest[at:]
}

// GoString is String, for %#v.
func (p ProxyURL) GoString() string { return p.String() }

// Format is String, for every verb.
func (p ProxyURL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// MarshalJSON is String as a JSON string.
func (p ProxyURL) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// MarshalText is String.
func (p ProxyURL) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalLogObject tells zap which proxy it is.
func (p ProxyURL) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("url", p.String())
	return nil
}

// isNamed reports whether what is confidential in a userinfo is named as {secret.x}:
// the password, or a user without one, which some proxies take for a key.
func isNamed(userinfo string) bool {
	confidential := userinfo
	if _, password, ok := strings.Cut(userinfo, ":"); ok {
		confidential = password
	}
	return strings.HasPrefix(confidential, "{secret.") && strings.IndexByte(confidential, '}') == len(confidential)-1
}

// HasPassword reports whether a password, or a user without one, stands in the URL
// itself, and not as {secret.x}.
func (p ProxyURL) HasPassword() bool { return p.String() != string(p) }

// Parse splits the value. userinfo may hold {secret.x}; address is host:port. All
// are empty for a realm that says nothing, or off.
func (p ProxyURL) Parse() (parts ProxyParts, err error) {
	if p == "" || p == ProxyOff {
		return ProxyParts{}, nil
	}
	text, word, hasWord := strings.Cut(string(p), " ")
	if hasWord && word != proxyResolve {
		return ProxyParts{}, fmt.Errorf("only %s may stand behind the URL", proxyResolve)
	}
	scheme, rest, _ := strings.Cut(text, "://")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		parts.Userinfo, rest = rest[:at], rest[at+1:]
	}
	u, err := url.Parse(scheme + "://" + rest)
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080"}
	if err != nil || u.Hostname() == "" || ports[u.Scheme] == "" || strings.ContainsAny(rest, "{}") {
		return ProxyParts{}, errProxy
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return ProxyParts{}, errProxyPath
	}
	parts.Scheme, parts.Host, parts.Resolve = u.Scheme, u.Host, hasWord
	if u.Port() == "" {
		parts.Host = strings.TrimSuffix(u.Host, ":") + ":" + ports[u.Scheme]
	}
	return parts, nil
}

var (
	errProxy     = fmt.Errorf("must be off, or the URL of a proxy: http, https or socks5, with a host")
	errProxyPath = fmt.Errorf("must be the URL of a proxy, without a path and a query")
)

// ProxyParts are the parts of a ProxyURL.
type ProxyParts struct {
	// Scheme is http, https or socks5; empty for no proxy.
	Scheme string
	// Userinfo is as it stands in the URL, percent-encoded.
	Userinfo string
	// Host is host:port.
	Host string
	// Resolve: the proxy looks the names up.
	Resolve bool
}

// Proxy is a proxy with the credentials filled in.
type Proxy struct {
	// Scheme is http, https or socks5.
	Scheme string
	// Host is host:port.
	Host string
	// User and Password are empty for none.
	User, Password Hidden
	// Resolve: the proxy looks the names up, and which addresses they have is not
	// checked here.
	Resolve bool
	// Trusted: the operator named it in the configuration file. Any other may be
	// reached on public addresses only.
	Trusted bool
}

// With fills the credentials in, percent-encoded as they stand in a URL; nil where
// there is no proxy.
func (parts ProxyParts) With(userinfo string, trusted bool) (*Proxy, error) {
	if parts.Scheme == "" {
		return nil, nil
	}
	p := &Proxy{Scheme: parts.Scheme, Host: parts.Host, Resolve: parts.Resolve, Trusted: trusted}
	user, password, _ := strings.Cut(userinfo, ":")
	for _, field := range []struct {
		to   *Hidden
		text string
	}{{&p.User, user}, {&p.Password, password}} {
		plain, err := url.PathUnescape(field.text)
		if err != nil || strings.ContainsFunc(plain, isControl) {
			return nil, fmt.Errorf("the user and the password must be percent-encoded, and have no control characters")
		}
		*field.to = Hidden(plain)
	}
	if strings.Contains(string(p.User), ":") && p.Scheme != "socks5" {
		return nil, fmt.Errorf("the user must not hold a colon (RFC 7617 section 2)")
	}
	if p.Scheme == "socks5" && slices.ContainsFunc([]Hidden{p.User, p.Password}, func(h Hidden) bool { return len(h) > 255 }) {
		return nil, fmt.Errorf("the user and the password must not be longer than 255 bytes (RFC 1929)")
	}
	return p, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
