package grant

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// noon is the injected clock of the tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func testClient(t *testing.T) *Client {
	t.Helper()
	var nothing netguard.Policy
	return NewClient(nothing.Dialer(&net.Dialer{}), func() time.Time { return noon })
}

// seen is a token request as the provider saw it.
type seen struct {
	method, path, query, body string
	header                    http.Header
}

// provider answers every request with one answer and keeps the requests.
type provider struct {
	*httptest.Server
	requests []seen
}

func newProvider(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.requests = append(p.requests, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header})
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// answering makes a handler that answers with a body.
func answering(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const goodAnswer = `{"access_token":"TOKEN-0123456789","expires_in":7200}`

// realmOf reads the config of a realm from JSON; "@" stands for the
// provider's URL.
func realmOf(t *testing.T, config, base string) realm.Realm {
	t.Helper()
	r := realm.Realm{ID: "test"}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(config, "@", base)), &r.Config); err != nil {
		t.Fatalf("config: %v", err)
	}
	return r
}

func secretOf(fields map[string]string) realm.Secret {
	s := realm.Secret{Ref: realm.Ref{Realm: "test", Key: "main"}, Fields: map[string]realm.Hidden{}}
	for name, value := range fields {
		s.Fields[name] = realm.Hidden(value)
	}
	return s
}

func bind(t *testing.T, r realm.Realm, fields map[string]string) *Bound {
	t.Helper()
	p, err := Compile(r, true)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	b, err := p.Bind(secretOf(fields))
	if err != nil {
		t.Fatalf("Bind: %v", err)
	}
	return b
}

// TestEarlierService runs the two realms that users of the earlier service
// have, word for word but for the host.
func TestEarlierService(t *testing.T) {
	for _, c := range []struct{ name, config, query string }{
		{"qywx_qynbkf", `{"url": "@/cgi-bin/gettoken", "method": "GET",
  "arguments": [{"name": "corpid", "place": "url", "value": "$key_1"}, {"name": "corpsecret", "place": "url", "value": "$key_2"}],
  "token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in"}`, "corpid=id-1&corpsecret=s%2B%2F%3D%202"},
		{"wxgzh", `{"url": "@/cgi-bin/gettoken", "method": "GET",
  "arguments": [{"name": "appid", "place": "url", "value": "$key_1"}, {"name": "secret", "place": "url", "value": "$key_2"}, {"name": "grant_type", "place": "url", "value": "$key_3"}],
  "token_path": "access_token", "content_type": "json", "expires_in_path": "expires_in"}`, "appid=id-1&secret=s%2B%2F%3D%202&grant_type=client_credential"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(200, "application/json", goodAnswer))
			b := bind(t, realmOf(t, c.config, p.URL), map[string]string{"key_1": "id-1", "key_2": "s+/= 2", "key_3": "client_credential"})
			got, err := b.Fetch(context.Background(), testClient(t), Request{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Token.Access.Reveal() != "TOKEN-0123456789" || !got.Token.ExpiresAt.Equal(noon.Add(2*time.Hour)) || !got.Token.IssuedAt.Equal(noon) {
				t.Errorf("token %q until %v, issued %v", got.Token.Access.Reveal(), got.Token.ExpiresAt, got.Token.IssuedAt)
			}
			if got.Once || len(got.Warnings) > 0 || got.Token.Fingerprint != b.Fingerprint() {
				t.Errorf("result %+v", got)
			}
			if len(p.requests) != 1 {
				t.Fatalf("%d requests", len(p.requests))
			}
			if r := p.requests[0]; r.method != "GET" || r.path != "/cgi-bin/gettoken" || r.query != c.query || r.body != "" {
				t.Errorf("request %+v", r)
			}
		})
	}
}
