package inject

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// linked sends a request by way of a site, and returns the header of the answer.
func linked(t *testing.T, api string, site *Site, header http.Header, places ...realm.Place) http.Header {
	t.Helper()
	l := apiLease(places...)
	base, err := url.Parse(api)
	noError(t, err)
	l.Target.API, l.Target.RewriteLinks = base, true
	job := Job{Lease: l, Dial: "api.example.com:443", UseAPI: true, Site: site}
	resp, err := over(&recorder{header: header}, job).RoundTrip(get("/items?page=1"))
	noError(t, err)
	return read(t, resp).header
}

func TestRewriteLocation(t *testing.T) {
	site := &Site{Origin: "http://proxy:8080", Path: "/p"}
	for location, want := range map[string]string{
		"https://api.example.com/v3/items?page=2#top":           "http://proxy:8080/p/items?page=2#top",
		"HTTPS://API.example.com:443/v3/items":                  "http://proxy:8080/p/items",
		"//api.example.com/v3/items":                            "http://proxy:8080/p/items",
		"https://api.example.com/v3":                            "http://proxy:8080/p",
		"https://api.example.com/v3?q":                          "http://proxy:8080/p?q",
		"https://api.example.com/v3/a%2Fb;x/?a=%zz&&b=%20+;c":   "http://proxy:8080/p/a%2Fb;x/?a=%zz&&b=%20+;c",
		"https://api.example.com/v3/x?u=https://a.example/b//c": "http://proxy:8080/p/x?u=https://a.example/b//c",
		"/v3/items?page=2":                                      "/p/items?page=2",
		"/v3":                                                   "/p",

		// a place that the proxy does not reach
		"https://other.example.com/v3/items":     "https://other.example.com/v3/items",
		"http://api.example.com/v3/items":        "http://api.example.com/v3/items",
		"https://api.example.com:8443/v3/items":  "https://api.example.com:8443/v3/items",
		"https://api.example.com.evil/v3/items":  "https://api.example.com.evil/v3/items",
		"https://me@api.example.com/v3/items":    "https://me@api.example.com/v3/items",
		"https://api.example.com@evil/v3/items":  "https://api.example.com@evil/v3/items",
		"https://api.example.com/v30/items":      "https://api.example.com/v30/items",
		"https://api.example.com/other":          "https://api.example.com/other",
		"https://api.example.com":                "https://api.example.com",
		"/other":                                 "/other",
		"/login?to=https://api.example.com/v3/x": "/login?to=https://api.example.com/v3/x",
		"mailto:a@api.example.com":               "mailto:a@api.example.com",

		// a relative link is right already
		"items?page=2": "items?page=2",
		"?page=2":      "?page=2",
		"../a//b":      "../a//b",
		"#top":         "#top",
		"":             "",

		// the token is none of the caller's business
		"https://api.example.com/v3/items?access_token=" + tokenEscaped + "&page=2": "http://proxy:8080/p/items?page=2",
		"https://api.example.com/v3/items?page=2&ACCESS_TOKEN=other":                "http://proxy:8080/p/items?page=2",
		"https://api.example.com/v3/items?access_token=" + tokenEscaped:             "http://proxy:8080/p/items",
		"https://api.example.com/v3/items?a=1&t=" + tokenEscaped + "&b=2#x":         "http://proxy:8080/p/items?a=1&b=2#x",
		"?access_token=" + tokenEscaped + "&page=2":                                 "?page=2",
	} {
		got := linked(t, "https://api.example.com/v3/", site, http.Header{"Location": {location}}, inQuery)
		equal(t, want, got.Get("Location"), location)
	}
}

// The gateway's names stand in front, and a site without a prefix changes relative
// links only where the API has a base path.
func TestRewriteBySite(t *testing.T) {
	for _, c := range []struct {
		api      string
		site     *Site
		in, want string
	}{
		{"https://api.example.com", &Site{Origin: "https://a", Path: "/any/r%20x/k"}, "https://api.example.com/x", "https://a/any/r%20x/k/x"},
		{"https://api.example.com", &Site{Origin: "https://a", Path: "/any/r/k"}, "/x", "/any/r/k/x"},
		{"https://api.example.com", &Site{Origin: "https://a"}, "/x", "/x"},
		{"https://api.example.com/v3", &Site{Origin: "https://a"}, "/v3", "/"},
		{"https://api.example.com/v3", &Site{Origin: "https://a"}, "/v3/x", "/x"},
		{"https://api.example.com/v3", &Site{Origin: "https://a", Path: "/p", APIPath: "/w"}, "/v3/w/x", "/p/x"},
		{"https://api.example.com/v3", &Site{Origin: "https://a", Path: "/p", APIPath: "/w"}, "/v3/x", "/v3/x"},
		// A path that begins with two slashes would be read as a host.
		{"https://api.example.com/v3", &Site{Origin: "https://a"}, "/v3//evil.example/x", "https://a//evil.example/x"},
		{"https://api.example.com/v3", &Site{Origin: "https://a"}, `/v3/\evil.example/x`, `https://a/\evil.example/x`},
		{"https://api.example.com/v3", &Site{Origin: "https://a"}, "/v3/\t/evil.example/x", "https://a/\t/evil.example/x"},
		{"https://api.example.com/v3", &Site{Origin: "https://a", Path: "/p"}, "/v3//evil.example/x", "/p//evil.example/x"},
		{"https://api.example.com", nil, "https://api.example.com/x", "https://api.example.com/x"},
	} {
		got := linked(t, c.api, c.site, http.Header{"Location": {c.in}}, inHeader)
		equal(t, c.want, got.Get("Location"), c.in)
	}
}

