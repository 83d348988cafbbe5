package fakeprovider_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// clock is a provider's clock that tests move by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock {
	return &clock{at: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// bench is a provider of one style with a clock and a client on it.
type bench struct {
	*fakeprovider.Provider
	t     *testing.T
	clock *clock
	url   string
}

func newBench(t *testing.T, opts fakeprovider.Options) *bench {
	t.Helper()
	c := newClock()
	opts.Now = c.now
	if opts.Credentials == nil {
		opts.Credentials = map[string]string{"app": "s3cret"}
	}
	p := fakeprovider.New(opts)
	return &bench{Provider: p, t: t, clock: c, url: p.Start(t)}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	raw    []byte
	json   map[string]any
}

func (a answer) text(name string) string {
	s, _ := a.json[name].(string)
	return s
}

// number returns -999 where there is none: 0 and -1 mean something.
func (a answer) number(name string) int {
	if n, ok := a.json[name].(float64); ok {
		return int(n)
	}
	return -999
}

func (b *bench) send(req *http.Request) answer {
	b.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil { // not Fatal: some tests send from many goroutines
		b.t.Error(err)
		return answer{}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Error(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, raw: body}
	_ = json.Unmarshal(body, &a.json) // not every answer is JSON
	return a
}

func (b *bench) request(method, path string, body []byte) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	return req
}

func (b *bench) get(path string) answer {
	b.t.Helper()
	return b.send(b.request(http.MethodGet, path, nil))
}

func (b *bench) post(path string, body any) answer {
	b.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(b.request(http.MethodPost, path, raw))
}

// form posts an OAuth token request with client_secret_post.
func (b *bench) form(pairs ...string) answer {
	b.t.Helper()
	return b.send(b.formRequest(pairs...))
}

func (b *bench) formRequest(pairs ...string) *http.Request {
	b.t.Helper()
	form := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		form.Add(pair[0], pair[1])
	}
	req := b.request(http.MethodPost, "/oauth2/token", []byte(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// bearer calls the API with an Authorization header.
func (b *bench) bearer(path, token string) answer {
	b.t.Helper()
	req := b.request(http.MethodGet, path, nil)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return b.send(req)
}

func (b *bench) wantLive(token string, want bool) {
	b.t.Helper()
	if b.Live(token) != want {
		b.t.Errorf("token %.6s... live = %v, want %v", token, !want, want)
	}
}

func (b *bench) wantCode(a answer, status int, name string, code int) {
	b.t.Helper()
	if a.status != status || a.number(name) != code {
		b.t.Errorf("got HTTP %d %s, want HTTP %d with %s %d", a.status, strings.TrimSpace(string(a.raw)), status, name, code)
	}
}
