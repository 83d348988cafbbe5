package catalog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// faulty is a real store that can be made to fail.
type faulty struct {
	tokenstore.Store
	away atomic.Bool
	// damaged: what was pushed does not open.
	damaged bool
	// pushedAway: the store fails between the secret and what was pushed to it.
	pushedAway bool
	read       func() // after a realm was read; nil for nothing
}

func (s *faulty) Open(ctx context.Context) error {
	if s.away.Load() {
		return tokenstore.ErrUnavailable
	}
	return s.Store.Open(ctx)
}

func (s *faulty) Realm(ctx context.Context, id string) (realm.Realm, error) {
	if s.away.Load() {
		return realm.Realm{}, tokenstore.ErrUnavailable
	}
	r, err := s.Store.Realm(ctx, id)
	if s.read != nil {
		s.read()
	}
	return r, err
}

func (s *faulty) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	if s.away.Load() {
		return realm.Secret{}, tokenstore.ErrUnavailable
	}
	return s.Store.Secret(ctx, ref)
}

func (s *faulty) Pushed(ctx context.Context, ref realm.Ref) (tokenstore.Pushed, error) {
	switch {
	case s.away.Load(), s.pushedAway:
		return tokenstore.Pushed{}, tokenstore.ErrUnavailable
	case s.damaged:
		return tokenstore.Pushed{}, tokenstore.ErrDamaged
	}
	return s.Store.Pushed(ctx, ref)
}

// fixture is a catalog of a configuration over an SQLite store, and the changes
// that it reported.
type fixture struct {
	*Catalog
	store   *faulty
	now     time.Time
	step    time.Duration // by which each look at the clock moves it on
	changes []Change
	after   func() // behind the next change; nil for nothing
}

func newFixture(t *testing.T, definitions ...Definition) *fixture {
	t.Helper()
	keys, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		store: &faulty{Store: sqlstore.SQLite(filepath.Join(t.TempDir(), "tokens.db"), keys)},
		now:   time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	cache := NewCache(Config{
		Store: f.store, Open: f.store.Open,
		Now: func() time.Time {
			f.now = f.now.Add(f.step)
			return f.now
		},
		Changed: func(c Change) {
			f.changes = append(f.changes, c)
			if after := f.after; after != nil {
				f.after = nil
				after()
			}
		},
	})
	if f.Catalog, err = New(cache, definitions, false); err != nil {
		t.Fatal(err)
	}
	return f
}

// ready has one realm and one secret in its store.
func ready(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.saveRealm(t, "wx", wechat())
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	f.changes = nil
	return f
}

var wx = realm.Ref{Realm: "wx", Key: "main"}

// wechat is a realm in the earlier service's form.
func wechat() realm.Config {
	return realm.Config{
		Recipe: realm.Recipe{
			URL: "https://api.example.com/token", TokenPath: "access_token", ExpiresInPath: "expires_in",
			Arguments: []realm.Argument{
				{Name: "appid", Place: realm.PlaceURL, Value: "$key_1"},
				{Name: "secret", Place: realm.PlaceURL, Value: "$key_2"},
			},
		},
		API:    "https://api.example.com",
		Inject: []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
	}
}

// defined is the same realm in a configuration, with one secret.
func defined() Definition {
	return Definition{Realm: realm.Realm{ID: "wx", Config: wechat()}, Secrets: []realm.Secret{{
		Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"},
	}}}
}

// becomes is a change of a realm to a config.
func becomes(c realm.Config) func(realm.Realm, bool) (realm.Realm, error) {
	return func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config = c
		return r, nil
	}
}

func (f *fixture) saveRealm(t *testing.T, id string, c realm.Config) {
	t.Helper()
	if _, err := f.SaveRealm(t.Context(), id, becomes(c)); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) saveSecret(t *testing.T, ref realm.Ref, fields ...string) {
	t.Helper()
	if _, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: ref, Fields: values(fields...)}); err != nil {
		t.Fatal(err)
	}
}

// values are the fields of an update: name, value, name, value ...
func values(fields ...string) map[string]*realm.Hidden {
	update := map[string]*realm.Hidden{}
	for i := 0; i < len(fields); i += 2 {
		value := realm.Hidden(fields[i+1])
		update[fields[i]] = &value
	}
	return update
}

// secret reads a secret as the broker does.
func (f *fixture) secret(t *testing.T, ref realm.Ref) (realm.Secret, error) {
	t.Helper()
	r, err := f.Realm(t.Context(), ref.Realm)
	if err != nil {
		t.Fatal(err)
	}
	return f.Secret(t.Context(), r, ref)
}

// reported expects the changes since the last call.
func (f *fixture) reported(t *testing.T, want ...Change) {
	t.Helper()
	if !slices.Equal(f.changes, want) {
		t.Errorf("reported %v, want %v", f.changes, want)
	}
	f.changes = nil
}

func wantError(t *testing.T, err error, code realm.Code, status int) {
	t.Helper()
	var e *realm.Error
	if !errors.As(err, &e) || e.Code != code || e.Status != status {
		t.Fatalf("got %v, want %s with status %d", err, code, status)
	}
}