// The token in the path is not in the way of who follows a link: a segment of its
// own is cut off, and one behind words is replaced.
func TestRewriteTokenInPath(t *testing.T) {
	for _, c := range []struct {
		place    realm.Place
		in, want string
	}{
		{atRoot, "/123:AA-b%2Fc/latest/USD?a=1", "/latest/USD?a=1"},
		{atRoot, "/123%3aAA-b%2fc/latest", "/latest"},
		{atRoot, "/123:AA-b%2Fc", ""},
		{atRoot, "/123:AA-b%2Fc/", "/"},
		{atRoot, "/latest/USD", "/latest/USD"},
		{atRoot, "", ""},
		{inPath, "/bot123:AA-b%2Fc/getMe", "/bot" + realm.Mask + "/getMe"},
	} {
		l := pathLease(c.place)
		l.Target.API, l.Target.RewriteLinks = &url.URL{Scheme: "https", Host: "api.example.com", Path: "/v1"}, true
		job := Job{Lease: l, Dial: "api.example.com:443", UseAPI: true, Site: &Site{Origin: "https://a", Path: "/p"}}
		resp, err := over(&recorder{header: http.Header{"Location": {"https://api.example.com/v1" + c.in}}}, job).RoundTrip(get("/x"))
		noError(t, err)
		noError(t, resp.Body.Close())
		equal(t, "https://a/p"+c.want, resp.Header.Get("Location"), c.in)
	}
}

func TestRewriteLinkField(t *testing.T) {
	site := &Site{Origin: "https://proxy", Path: "/p"}
	const api = "https://api.example.com/x"
	for field, want := range map[string]string{
		`<` + api + `?page=2>; rel="next", <` + api + `?page=9>; rel="last"`: `<https://proxy/p/x?page=2>; rel="next", <https://proxy/p/x?page=9>; rel="last"`,
		`<` + api + `?a=1,2>;rel=next`:                                       `<https://proxy/p/x?a=1,2>;rel=next`,
		`<` + api + `>; title="a, <` + api + `> \", b"; rel=next,</x>`:       `<https://proxy/p/x>; title="a, <` + api + `> \", b"; rel=next,</p/x>`,
		`<` + api + `>; anchor="` + api + `"`:                                `<https://proxy/p/x>; anchor="` + api + `"`,
		`, ,<` + api + `> ,`:                                                 `, ,<https://proxy/p/x> ,`,
		`<https://cdn.example.com/a.css>; rel=preload, <x>`:                  `<https://cdn.example.com/a.css>; rel=preload, <x>`,
		`<` + api:            `<` + api,
		`"` + api + `"`:      `"` + api + `"`,
		`<>; rel=self`:       `<>; rel=self`,
		`<` + api + `>; t="`: `<https://proxy/p/x>; t="`,
		``:                   ``,
	} {
		got := linked(t, "https://api.example.com", site, http.Header{"Link": {field, `<` + api + `>; rel=up`}}, inHeader)
		equal(t, []string{want, `<https://proxy/p/x>; rel=up`}, got["Link"], field)
	}
}

// Nothing is rewritten where the realm does not say so, nor in other fields.
func TestRewriteOnlyWhereAsked(t *testing.T) {
	const link = "https://api.example.com/x"
	l := apiLease(inHeader)
	job := Job{Lease: l, Dial: "api.example.com:443", Site: &Site{Origin: "https://proxy"}}
	rec := &recorder{header: http.Header{"Location": {link}}}
	resp, err := over(rec, job).RoundTrip(get("/"))
	noError(t, err)
	equal(t, link, read(t, resp).header.Get("Location"), "not asked")
	l.Target.RewriteLinks = true
	rec.header.Set("Content-Location", link)
	resp, err = over(rec, job).RoundTrip(get("/"))
	noError(t, err)
	a := read(t, resp)
	equal(t, "https://proxy/x", a.header.Get("Location"), "of a named upstream")
	equal(t, link, a.header.Get("Content-Location"), "another field")
}

// FuzzLinks: whatever an API sends, a field stays one line and shows no token.
func FuzzLinks(f *testing.F) {
	f.Add(`<https://api.example.com/x?access_token=` + tokenEscaped + `>; rel="next"`)
	f.Add(`<//api.example.com>,<>,"<`)
	f.Fuzz(func(t *testing.T, text string) {
		l := apiLease(inQuery)
		l.Target.RewriteLinks = true
		h := http.Header{"Location": {text}, "Link": {text}}
		out := &outgoing{url: url.URL{Scheme: "https", Host: "api.example.com"}}
		out.rewriteLinks(h, Job{Site: &Site{Origin: "https://proxy", Path: "/p"}}, sentTokens{l})
		for name, values := range h {
			if len(values) != 1 || strings.Count(values[0], "\n") > strings.Count(text, "\n") {
				t.Errorf("%s: %q became %q", name, text, values)
			}
			if strings.Contains(values[0], tokenEscaped) && !strings.Contains(text, tokenEscaped) {
				t.Errorf("%s: %q became %q", name, text, values)
			}
		}
	})
}
