package apiclient

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const canary = "canary5f1c"

// serve is an API of one function.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestJSON: a verb sends a value, reads another, and gets the API's own words
// where that refuses.
func TestJSON(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/x/api/echo":
			if r.Header.Get("Authorization") != "Bearer "+canary || (len(body) > 0) != (r.Header.Get("Content-Type") == "application/json") {
				t.Errorf("%v %s", r.Header, body)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"method": "` + r.Method + `", "got": "` + strings.ReplaceAll(string(body), `"`, "") + `"}`))
		case "/x/api/wrong":
			d := problem.New(http.StatusConflict, realm.CodeConflict, "it is there")
			d.Field, d.Reason = "id", "twice"
			d.Write(w)
		case "/x/api/earlier":
			d := problem.New(http.StatusNotFound, realm.CodeRealmNotFound, "realm 不存在")
			d.Reason = "there is no such realm"
			d.Write(w)
		case "/x/api/forbidden":
			problem.New(http.StatusForbidden, realm.CodeForbidden, "no").Write(w)
		case "/x/api/moved":
			http.Redirect(w, r, "/x/api/echo", http.StatusFound)
		case "/x/api/text":
			_, _ = w.Write([]byte("hello " + canary))
		default:
			http.Error(w, canary, http.StatusTeapot)
		}
	})
	c := newClient(t, Options{Base: base + "/x/", Token: canary})
	var got struct{ Method, Got string }
	if err := c.JSON(t.Context(), http.MethodPost, "/api/echo", map[string]int{"a": 1}, &got); err != nil || got.Method != http.MethodPost || got.Got != "{a:1}" {
		t.Errorf("%+v %v", got, err)
	}
	if err := c.JSON(t.Context(), http.MethodDelete, "/api/echo", nil, nil); err != nil {
		t.Error(err)
	}
	err := c.JSON(t.Context(), http.MethodGet, "/api/wrong", nil, nil)
	var refused *RefusedError
	if !errors.As(err, &refused) || *refused != (RefusedError{409, realm.CodeConflict, "id", "it is there: twice"}) || err.Error() != refused.Detail {
		t.Errorf("%#v", err)
	}
	if err := c.JSON(t.Context(), http.MethodGet, "/api/earlier", nil, nil); err == nil || err.Error() != "there is no such realm" {
		t.Errorf("the words of the earlier services: %v", err)
	}
	for path, want := range map[string]error{"/api/forbidden": ErrForbidden, "/api/moved": ErrNotAPI, "/api/text": ErrNotAPI} {
		if err := c.JSON(t.Context(), http.MethodGet, path, nil, &got); !errors.Is(err, want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := c.JSON(t.Context(), http.MethodGet, "/api/other", nil, nil); !errors.As(err, &refused) || refused.Status != 418 || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

// TestDo: a response streams, whatever its status is, and an error quotes no
// address.
func TestDo(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "操作员" || password != canary+":x" {
			t.Errorf("%q %q", user, password)
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("a\nb\n"))
	})
	c := newClient(t, Options{Base: base, User: "操作员", Password: canary + ":x"})
	resp, err := c.Do(t.Context(), http.MethodGet, "/api/audit", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "a\nb\n" || resp.StatusCode != http.StatusTeapot {
		t.Errorf("%d %q %v", resp.StatusCode, body, err)
	}
	nobody := newClient(t, Options{Base: "http://127.0.0.1:1"})
	none, err := nobody.Do(t.Context(), http.MethodGet, "/api/x?"+canary, nil)
	if err == nil {
		_ = none.Body.Close()
	}
	if u := new(url.Error); !errors.Is(err, ErrUnreachable) || errors.As(err, &u) || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

// TestOptions: what cannot be meant is said before anything is sent, without
// what is confidential.
func TestOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"no scheme: write http://localhost:8081/x": {Base: "localhost:8081/x"}, "no scheme: write https://tokens.example:8443": {Base: "tokens.example:8443"},
		"no scheme: write it as http://localhost:8081": {Base: "u:" + canary + "@localhost"}, "no scheme: write http://[::1]:80": {Base: "[::1]:80"},
		"has no scheme: write it as": {Base: "localhost:8081?" + canary}, "no scheme: write it as http://localhost": {Base: "localhost:8081#" + canary},
		// What other tools take as a port of this machine is no URL.
		"no scheme: write http://localhost:18081": {Base: ":18081"}, "no host: write http://localhost:18082/x": {Base: "http://:18082/x"},
		// It is a slip, and no scheme mends it.
		"has the port 99999999, which is not one from 1 to 65535": {Base: "localhost:99999999"}, "has the port 65536, which": {Base: "https://tokens.example:65536/x"},
		"has the port 0, which": {Base: "http://localhost:0"}, "has the port 70000, which": {Base: ":70000"}, "has the port 000, which": {Base: "[::1]:000"},
		"begins with http:// or https://": {Base: "ftp://localhost"}, "cannot be read": {Base: "http://"},
		"no user, no password": {Base: "http://u:" + canary + "@localhost"}, "no query": {Base: "http://localhost?" + canary},
		"not both": {Token: canary, User: "u"}, "no colon": {User: "a:" + canary}, "one word": {Token: canary + "\n" + canary},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for base, inClear := range map[string]bool{
		"": false, "http://localhost:65535": false, "http://localhost:1": false, "http://127.0.0.1:8081": false, "http://[::1]:8081": false, "https://tokens.example": false,
		"http://tokens.example": true, "http://10.0.0.1:8081": true, "http://localhost.example": true,
	} {
		if got := newClient(t, Options{Base: base}).IsInClear(); got != inClear {
			t.Errorf("%q: %v", base, got)
		}
	}
}

// TestNoProxy: secrets go to the API itself. (A proxy of the environment would
// be left out for loopback addresses in any case, so that it takes a look at the
// client.)
func TestNoProxy(t *testing.T) {
	if newClient(t, Options{}).http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is asked for")
	}
}
