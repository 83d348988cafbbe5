package adminapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// server is the API over a real broker with SQLite, and the simulated WeChat
// as the provider. Whatever is answered or logged is kept.
type server struct {
	caller
	path     string // of the database
	provider *fakeprovider.Provider
	url      string // of the provider
	view     *broker.View
	clients  *access.View
	audit    *audit.Recorder

	log syncBuffer
}

// ended ends streams as soon as they are open.
var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// newServer makes a server with an empty database.
func newServer(t testing.TB, definitions ...catalog.Definition) *server {
	t.Helper()
	return newServerOf(t, fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"wx1": "wx1-secret"}}, definitions...)
}

// newServerOf makes one with another provider.
func newServerOf(t testing.TB, provider fakeprovider.Options, definitions ...catalog.Definition) *server {
	t.Helper()
	s := &server{path: filepath.Join(t.TempDir(), "tokens.db"), provider: fakeprovider.New(provider)}
	s.url = s.provider.Start(t)
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	s.caller = caller{t, s.open(t, policy.Dialer(new(net.Dialer)), definitions)}
	return s
}

// again is another process on the same database, with an empty memory.
func (s *server) again(t testing.TB) caller {
	t.Helper()
	return caller{t, s.open(t, nowhere, nil)}
}

// open makes a broker over the database, and an API over the broker.
func (s *server) open(t testing.TB, dial netguard.Dialer, definitions []catalog.Definition) http.Handler {
	t.Helper()
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &s.log, zap.DebugLevel))
	store := sqlstore.SQLite(s.path, keyring(t), sqlstore.WithLogger(log))
	pool := broker.New(store, log, nil, broker.WithPatience(5*time.Minute))
	registry := access.NewRegistry(access.RegistryConfig{Store: store, Open: pool.Open, Log: log})
	s.audit = audit.New(audit.Config{Store: store, Open: pool.Open, Log: log})
	s.audit.Start()
	t.Cleanup(func() {
		registry.Close()
		s.audit.Close()
		if err := pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	view, err := pool.View(broker.ViewConfig{Definitions: definitions, Client: grant.NewClient(dial, nil)})
	if err != nil {
		t.Fatal(err)
	}
	s.view = view
	if s.clients, err = registry.View(access.ViewConfig{}); err != nil {
		t.Fatal(err)
	}
	s.clients.Start()
	return newLocal(view, view.Catalog(), Options{Log: log, Clients: s.clients, Audit: s.audit, Ending: ended})
}

// wxgzh posts the WeChat realm of the earlier service's documentation, but for
// the host, and a secret that its provider accepts.
func (s *server) wxgzh() {
	s.t.Helper()
	config := strings.NewReplacer("https://api.weixin.qq.com", s.url, `"method"`, `"allow_http": true, "method"`).Replace(realmWxgzh)
	s.must(http.MethodPost, "/api/realm", config)
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`)
}

// must sends a request that has to succeed.
func (s *server) must(method, target, body string) answer {
	s.t.Helper()
	a := s.json(method, target, body)
	if a.status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, target, a.status, a.body)
	}
	return a
}

func keyring(t testing.TB) *tokenstore.Keyring {
	t.Helper()
	keys, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// nowhere is a network without anybody in it.
func nowhere(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nobody is there")
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) Sync() error { return nil }

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// definition is a realm of the Caddyfile with one secret.
func definition() catalog.Definition {
	return catalog.Definition{
		Realm: realm.Realm{ID: "file", Config: realm.Config{
			Grant: &realm.Grant{Name: "static"}, Shared: map[string]realm.Hidden{"app_key": "app-1"},
		}},
		Secrets: []realm.Secret{{
			Ref: realm.Ref{Realm: "file", Key: "main"}, Fields: map[string]realm.Hidden{"token": "fixed-1", "key_1": "one"},
		}},
	}
}
