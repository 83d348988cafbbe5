package adminapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestTokenAnswer(t *testing.T) {
	p, c := newPuppet(t)
	p.lease.Expires, p.lease.Lineage = realm.InstantOf(noon.Add(2*time.Hour+900*time.Microsecond)), 7
	end := noon.Add(2 * time.Hour).UnixMilli()
	c.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=false").
		ok(fmt.Sprintf(`{"token":"at-1","expires_in":7200000,"expires_at":%d,"source":"memory","lineage":7}`, end))
	if p.flushed || p.ref != (realm.Ref{Realm: "wxgzh", Key: "wxgzh_secret"}) {
		t.Errorf("asked for %v, flushed: %v", p.ref, p.flushed)
	}

	p.lease.Expires, p.lease.Source = realm.InstantOf(noon.Add(-time.Second)), realm.FromUpstream
	p.lease.Lineage = 8
	c.get("/api/token?realm=r&key=k&flush=true").
		ok(fmt.Sprintf(`{"token":"at-1","expires_in":0,"expires_at":%d,"source":"upstream","lineage":8}`, noon.Add(-time.Second).UnixMilli()))
	if !p.flushed {
		t.Error("not flushed")
	}

	p.lease.Expires, p.lease.Source, p.lease.Lineage = 0, realm.FromDatabase, 0
	c.get("/api/token?realm=r&key=k").ok(`{"token":"at-1","expires_in":null,"expires_at":null,"source":"database","lineage":0}`)
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

// A POST has everything in its body, and nothing in its query.
func TestTokenPost(t *testing.T) {
	ref := realm.Ref{Realm: "a", Key: "b"}
	digest := strings.Repeat("0a", 32)
	for _, tt := range []struct {
		body  string
		flush bool
		wrong string
	}{
		{`{"realm":"a","key":"b"}`, false, ""},
		{`{"realm":"a","key":"b","flush":true}`, true, ""},
		{`{"realm":"a","key":"b","flush":false,"rejected":"` + digest + `"}`, false, ""},
		{`{"realm":"a","key":"b","flush":true,"rejected":null}`, true, ""},
		{`{"realm":"a","key":"b","rejected":"` + strings.ToUpper(digest) + `"}`, false, ""},
		{`{"realm":"a"}`, false, "key"},
		{`{}`, false, "realm"},
		{`{"realm":"a","key":"b","flush":true,"rejected":"` + digest + `"}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":""}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":"` + digest[1:] + `"}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":"` + digest[2:] + `"}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":"` + digest + `00"}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":"` + digest[2:] + `xy"}`, false, "rejected"},
		{`{"realm":"a","key":"b","rejected":7}`, false, "rejected"},
		{`{"realm":"a","key":"b","reject":"` + digest + `"}`, false, "reject"},
	} {
		p, c := newPuppet(t)
		a := c.json(http.MethodPost, "/api/token?realm=q&key=q&flush=true", tt.body)
		if tt.wrong != "" {
			a.wrong(tt.wrong)
			continue
		}
		if a.status != http.StatusOK || p.ref != ref || p.flushed != tt.flush {
			t.Errorf("%s: %d %s; asked for %v, flush %v", tt.body, a.status, a.body, p.ref, p.flushed)
		}
	}
	p, c := newPuppet(t)
	c.json(http.MethodGet, "/api/token", `{"realm":"a","key":"b","rejected":"`+digest+`"}`).wrong("rejected")
	c.send(http.MethodPost, "/api/token", strings.NewReader(`{"realm":"a","key":"b"}`)).
		refused(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
	if p.way != "" {
		t.Errorf("asked for a token: %s", p.way)
	}
}

// A token that the provider refused is replaced once, whoever says so and how
// often; any other digest costs nothing. A provider that refuses whatever it
// gives is not asked again and again.
func TestRejectedToken(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	digestOf := func(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }
	post := func(rejected string) answer {
		t.Helper()
		return s.json(http.MethodPost, "/api/token", `{"realm":"wxgzh","key":"wxgzh_secret","rejected":"`+rejected+`"}`)
	}
	wants := func(a answer, token string, lineage float64) {
		t.Helper()
		if doc := a.document(); a.status != http.StatusOK || doc["token"] != token || doc["lineage"] != lineage {
			t.Fatalf("%d %s, want %s of lineage %v", a.status, a.body, token, lineage)
		}
	}
	first := s.token("/api/token?realm=wxgzh&key=wxgzh_secret", "upstream")
	wants(post(digestOf("another")), first, 1)
	s.provider.Revoke(first)
	a := post(digestOf(first))
	second := s.provider.Newest("wx1")
	if second == first {
		t.Fatal("the provider was not asked")
	}
	wants(a, second, 2)
	for range 3 {
		wants(post(digestOf(first)), second, 2)
	}
	if n := s.provider.Fetches("wx1"); n != 2 {
		t.Errorf("%d fetches", n)
	}
	for range 20 {
		a = post(digestOf(s.provider.Newest("wx1")))
	}
	a.refused(http.StatusServiceUnavailable, "token_unavailable", "")
	if a.retryAfter() < 1 {
		t.Error("no Retry-After")
	}
	if n := s.provider.Fetches("wx1"); n > 4 {
		t.Errorf("%d fetches for tokens that nobody accepts", n)
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

// quietStore is an audit that keeps nothing.
type quietStore struct{ tokenstore.AuditStore }

func (quietStore) AppendAudit(context.Context, ...*tokenstore.AuditEntry) error { return nil }

// TestRepeatedReadsCostTheAuditNothing: a read-out that was written costs no
// allocation when it is repeated.
func TestRepeatedReadsCostTheAuditNothing(t *testing.T) {
	p := new(puppet)
	audited := auditedBroker{p, audit.New(audit.Config{Store: quietStore{}})}
	ctx := WithCaller(t.Context(), Caller{Kind: KindClient, ID: "billing", Address: "192.0.2.1"})
	cost := func(b Broker) float64 {
		return testing.AllocsPerRun(100, func() { // after a first one, which does not count
			if _, err := b.Read(ctx, realm.Ref{Realm: "r", Key: "k"}); err != nil {
				t.Error(err)
			}
		})
	}
	if with, without := cost(audited), cost(p); with != without {
		t.Errorf("%v allocations, and %v without an audit", with, without)
	}
}

// BenchmarkToken is the handler's own share of GET /api/token: without clients
// and audit, and by a client of which the audit has every read-out.
func BenchmarkToken(b *testing.B) {
	p := &puppet{lease: realm.Lease{
		Access: realm.Hidden(strings.Repeat("t", 512)), Expires: realm.InstantOf(noon.Add(time.Hour)), Source: realm.FromMemory,
	}}
	view, err := access.NewRegistry(access.RegistryConfig{}).View(access.ViewConfig{Clients: []tokenstore.Client{{
		ID: "billing", Users: []string{"billing"}, Rules: []tokenstore.Rule{{Effect: "allow", Rights: []string{"read"}, Realms: []string{"wx*"}}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	client, err := view.Identify(access.Caller{User: "billing"})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		caller Caller
		opts   Options
	}{
		{"local", Caller{Kind: KindLocal}, Options{}},
		{"client", Caller{Kind: KindClient, ID: "billing", Client: client, Address: "192.0.2.1"}, Options{Audit: audit.New(audit.Config{Store: quietStore{}})}},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := New(p, p, c.opts)
			r := httptest.NewRequest(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", nil)
			w := &blank{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.Header())
				h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), c.caller)))
			}
			if w.status != http.StatusOK {
				b.Fatal(w.status)
			}
		})
	}
}

// blank is a ResponseWriter that costs nothing.
type blank struct {
	header http.Header
	status int
}

func (b *blank) Header() http.Header       { return b.header }
func (*blank) Write(p []byte) (int, error) { return len(p), nil }
func (b *blank) WriteHeader(status int)    { b.status = status }
