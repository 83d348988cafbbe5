package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func packed(t *testing.T, text string) *fstest.MapFile {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b.Bytes()}
}

func newPage(t *testing.T) *Page {
	t.Helper()
	p, err := New(fstest.MapFS{
		"index.html.gz": packed(t, "<html>"), "assets/index-1a2b.js.gz": packed(t, "let a"), "assets/i-3c.css.gz": packed(t, "a{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get asks the page for something; headers are name and value in turn.
func get(t *testing.T, p *Page, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	if !p.Serves(r) {
		t.Fatalf("%s %s is not served", method, target)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestPage(t *testing.T) {
	p := newPage(t)
	for target, want := range map[string]struct{ kind, cache, text string }{
		"/":                     {"text/html; charset=utf-8", "no-cache", "<html>"},
		"/?a=b":                 {"text/html; charset=utf-8", "no-cache", "<html>"},
		"/assets/index-1a2b.js": {"text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "let a"},
		"/assets/i-3c.css":      {"text/css; charset=utf-8", "public, max-age=31536000, immutable", "a{}"},
	} {
		plain := get(t, p, http.MethodGet, target)
		zipped := get(t, p, http.MethodGet, target, "Accept-Encoding", "br, gzip")
		z, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := io.ReadAll(z)
		if err != nil || string(unzipped) != want.text || plain.Body.String() != want.text {
			t.Errorf("%s: %v, %q and %q", target, err, unzipped, plain.Body)
		}
		if plain.Header().Get("Content-Encoding") != "" || zipped.Header().Get("Content-Encoding") != "gzip" ||
			plain.Header().Get("ETag") == zipped.Header().Get("ETag") {
			t.Errorf("%s: %v and %v", target, plain.Header(), zipped.Header())
		}
		for _, w := range []*httptest.ResponseRecorder{plain, zipped} {
			for name, value := range map[string]string{
				"Content-Type": want.kind, "Cache-Control": want.cache, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff",
				"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
					"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			} {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s: %s is %q, want %q", target, name, got, value)
				}
			}
			if w.Header().Get("Permissions-Policy") == "" || w.Header().Get("Content-Length") == "" {
				t.Errorf("%s: %v", target, w.Header())
			}
		}
	}
}

// TestPageIsKept: whoever has the page already is told so, and HEAD has no body.
func TestPageIsKept(t *testing.T) {
	p := newPage(t)
	for _, encoding := range []string{"", "gzip"} {
		first := get(t, p, http.MethodGet, "/", "Accept-Encoding", encoding)
		tag := first.Header().Get("ETag")
		for _, known := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			w := get(t, p, http.MethodGet, "/", "Accept-Encoding", encoding, "If-None-Match", known)
			if w.Code != http.StatusNotModified || w.Body.Len() > 0 || w.Header().Get("ETag") != tag || w.Header().Get("Content-Security-Policy") == "" {
				t.Errorf("%q with %s: %d %v", encoding, known, w.Code, w.Header())
			}
		}
		if w := get(t, p, http.MethodGet, "/", "Accept-Encoding", encoding, "If-None-Match", `"other"`); w.Code != http.StatusOK {
			t.Errorf("with another tag: %d", w.Code)
		}
		w := get(t, p, http.MethodHead, "/", "Accept-Encoding", encoding)
		if w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") != first.Header().Get("Content-Length") {
			t.Errorf("HEAD: %d %v %q", w.Code, w.Header(), w.Body)
		}
	}
}

func TestPageServesNothingElse(t *testing.T) {
	p := newPage(t)
	for _, target := range []string{
		"/index.html", "/index.html.gz", "/assets", "//", "/./", "/%2f",
		"/api/realm", "/realms", "/assets%2findex-1a2b.js",
	} {
		if p.Serves(httptest.NewRequest(http.MethodGet, "http://a.example"+target, nil)) {
			t.Errorf("%s is served", target)
		}
	}
	for _, target := range []string{"/assets/", "/assets/none.js", "/assets/index-1a2b.js.gz", "/assets/../"} {
		if w := get(t, p, http.MethodGet, "http://a.example"+target); w.Code != http.StatusNotFound || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		if p.Serves(httptest.NewRequest(method, "/", nil)) {
			t.Errorf("%s is served", method)
		}
	}
}

func TestTakesGzip(t *testing.T) {
	for field, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br": false, "br, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0, *": false, "*": true, "*;q=0": false,
		"gzip;q=x": false, "identity": false, "xgzip": false, "*;q=0, gzip": true,
	} {
		if got := takesGzip([]string{field}); got != want {
			t.Errorf("%q: %v", field, got)
		}
	}
}

func TestPageIsRefused(t *testing.T) {
	for what, files := range map[string]fstest.MapFS{
		"no index":         {"assets/a.js.gz": packed(t, "a")},
		"not compressed":   {"index.html.gz": packed(t, "a"), "assets/a.js": packed(t, "a")},
		"of no known type": {"index.html.gz": packed(t, "a"), "assets/a.exe.gz": packed(t, "a")},
		"elsewhere":        {"index.html.gz": packed(t, "a"), "b.js.gz": packed(t, "a")},
	} {
		if p, err := New(files); err == nil {
			t.Errorf("%s: %v", what, p)
		}
	}
}

// TestBuiltPage: what is embedded can be served, and asks no other site for
// anything.
func TestBuiltPage(t *testing.T) {
	p, err := Built()
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range p.files {
		text, err := f.plain()
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	index := get(t, p, http.MethodGet, "/").Body.String()
	if !strings.Contains(index, "./assets/") || strings.Contains(index, "://") || strings.Contains(index, `="/`) {
		t.Errorf("the page does not work below a path, or loads something from elsewhere:\n%s", index)
	}
}
