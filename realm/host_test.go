package realm

import (
	"net/url"
	"strings"
	"testing"
)

func pattern(t testing.TB, s string) HostPattern {
	t.Helper()
	p, err := ParseHostPattern(s)
	if err != nil {
		t.Fatalf("ParseHostPattern(%q): %v", s, err)
	}
	return p
}

func TestHostPatternMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, host, scheme string
		want                  bool
	}{
		{"api.example.com", "api.example.com", "https", true},
		{"api.example.com", "api.example.com:443", "https", true},
		{"api.example.com", "api.example.com:80", "http", true},
		{"api.example.com", "api.example.com:443", "http", false},
		{"api.example.com", "api.example.com:8443", "https", false},
		{"api.example.com:8443", "api.example.com:8443", "https", true},
		{"api.example.com:8443", "api.example.com", "https", false},
		{"api.example.com", "API.Example.COM.", "https", true},
		{"API.example.com.", "api.example.com", "https", true},
		{"api.example.com", "evil.com", "https", false},
		{"api.example.com", "api.example.com.evil.com", "https", false},
		{"api.example.com", "xapi.example.com", "https", false},
		{"api.example.com", "", "https", false},
		{"api.example.com", "api.example.com..", "https", false},
		{"api.example.com", "api.example.com:", "https", false},
		{"api.example.com", "api.example.com:443:443", "https", false},
		{"api.example.com", "user@api.example.com", "https", false},
		{"*.example.com", "shop.example.com", "https", true},
		{"*.example.com", "SHOP.example.com", "https", true},
		{"*.example.com", "a.shop.example.com", "https", false},
		{"*.example.com", "example.com", "https", false},
		{"*.example.com", ".example.com", "https", false},
		{"*.example.com", "*.example.com", "https", false},
		{"bücher.example", "xn--bcher-kva.example", "https", true},
		{"xn--bcher-kva.example", "BÜCHER.example", "https", true},
		{"token_server.internal", "token_server.internal", "https", true},
		{"r3---sn-4g5e.example.com", "r3---sn-4g5e.example.com", "https", true},
		{"127.0.0.1", "127.0.0.1", "http", true},
		{"127.0.0.1", "[::ffff:127.0.0.1]:443", "https", true},
		{"127.0.0.1", "127.1", "https", false},
		{"[::1]:8080", "[::1]:8080", "http", true},
		{"::1", "[0:0:0:0:0:0:0:1]", "https", true},
		{"[::1]", "::1", "https", true},
		{"[::1]", "[::1%25lo]", "https", false},
	} {
		if got := pattern(t, c.pattern).Match(c.host, c.scheme); got != c.want {
			t.Errorf("%q matches %s://%s: %v, want %v", c.pattern, c.scheme, c.host, got, c.want)
		}
	}
}

func TestZeroHostPatternMatchesNothing(t *testing.T) {
	for _, host := range []string{"", ":443", ".", "example.com"} {
		if (HostPattern{}).Match(host, "https") {
			t.Errorf("the zero pattern matches %q", host)
		}
	}
}

func TestHostPatternRefusals(t *testing.T) {
	for host, reason := range map[string]string{
		"":                                "not a valid host name",
		"https://api.example.com":         "without scheme and path",
		"api.example.com/v1":              "without scheme and path",
		"api.example.com:0":               "port",
		"api.example.com:65536":           "port",
		"api.example.com:https":           "port",
		"api.example.com:":                "port",
		"a:b:c":                           "host or host:port",
		"[api.example.com]":               "host or host:port",
		"[::1":                            "host or host:port",
		"[::1]x":                          "host or host:port",
		"[127.0.0.1]:80":                  "host or host:port",
		"fe80::1%eth0":                    "zone",
		"*.com":                           "two labels",
		"*.127.0.0.1":                     "two labels",
		"*.[::1]":                         "two labels",
		"*":                               "not a valid host name",
		"a.*.example.com":                 "not a valid host name",
		"*.*.example.com":                 "not a valid host name",
		"api..example.com":                "not a valid host name",
		"-api.example.com":                "not a valid host name",
		"api.example.com\n":               "not a valid host name",
		"user@api.example.com":            "not a valid host name",
		"api example.com":                 "not a valid host name",
		"\xff.example.com":                "not a valid host name",
		strings.Repeat("a", 64):           "not a valid host name",
		strings.Repeat("a.", 127) + "com": "not a valid host name",
	} {
		_, err := ParseHostPattern(host)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("ParseHostPattern(%q): %v, want %q", host, err, reason)
		}
	}
}

// Every proxied request asks this question.
func TestHostPatternMatchAllocatesNothing(t *testing.T) {
	exact, wild := pattern(t, "api.example.com"), pattern(t, "*.example.com")
	if n := testing.AllocsPerRun(100, func() {
		if !exact.Match("api.example.com:443", "https") || !wild.Match("api.example.com:443", "https") {
			t.Error("no match")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzHostPattern(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseHostPattern(s)
		if err != nil {
			return
		}
		again, err := ParseHostPattern(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is %v, and that is %v (%v)", s, p, again, err)
		}
		host := strings.TrimPrefix(p.String(), "*.")
		u, err := url.Parse("https://" + host)
		if err != nil || u.Host != host || u.Path != "" {
			t.Fatalf("%q: a URL with the host %q reads as %v (%v)", s, host, u, err)
		}
		if p.Match(host, "https") == p.wildcard {
			t.Fatalf("%q: %v and its own host %q", s, p, host)
		}
		if !p.wildcard {
			checkSpellings(t, p, host)
			return
		}
		if !p.Match("x."+host, "https") || p.Match("x.y."+host, "https") || p.Match("."+host, "https") {
			t.Fatalf("%q: %v is not for exactly one label", s, p)
		}
	})
}

func checkSpellings(t *testing.T, p HostPattern, host string) {
	if !p.Match(strings.ToUpper(host), "https") {
		t.Fatalf("%v does not match its upper case", p)
	}
	for _, evil := range []string{"x" + host, "x." + host, host + ".x", "x@" + host, host + "/", host + "#"} {
		if p.Match(evil, "https") && !strings.HasPrefix(host, "[") {
			t.Fatalf("%v matches %q", p, evil)
		}
	}
}

// What is dialled is the name of the API, and a port.
func TestAddressOf(t *testing.T) {
	for base, want := range map[string]Address{
		"https://api.example.com/v1":    {"api.example.com:443", "api.example.com", "443"},
		"http://api.example.com":        {"api.example.com:80", "api.example.com", "80"},
		"https://api.example.com:":      {"api.example.com:443", "api.example.com", "443"},
		"https://api.example.com:08443": {"api.example.com:8443", "api.example.com", "8443"},
		"https://b\u00fccher.example":   {"xn--bcher-kva.example:443", "xn--bcher-kva.example", "443"},
		"https://[::1]:1":               {"[::1]:1", "::1", "1"},
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		var target Target
		target.SetAPI(u)
		if target.API != u || *target.Dial != want {
			t.Errorf("%s: %v", base, *target.Dial)
		}
		if target.SetAPI(nil); target.API != nil || target.Dial != nil {
			t.Error("without an API there is an address")
		}
	}
}
