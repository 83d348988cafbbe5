package broker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// metered is a store that notes when it was last asked to coordinate, and when
// that was durable.
type metered struct {
	tokenstore.Store
	asked, done time.Time
}

func (m *metered) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	m.asked = time.Now()
	s, err := m.Store.Coordinate(ctx, ref, decide)
	m.done = time.Now()
	return s, err
}

// BenchmarkUnsaved is the time in which a kill loses a one-time refresh token:
// from the provider's decision until the answer is on a disk, in SQLite, or in
// the spool of a node whose database is elsewhere. W-p50 and W-p99 are in
// milliseconds.
func BenchmarkUnsaved(b *testing.B) {
	for _, spooled := range []bool{false, true} {
		b.Run(map[bool]string{false: "sqlite", true: "spool"}[spooled], func(b *testing.B) {
			var count, decided atomic.Int64
			began := time.Now()
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := count.Add(1)
				decided.Store(int64(time.Since(began)))
				_, _ = fmt.Fprintf(w, `{"access_token":"A%d","refresh_token":"R%d","expires_in":3600}`, n, n)
			}))
			b.Cleanup(provider.Close)
			store := &metered{Store: sqlstore.SQLite(filepath.Join(b.TempDir(), "tokens.db"), testKeyring(b))}
			var opts []Option
			if spooled {
				opts = append(opts, WithSpool(tokenstore.NewSpool(filepath.Join(b.TempDir(), "spool"), testKeyring(b))))
			}
			v, ref := strictRealm(b, New(store, zap.NewNop(), nil, opts...), provider.URL)
			var windows []time.Duration
			for b.Loop() {
				if _, err := v.Flush(b.Context(), ref); err != nil {
					b.Fatal(err)
				}
				safe := store.done
				if spooled {
					safe = store.asked // the spool comes before the store
				}
				windows = append(windows, safe.Sub(began)-time.Duration(decided.Load()))
			}
			slices.Sort(windows)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(windows[(len(windows)-1)*p/100].Microseconds())/1000, fmt.Sprintf("W-p%d-ms", p))
			}
		})
	}
}

// strictRealm is a view with one realm of one-time refresh tokens.
func strictRealm(b *testing.B, p *Pool, provider string) (*View, realm.Ref) {
	b.Helper()
	b.Cleanup(func() { _ = p.Destruct() })
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	if err != nil {
		b.Fatal(err)
	}
	ref := realm.Ref{Realm: "rt", Key: "main"}
	v, err := p.View(ViewConfig{
		Client: grant.NewClient(policy.Dialer(new(net.Dialer)), time.Now),
		Definitions: []catalog.Definition{{
			Realm: realm.Realm{ID: ref.Realm, Config: realm.Config{
				Grant: &realm.Grant{Name: realm.GrantRefreshToken, TokenURL: provider}, AllowHTTP: realm.On,
				RefreshSemantics: realm.RefreshStrict,
			}},
			Secrets: []realm.Secret{{Ref: ref, Fields: map[string]realm.Hidden{
				"client_id": "app", "client_secret": "secret", "refresh_token": "R0",
			}}},
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	return v, ref
}
