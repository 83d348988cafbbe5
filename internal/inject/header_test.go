package inject

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// headerParsers are how upstreams read one header field: all its values.
var headerParsers = []struct {
	name   string
	values func(h http.Header, name string) []string
}{
	{"go", func(h http.Header, name string) []string { return h.Values(name) }},
	{"servlet", func(h http.Header, name string) []string { return fieldsBy(h, name, strings.ToLower) }},
	{"wsgi, rack, php", func(h http.Header, name string) []string { return fieldsBy(h, name, cgiName) }},
	{"old cgi", func(h http.Header, name string) []string { return fieldsBy(h, name, oldCGIName) }},
	{"asp.net", func(h http.Header, name string) []string {
		if all := fieldsBy(h, name, strings.ToUpper); len(all) > 0 {
			return []string{strings.Join(all, ",")}
		}
		return nil
	}},
}

func fieldsBy(h http.Header, name string, fold func(string) string) []string {
	var out []string
	for n, values := range h {
		if fold(n) == fold(name) {
			out = append(out, values...)
		}
	}
	return out
}

// cgiName is RFC 3875 section 4.1.18, with PHP's "." and " ".
func cgiName(name string) string {
	return "HTTP_" + strings.NewReplacer("-", "_", ".", "_", " ", "_").Replace(strings.ToUpper(name))
}

