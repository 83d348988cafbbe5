package adminapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noon is the clock of the tests that do not need a moving one.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newLocal makes an API for callers that may do everything, unless a test says
// who the caller is.
func newLocal(b Broker, c Catalog, opts Options) http.Handler {
	api := New(b, c, opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if callerOf(r.Context()) == (Caller{}) {
			r = r.WithContext(WithCaller(r.Context(), Caller{Kind: KindLocal, Login: &testLogin{who: Caller{Kind: KindLocal}}}))
		}
		api.ServeHTTP(w, r)
	})
}

// caller sends requests to a handler, and holds every answer against what the
// description says about it.
type caller struct {
	t testing.TB
	h http.Handler
}

// answer is an answer with its body read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// json sends a request with a JSON body; "" for none.
func (c caller) json(method, target, body string) answer {
	c.t.Helper()
	if body == "" {
		return c.send(method, target, nil)
	}
	return c.send(method, target, strings.NewReader(body), "Content-Type", "application/json")
}

func (c caller) get(target string) answer {
	c.t.Helper()
	return c.send(http.MethodGet, target, nil)
}

// send sends a request with headers as name and value in turn.
func (c caller) send(method, target string, body io.Reader, header ...string) answer {
	c.t.Helper()
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return c.do(r)
}

// do has a request answered, and checks what holds for every answer.
func (c caller) do(r *http.Request) answer {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	a := answer{c.t, w.Code, w.Header(), w.Body.String()}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := w.Header().Values(name); len(got) != 1 || got[0] != want {
			c.t.Errorf("%s %s: %s is %q", r.Method, r.URL, name, got)
		}
	}
	// The pages of the callback add their style to it.
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
		if got := w.Header().Values("Content-Security-Policy"); len(got) != 1 || !strings.Contains(got[0], want) {
			c.t.Errorf("%s %s: Content-Security-Policy is %q", r.Method, r.URL, got)
		}
	}
	if req, _, err := find(routes, r); err == nil {
		checkDescribed(c.t, req.route, a)
	}
	return a
}

// document is the body as JSON.
func (a answer) document() map[string]any {
	a.t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		a.t.Fatalf("%d: not a JSON object: %s", a.status, a.body)
	}
	return doc
}

// ok expects a 200 whose body means the same as want.
func (a answer) ok(want string) {
	a.t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		a.t.Fatal(err)
	}
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		a.t.Fatalf("status %d, type %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if diff := cmp.Diff(w, any(a.document())); diff != "" {
		a.t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// without removes members, so that the rest can be compared.
func (a answer) without(names ...string) answer {
	a.t.Helper()
	doc := a.document()
	for _, name := range names {
		if _, ok := doc[name]; !ok {
			a.t.Errorf("%q is not in the answer: %s", name, a.body)
		}
		delete(doc, name)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		a.t.Fatal(err)
	}
	a.body = string(b)
	return a
}

// refused expects a problem document (RFC 9457) with this status, code and
// detail ("" for any), and returns it. Its title is English: that of the
// status, or what the detail says in the earlier services' words.
func (a answer) refused(status int, code, detail string) map[string]any {
	a.t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Fatalf("want a problem %d, got %d, type %s: %s", status, a.status, a.header.Get("Content-Type"), a.body)
	}
	doc := a.document()
	if detail == "" {
		detail, _ = doc["detail"].(string)
	}
	for name, want := range map[string]any{
		"status": float64(status), "code": code, "detail": detail, "message": detail,
	} {
		if doc[name] != want {
			a.t.Errorf("%s: want %v, got %v in %s", name, want, doc[name], a.body)
		}
	}
	isChinese := func(r rune) bool { return r > '~' }
	title, _ := doc["title"].(string)
	if strings.ContainsFunc(title, isChinese) || (title == http.StatusText(status)) == strings.ContainsFunc(a.earlierText(), isChinese) {
		a.t.Errorf("title %q in %s", title, a.body)
	}
	return doc
}

// earlierText is the detail without what a provider or a caller wrote.
func (a answer) earlierText() string {
	detail, _ := a.document()["detail"].(string)
	text, _, _ := strings.Cut(detail, ": ")
	return text
}

// wrong expects a 400 that names the field.
func (a answer) wrong(field string) {
	a.t.Helper()
	doc := a.refused(http.StatusBadRequest, "invalid_field", "")
	if got, _ := doc["field"].(string); got != field {
		a.t.Errorf("field: want %q, got %q (%v)", field, got, doc["detail"])
	}
}

// retryAfter is the header of that name, in seconds.
func (a answer) retryAfter() int {
	a.t.Helper()
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil {
		a.t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
	}
	return n
}

// discard is a ResponseWriter of a caller that has gone.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return 0, io.ErrClosedPipe }
func (discard) WriteHeader(int)             {}

func mustRequest(t testing.TB, ctx context.Context, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
