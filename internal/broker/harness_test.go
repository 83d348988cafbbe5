package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// provider is a token endpoint on loopback whose next answers a test writes.
// Each token names the credentials that obtained it.
type provider struct {
	*httptest.Server
	calls atomic.Int64

	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, n int64)
	asked  map[string]int // calls by app id
}

// of counts the calls of one app.
func (p *provider) of(appid string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[appid]
}

func newProvider(t *testing.T) *provider {
	p := &provider{asked: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.calls.Add(1)
		p.mu.Lock()
		p.asked[r.URL.Query().Get("appid")]++
		answer := p.answer
		p.mu.Unlock()
		if answer == nil {
			answer = gives(7200)
		}
		answer(w, r, n)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) then(answer func(w http.ResponseWriter, r *http.Request, n int64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// gives answers with a token of so many seconds.
func gives(seconds int) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, r *http.Request, n int64) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": fmt.Sprintf("T-%d-%s", n, r.URL.Query().Get("appid")), "expires_in": seconds,
		})
	}
}

// fails answers with a status.
func fails(status int, header ...string) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, _ *http.Request, _ int64) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	}
}

// blocks holds every call until the gate is closed.
func blocks(gate <-chan struct{}, reached chan<- struct{}, then func(http.ResponseWriter, *http.Request, int64)) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, r *http.Request, n int64) {
		reached <- struct{}{}
		<-gate
		then(w, r, n)
	}
}

// clock is a time that tests move.
type clock struct{ us atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.us.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.us.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// node is a pool with one configuration over a store.
type node struct {
	*View
	pool     *Pool
	clock    *clock
	provider *provider
}

var testKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

func testKeyring(t testing.TB) *tokenstore.Keyring {
	t.Helper()
	keys, err := tokenstore.NewKeyring(realm.Hidden(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newStore(t testing.TB, path string, c *clock) tokenstore.Store {
	t.Helper()
	return sqlstore.SQLite(path, testKeyring(t), sqlstore.WithClock(c.now))
}

func newNode(t *testing.T, definitions ...catalog.Definition) *node {
	t.Helper()
	c := newClock()
	return nodeOn(t, newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), newProvider(t), c, definitions...)
}

// longPatience is how long callers wait for a store that answers, however busy the
// machine is.
const longPatience = 5 * time.Minute

// setPatience sets how long callers wait for the store from now on: a test of one that
// hangs has no time.
func (n *node) setPatience(d time.Duration) { n.pool.waits.Store(int64(d)) }

func nodeOn(t *testing.T, store tokenstore.Store, p *provider, c *clock, definitions ...catalog.Definition) *node {
	t.Helper()
	log := zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	n := &node{pool: New(store, log, c.now, WithPatience(longPatience)), clock: c, provider: p}
	n.pool.sleep = func(ctx context.Context, d time.Duration) error {
		c.advance(d) // who sleeps does so by the clock of the test
		return ctx.Err()
	}
	t.Cleanup(func() {
		if err := n.pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	n.View = n.configure(t, definitions...)
	return n
}

// configure makes another configuration of the same pool, as a reload does.
func (n *node) configure(t *testing.T, definitions ...catalog.Definition) *View {
	t.Helper()
	v, err := n.pool.View(ViewConfig{Definitions: definitions, Client: testClient(t, n.clock.now)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func testClient(t testing.TB, now func() time.Time) *grant.Client {
	t.Helper()
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return grant.NewClient(policy.Dialer(new(net.Dialer)), now)
}

// wechat is a realm in the earlier service's form.
func (n *node) wechat() realm.Config { return wechatAt(n.provider.URL) }

func wechatAt(provider string) realm.Config {
	return realm.Config{
		Recipe: realm.Recipe{
			URL: provider + "/token", TokenPath: "access_token", ExpiresInPath: "expires_in",
			Arguments: []realm.Argument{
				{Name: "appid", Place: realm.PlaceURL, Value: "$key_1"},
				{Name: "secret", Place: realm.PlaceURL, Value: "$key_2"},
			},
		},
		AllowHTTP: realm.On,
		API:       "http://api.example.com",
		Inject:    []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
	}
}

func (n *node) saveRealm(t testing.TB, id string, c realm.Config) {
	t.Helper()
	_, err := n.Catalog().SaveRealm(t.Context(), id, func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config = c
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) saveSecret(t testing.TB, ref realm.Ref, fields ...string) {
	t.Helper()
	u := catalog.SecretUpdate{Ref: ref, Fields: map[string]*realm.Hidden{}}
	for i := 0; i < len(fields); i += 2 {
		value := realm.Hidden(fields[i+1])
		u.Fields[fields[i]] = &value
	}
	if _, err := n.Catalog().SaveSecret(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

var wx = realm.Ref{Realm: "wx", Key: "main"}

// ready is a node with one realm and one secret in its store.
func ready(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	return n
}

// want asserts the token that a view gives and where it was found.
func want(t *testing.T, v *View, ref realm.Ref, token string, source realm.Source) {
	t.Helper()
	lease, err := v.Token(t.Context(), ref)
	if err != nil {
		t.Fatalf("token of %v: %v (%v)", ref, err, errors.Unwrap(err))
	}
	if lease.Access.Reveal() != token || lease.Source != source {
		t.Fatalf("token of %v: got %q from %s, want %q from %s", ref, lease.Access.Reveal(), lease.Source, token, source)
	}
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("did not happen: %s", what)
		}
	}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// tokenOf is a token with an hour of life, of which left remains.
func tokenOf(access, refresh string, lineage int64, left time.Duration) realm.Token {
	return realm.Token{
		Access: realm.Hidden(access), Refresh: realm.Hidden(refresh), Lineage: lineage, Fingerprint: realm.Fingerprint{1},
		IssuedAt: noon.Add(left - time.Hour), ExpiresAt: noon.Add(left),
	}
}

// Status is the status with all tokens that memory knows.
func (v *View) Status(ctx context.Context) Status {
	s, _ := v.StatusPage(ctx, StatusQuery{Page: tokenstore.Page{Number: 1, Size: math.MaxInt}})
	return s
}