// oldCGIName turns whatever is no letter or digit into "_", as Apache 2.2 and
// lighttpd do.
func oldCGIName(name string) string {
	return "HTTP_" + strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

// checkHeader fails unless every upstream reads exactly our value.
func checkHeader(t tester, h http.Header, name, want string) {
	t.Helper()
	for _, p := range headerParsers {
		equal(t, []string{want}, p.values(h, name), p.name+" reads "+name)
	}
}

func TestHeaderCopiesGo(t *testing.T) {
	for _, alias := range []string{
		"X-Access-Token", "x-access-token", "X_Access_Token", "x_access-token", "X.Access.Token",
		"X Access Token", "X-ACCESS-TOKEN", "X+Access~Token", "X|Access^Token",
	} {
		req := get("/")
		req.Header = http.Header{alias: {"evil", "evil2"}, "X-Access-Tokens": {"1"}, "Access-Token": {"2"}}
		out, _ := send(t, apiLease(inCustom), req)
		checkHeader(t, out.Header, "X-Access-Token", token)
		equal(t, []string{"1"}, out.Header["X-Access-Tokens"], "a field of another name")
		equal(t, []string{"2"}, out.Header["Access-Token"], "a field of another name")
		equal(t, []string{"evil", "evil2"}, req.Header[alias], "the caller's request")
	}
}

func TestHeaderSeveralPlaces(t *testing.T) {
	req := get("/?access_token=evil")
	req.Header = http.Header{"Authorization": {"Basic evil"}, "X_access_token": {"evil"}, "Accept": {"*/*"}}
	out, _ := send(t, apiLease(inHeader, inCustom, inQuery), req)
	checkHeader(t, out.Header, "Authorization", "Bearer "+token)
	checkHeader(t, out.Header, "X-Access-Token", token)
	equal(t, ours, out.URL.RawQuery, "query")
	equal(t, "access_token=evil", req.URL.RawQuery, "the caller's query")
	equal(t, 3, len(out.Header), "fields")
}

// A Connection header cannot make the next hop drop the token, in any
// spelling.
func TestHeaderConnectionCannotStrip(t *testing.T) {
	for _, tt := range []struct{ in, want []string }{
		{[]string{"close, Authorization"}, []string{"close"}},
		{[]string{"authorization"}, nil},
		{[]string{"AUTHORIZATION,authorization , Upgrade"}, []string{"Upgrade"}},
		{[]string{"Upgrade", "keep-alive, Authorization"}, []string{"Upgrade, keep-alive"}},
		{[]string{",,\tAuthorization\t,"}, nil},
		{[]string{"Upgrade,  X-Other"}, []string{"Upgrade,  X-Other"}},
	} {
		req := get("/")
		req.Header["Connection"] = slices.Clone(tt.in)
		out, _ := send(t, apiLease(inHeader), req)
		equal(t, tt.want, out.Header["Connection"], strings.Join(tt.in, "|"))
		equal(t, tt.in, req.Header["Connection"], "the caller's request")
		checkHeader(t, out.Header, "Authorization", "Bearer "+token)
	}
}

func TestHeaderForwardedFieldsStay(t *testing.T) {
	forwarded := http.Header{
		"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"proxy"},
		"X-Forwarded-Anything": {"1"}, "X_forwarded_for": {"10.0.0.1"}, "Forwarded": {"for=10.0.0.1"},
		"Via": {"1.1 Caddy"}, "X-Real-Ip": {"10.0.0.1"},
	}
	for _, place := range []realm.Place{inQuery, inHeader} {
		for _, allowed := range []bool{false, true} {
			req := get("/")
			req.Header = forwarded.Clone()
			req.Header.Set("Accept", "a/b")
			l := apiLease(place)
			l.Target.Forwarded = allowed
			out, _ := send(t, l, req)
			delete(out.Header, "Authorization")
			want := http.Header{"Accept": {"a/b"}}
			if allowed {
				want = forwarded.Clone()
				want.Set("Accept", "a/b")
			}
			equal(t, want, out.Header, "header fields")
		}
	}
}

// A field that changes the method or the path goes to no provider: what the
// request line says was judged.
func TestHeaderOverrides(t *testing.T) {
	for _, name := range []string{
		"X-Http-Method-Override", "X-HTTP-Method-Override", "x-http-method-override", "X_Http_Method_Override",
		"X-Http-Method", "X-Method-Override", "X.Method.Override", "X-Original-Url", "X-Original-URL", "X-Rewrite-Url", "X_REWRITE_URL",
	} {
		for _, place := range []realm.Place{inQuery, inHeader} {
			req := get("/")
			req.Header = http.Header{name: {"DELETE"}, "X-Http-Methods": {"1"}, "X-Original-Urls": {"2"}}
			out, _ := send(t, apiLease(place), req)
			delete(out.Header, "Authorization")
			equal(t, http.Header{"X-Http-Methods": {"1"}, "X-Original-Urls": {"2"}}, out.Header, name)
		}
	}
}

// The caller's own credentials are for us, or for nobody, whoever let the
// caller in: an mTLS proxy or forward_auth in front names no user. Only a realm that
// says so passes them on, and never those by which a directive here knew the
// caller. Another spelling of the name is not what the realm named.
func TestHeaderCredentialsOfTheCaller(t *testing.T) {
	credentials := http.Header{
		"Authorization": {"Basic own"}, "Proxy-Authorization": {"Basic own"}, "Cookie": {"session=1"},
		"authorization": {"Basic own"}, "Proxy_Authorization": {"Basic own"}, "COOKIE": {"session=1"},
	}
	for _, tt := range []struct {
		pass          []string
		authenticated bool
		want          []string
	}{
		{nil, false, nil},
		{nil, true, nil},
		{[]string{"Cookie"}, false, []string{"Cookie"}},
		{[]string{"Cookie"}, true, []string{"Cookie"}},
		{[]string{"Authorization"}, false, []string{"Authorization"}},
		{[]string{"Authorization"}, true, nil},
		{[]string{"Cookie", "Authorization"}, false, []string{"Authorization", "Cookie"}},
		{[]string{"Set-Cookie"}, false, nil},
	} {
		for _, place := range []realm.Place{inQuery, inCustom} {
			req := get("/")
			req.Header = credentials.Clone()
			req.Header.Set("X-Api-Key", "theirs")
			l := apiLease(place)
			l.Target.Pass = tt.pass
			out, _ := sendJob(t, Job{Lease: l, Dial: "api.example.com:443", Authenticated: tt.authenticated}, req)
			delete(out.Header, "X-Access-Token")
			want := http.Header{"X-Api-Key": {"theirs"}}
			for _, name := range tt.want {
				want[name] = credentials[name]
			}
			equal(t, want, out.Header, strings.Join(tt.pass, " "))
		}
	}
}

// A trailer is a header field that comes late.
func TestTrailerCredentialsOfTheCaller(t *testing.T) {
	for _, pass := range [][]string{nil, {"Cookie"}} {
		req := get("/")
		req.Trailer = http.Header{"Cookie": {"session=1"}, "Authorization": {"Basic own"}, "X-Http-Method": {"DELETE"}, "X-Checksum": {"1"}}
		l := apiLease(inQuery)
		l.Target.Pass = pass
		out, _ := send(t, l, req)
		want := http.Header{"X-Checksum": {"1"}}
		if pass != nil {
			want["Cookie"] = []string{"session=1"}
		}
		equal(t, want, out.Trailer, "trailers")
	}
}

// FuzzHeader: whatever fields a caller sends, each kind of upstream reads our
// value and no other, no Connection option names it, the other fields stay,
// and the caller's own header is not changed.
func FuzzHeader(f *testing.F) {
	f.Add("X_Access_Token", "evil", "close, X-Access-Token")
	f.Add("x-access-token", "evil", "Upgrade")
	f.Add("X-Other", "fine", "x_access_token,,")
	f.Fuzz(func(t *testing.T, name, value, connection string) {
		if strings.ContainsFunc(name+connection, func(r rune) bool { return r >= 0x80 }) {
			return // net/http sends no such names
		}
		h := http.Header{name: {value}, "Connection": {connection}}
		before := h.Clone()
		fl := filter{places: []realm.Place{inCustom}, forwarded: true}
		out := fl.outgoingHeader(h, apiLease(inCustom))
		equal(t, before, h, "the caller's header")
		checkHeader(t, out, "X-Access-Token", token)
		for _, line := range out["Connection"] {
			for option := range strings.SplitSeq(line, ",") {
				if oldCGIName(strings.TrimSpace(option)) == "HTTP_X_ACCESS_TOKEN" {
					t.Errorf("Connection lists %q", option)
				}
			}
		}
		if oldCGIName(name) != "HTTP_X_ACCESS_TOKEN" && name != "Connection" {
			equal(t, []string{value}, out[name], name)
		}
	})
}
