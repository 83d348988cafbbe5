package adminapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestTokenAnswer(t *testing.T) {
	p, c := newPuppet(t)
	p.lease.Expires = realm.InstantOf(noon.Add(2*time.Hour + 900*time.Microsecond))
	end := noon.Add(2 * time.Hour).UnixMilli()
	c.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=false").
		ok(fmt.Sprintf(`{"token":"at-1","expires_in":7200000,"expires_at":%d,"source":"memory"}`, end))
	if p.flushed || p.ref != (realm.Ref{Realm: "wxgzh", Key: "wxgzh_secret"}) {
		t.Errorf("asked for %v, flushed: %v", p.ref, p.flushed)
	}

	p.lease.Expires, p.lease.Source = realm.InstantOf(noon.Add(-time.Second)), realm.FromUpstream
	c.get("/api/token?realm=r&key=k&flush=true").
		ok(fmt.Sprintf(`{"token":"at-1","expires_in":0,"expires_at":%d,"source":"upstream"}`, noon.Add(-time.Second).UnixMilli()))
	if !p.flushed {
		t.Error("not flushed")
	}

	p.lease.Expires, p.lease.Source = 0, realm.FromDatabase
	c.get("/api/token?realm=r&key=k").ok(`{"token":"at-1","expires_in":null,"expires_at":null,"source":"database"}`)
}

// The earlier service's documentation shows the parameters as JSON data, its
// code reads the query: both work, and the query counts first.
func TestTokenRequest(t *testing.T) {
	for _, tt := range []struct {
		query, body string
		ref         realm.Ref
		flush       bool
		wrong       string
	}{
		{"realm=a&key=b", "", realm.Ref{Realm: "a", Key: "b"}, false, ""},
		{"realm=a&key=b&flush=1", "", realm.Ref{Realm: "a", Key: "b"}, true, ""},
		{"realm=%E5%BE%AE%2F%25&key=a+b", "", realm.Ref{Realm: "微/%", Key: "a b"}, false, ""},
		{"", `{"realm":"a","key":"b","flush":false}`, realm.Ref{Realm: "a", Key: "b"}, false, ""},
		{"", `{"realm":"a","key":"b","flush":true}`, realm.Ref{Realm: "a", Key: "b"}, true, ""},
		{"", `{"realm":"a","key":"b","flush":"true"}`, realm.Ref{Realm: "a", Key: "b"}, true, ""},
		{"", `{"realm":"a","key":"b","flush":null}`, realm.Ref{Realm: "a", Key: "b"}, false, ""},
		{"key=q", `{"realm":"a","key":"b","flush":true}`, realm.Ref{Realm: "a", Key: "q"}, true, ""},
		{"flush=false&realm=q", `{"realm":"a","key":"b","flush":true}`, realm.Ref{Realm: "q", Key: "b"}, false, ""},
		{"", "", realm.Ref{}, false, "realm"},
		{"key=b", "", realm.Ref{}, false, "realm"},
		{"realm=a", "", realm.Ref{}, false, "key"},
		{"realm=a&key=", "", realm.Ref{}, false, "key"},
		{"realm=a&key=b&key=c", "", realm.Ref{}, false, "key"},
		{"realm=a&realm=a&key=b", "", realm.Ref{}, false, "realm"},
		{"realm=a&key=%ff", "", realm.Ref{}, false, "key"},
		{"", `{"realm":"a"}`, realm.Ref{}, false, "key"},
		{"", `{"realm":1,"key":"b"}`, realm.Ref{}, false, "realm"},
		{"", `{"realm":"a","key":{}}`, realm.Ref{}, false, "key"},
		{"", `{"realm":"a","key":"b","flush":"yes"}`, realm.Ref{}, false, "flush"},
		{"", `{"realm":"a","key":"b","flush":[]}`, realm.Ref{}, false, "flush"},
		{"", `{"realm":"a","key":"b","Flush":true}`, realm.Ref{}, false, "Flush"},
		{"", `{"realm":"a","key":"b","realm":"c"}`, realm.Ref{}, false, "realm"},
	} {
		p, c := newPuppet(t)
		a := c.json(http.MethodGet, "/api/token?"+tt.query, tt.body)
		if tt.wrong != "" {
			a.wrong(tt.wrong)
		}
		if p.ref != tt.ref || p.flushed != tt.flush {
			t.Errorf("?%s %s: asked for %v, flush %v", tt.query, tt.body, p.ref, p.flushed)
		}
	}
}

// Words that fit a flush are not left behind for the requests after it.
func TestFlushLeavesNoTrace(t *testing.T) {
	p, c := newPuppet(t)
	p.err = &realm.Error{Code: realm.CodeBudgetSpent, Status: http.StatusServiceUnavailable, Detail: "no budget"}
	for range 2 {
		c.get("/api/token?realm=r&key=k&flush=true").refused(http.StatusTooManyRequests, "budget_spent", "no budget")
		c.get("/api/token?realm=r&key=k").refused(http.StatusServiceUnavailable, "budget_spent", "无法从上游服务获取 token")
	}
}

// Whatever a token is made of, the client reads the very same text.
func FuzzTokenText(f *testing.F) {
	f.Fuzz(func(t *testing.T, token string) {
		b := appendText(nil, token)
		var got string
		if err := json.Unmarshal(b, &got); err != nil || !utf8.Valid(b) {
			t.Fatalf("%q: %v", b, err)
		}
		if utf8.ValidString(token) && got != token {
			t.Errorf("%q became %q", token, got)
		}
	})
}

// BenchmarkToken is the handler's own share of GET /api/token.
func BenchmarkToken(b *testing.B) {
	p := &puppet{lease: realm.Lease{
		Access: realm.Hidden(strings.Repeat("t", 512)), Expires: realm.InstantOf(noon.Add(time.Hour)), Source: realm.FromMemory,
	}}
	h := New(p, p, Options{})
	r := httptest.NewRequest(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", nil)
	w := blank{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.Header())
		h.ServeHTTP(w, r)
	}
}

// blank is a ResponseWriter that costs nothing.
type blank struct{ header http.Header }

func (b blank) Header() http.Header       { return b.header }
func (blank) Write(p []byte) (int, error) { return len(p), nil }
func (blank) WriteHeader(int)             {}
