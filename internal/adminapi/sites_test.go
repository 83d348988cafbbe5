package adminapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A page of another site reaches nothing, not even a GET: a flush is one.
func TestOtherSites(t *testing.T) {
	for _, tt := range []struct {
		name    string
		header  []string
		refused bool
	}{
		{"no browser", nil, false},
		{"own page", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, false},
		{"own page, other case", []string{"Origin", "http://EXAMPLE.com"}, false},
		{"address bar", []string{"Sec-Fetch-Site", "none"}, false},
		{"other site", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"other port of the host", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"nonsense", []string{"Sec-Fetch-Site", "x"}, true},
		{"old browser, other site", []string{"Origin", "https://evil.example"}, true},
		{"old browser, other port", []string{"Origin", "http://example.com:81"}, true},
		{"sandboxed frame", []string{"Origin", "null"}, true},
		{"not a URL", []string{"Origin", "http://example.com\\@evil"}, true},
		{"prefix", []string{"Origin", "http://example.com.evil"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, c := newPuppet(t)
			for _, rt := range routes {
				p.ref = realm.Ref{Realm: "untouched"}
				target := strings.NewReplacer("{id}", "a", "{realm}", "b", "{key}", "c", "{taxpayer_id}", "9111").Replace(rt.path)
				a := c.send(rt.method, target+"?realm=a&key=b", strings.NewReader(`{"id":"a","realm":"a","key":"b"}`),
					append(tt.header, "Content-Type", "application/json")...)
				if !tt.refused || rt.kind == kindCallback { // which other sites lead to
					if a.status == http.StatusForbidden {
						t.Errorf("%s %s: %s", rt.method, rt.path, a.body)
					}
					continue
				}
				a.refused(http.StatusForbidden, "forbidden", "")
				if p.ref.Realm != "untouched" {
					t.Errorf("%s %s reached the broker", rt.method, rt.path)
				}
			}
		})
	}
}

// Before HTTP/1.1 a request need not name its host; that is not the host of
// an origin that has none.
func TestOtherSitesWithoutHost(t *testing.T) {
	_, c := newPuppet(t)
	r := httptest.NewRequest(http.MethodGet, "/api/status", nil)
	r.Host = ""
	r.Header.Set("Origin", "null")
	c.do(r).refused(http.StatusForbidden, "forbidden", "")
}
