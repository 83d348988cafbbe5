package adminapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzAPI sends anything to an API over a real broker that keeps what came
// before. Whatever it is, the answer is described (the caller checks that), is
// no internal error, and redirects nobody.
func FuzzAPI(f *testing.F) {
	s := newServer(f, definition())
	s.wxgzh()
	h := s.open(f, nowhere, nil) // no realm that is made up here reaches anybody
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(target, "/") {
			return // net/http does not let this in
		}
		c := caller{t, h}
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI = method, u, target
		r.Header.Set("Content-Type", "application/json")
		a := c.do(r)
		switch {
		case strings.HasPrefix(a.header.Get("Content-Type"), "text/html"):
			a.html(http.StatusBadRequest, pageWrong)
		case a.status == http.StatusInternalServerError, a.status >= 300 && a.status < 400:
			t.Errorf("%s %s %s: %d %s", method, target, body, a.status, a.body)
		case a.status != http.StatusOK:
			a.refused(a.status, a.document()["code"].(string), "")
		}
	})
}
