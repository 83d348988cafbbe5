package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The store's realm is the one that a configuration does not define; each is
// compiled once.
func TestRealm(t *testing.T) {
	f := newFixture(t, defined())
	f.saveRealm(t, "stored", wechat())
	for id, isDefined := range map[string]bool{"wx": true, "stored": false} {
		r, err := f.Realm(t.Context(), id)
		if err != nil || r.Written.ID != id || r.Defined != isDefined || f.IsDefined(id) != isDefined {
			t.Fatalf("%s: %+v %v", id, r, err)
		}
		if again, ok := f.Remembered(id); !ok || again != r {
			t.Errorf("%s is not remembered", id)
		}
	}
	_, err := f.Realm(t.Context(), "nobody")
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
	if !IsNotFound(err) || IsNotFound(StoreError(tokenstore.ErrUnavailable)) {
		t.Error("IsNotFound")
	}
}

// Who is served from memory takes no lock and allocates nothing.
func TestRememberedAllocatesNothing(t *testing.T) {
	f := newFixture(t, defined())
	f.saveRealm(t, "stored", wechat())
	if _, err := f.Realm(t.Context(), "stored"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"wx", "stored"} {
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := f.Realm(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", id, n)
		}
	}
}

// What a configuration says wrongly stops the start, with the name of the
// realm or secret.
// The error of a key that is none names the field, which somebody who uses a preset
// has written, and not only the place in the realm, which he has not.
func TestDefinedSecretWithAWrongKey(t *testing.T) {
	d := definedAs("x", realm.Config{Preset: "github_app"}, "app_id", "1", "installation_id", "2", "private_key", "no key")
	_, err := d.compile()
	const want = "fields.private_key: does not fit config.arguments["
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWrongDefinitions(t *testing.T) {
	nameless, incomplete, twice := defined(), defined(), defined()
	nameless.Realm.ID = ""
	incomplete.Secrets[0].Fields = map[string]realm.Hidden{"key_1": "app"}
	twice.Secrets = append(twice.Secrets, twice.Secrets[0])
	for want, defs := range map[string][]Definition{
		`realm "": `:                   {nameless},
		`realm "wx": defined twice`:    {defined(), defined()},
		`realm "wx": secret "main": `:  {incomplete},
		`secret "main": defined twice`: {twice},
		`realm "x": config.preset`:     {{Realm: realm.Realm{ID: "x", Config: realm.Config{Preset: "nobody"}}}},
	} {
		if _, err := New(NewCache(Config{}), defs, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A realm that changes while it is read from the store is not remembered as
// it was.
func TestRealmChangedWhileItIsRead(t *testing.T) {
	f := ready(t)
	f.cache.Clear()
	f.store.read = func() {
		f.store.read = nil
		c := wechat()
		c.Inject[0].Name = "token"
		f.saveRealm(t, "wx", c)
	}
	for _, name := range []string{"access_token", "token"} {
		r, err := f.Realm(t.Context(), "wx")
		if err != nil || r.Config.Inject[0].Name != name {
			t.Fatalf("%+v %v, want it injected as %s", r, err, name)
		}
	}
}

// Each change is reported once, and what memory had of it is gone before.
func TestChanges(t *testing.T) {
	f := ready(t)
	before, err := f.Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	ofRealm := realm.Ref{Realm: "wx"}
	f.saveRealm(t, "wx", wechat())
	f.reported(t, Change{ofRealm, Saved})
	if after, err := f.Realm(t.Context(), "wx"); err != nil || after == before {
		t.Errorf("the realm of before: %v", err)
	}
	f.saveSecret(t, wx, "key_1", "other")
	f.reported(t, Change{wx, Saved})
	if err := f.DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	f.reported(t, Change{wx, Deleted})
	if err := f.DeleteRealm(t.Context(), "wx", false); err != nil {
		t.Fatal(err)
	}
	f.reported(t, Change{ofRealm, Deleted})
	if _, ok := f.Remembered("wx"); ok {
		t.Error("the realm is remembered")
	}

	// What fails is no change.
	wantError(t, f.DeleteRealm(t.Context(), "wx", true), realm.CodeRealmNotFound, http.StatusNotFound)
	wantError(t, f.DeleteSecret(t.Context(), wx), realm.CodeSecretNotFound, http.StatusNotFound)
	if _, err := f.SaveRealm(t.Context(), "wx", becomes(realm.Config{Preset: "nobody"})); err == nil {
		t.Error("a preset that does not exist was taken")
	}
	f.reported(t)
}

// What the store's feed names is compared: a realm that is the very one that
// memory has stays, another node's is read anew.
func TestRecheck(t *testing.T) {
	f := ready(t)
	before, err := f.Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	f.cache.Recheck(t.Context(), realm.Ref{Realm: "wx"})
	f.reported(t, Change{realm.Ref{Realm: "wx"}, Reported})
	if r, ok := f.Remembered("wx"); !ok || r != before {
		t.Error("the same realm was dropped")
	}
	if _, err := f.store.UpdateRealm(t.Context(), "wx", becomes(wechat())); err != nil {
		t.Fatal(err)
	}
	f.cache.Recheck(t.Context(), realm.Ref{Realm: "wx"})
	if _, ok := f.Remembered("wx"); ok {
		t.Error("a realm that another node saved is still remembered as it was")
	}
	f.changes = nil
	f.cache.Recheck(t.Context(), wx)
	f.reported(t, Change{wx, Reported})
}

// While the store is away, a secret is what it was when it was read last,
// unless it is known to have changed or to be gone.
func TestSecretWithoutTheStore(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, f *fixture)
		stays  bool
	}{
		"nothing":       {func(*testing.T, *fixture) {}, true},
		"saved":         {func(t *testing.T, f *fixture) { t.Helper(); f.saveSecret(t, wx, "key_1", "other") }, false},
		"by the feed":   {func(t *testing.T, f *fixture) { t.Helper(); f.cache.Recheck(t.Context(), wx) }, false},
		"deleted":       {func(t *testing.T, f *fixture) { t.Helper(); _ = f.DeleteSecret(t.Context(), wx) }, false},
		"realm deleted": {func(t *testing.T, f *fixture) { t.Helper(); _ = f.DeleteRealm(t.Context(), "wx", true) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := ready(t)
			r, err := f.Realm(t.Context(), "wx")
			if err != nil {
				t.Fatal(err)
			}
			if s, err := f.secret(t, wx); err != nil || s.Fields["key_1"] != "app" {
				t.Fatalf("%v %v", s, err)
			}
			tt.change(t, f)
			f.store.away.Store(true)
			s, err := f.Secret(t.Context(), r, wx)
			if tt.stays {
				if err != nil || s.Fields["key_1"] != "app" {
					t.Fatalf("%v %v", s, err)
				}
				return
			}
			wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
		})
	}
}

// A secret that the configuration defines needs no store, any other opens it.
func TestSecretOfADefinedRealm(t *testing.T) {
	f := newFixture(t, defined())
	other := realm.Ref{Realm: "wx", Key: "other"}
	_, err := f.secret(t, other)
	wantError(t, err, realm.CodeSecretNotFound, http.StatusNotFound)
	f.store.away.Store(true)
	if s, err := f.secret(t, wx); err != nil || s.Fields["key_1"] != "app" {
		t.Fatalf("%v %v", s, err)
	}
	_, err = f.secret(t, other)
	wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
}

// The secrets that are remembered are bounded: those that were read long ago
// are forgotten.
func TestRecentSecretsAreBounded(t *testing.T) {
	var r recent[realm.Secret]
	ref := func(i int) realm.Ref { return realm.Ref{Realm: "wx", Key: fmt.Sprint(i)} }
	for i := range 3 * maxRecent {
		r.keep(ref(i), realm.Secret{Ref: ref(i)})
	}
	_, newest := r.find(ref(3*maxRecent - 1))
	_, oldest := r.find(ref(0))
	if n := len(r.young) + len(r.previous); !newest || oldest || n > 2*maxRecent {
		t.Errorf("%d secrets; the newest %v, the oldest %v", n, newest, oldest)
	}
}

func TestStoreError(t *testing.T) {
	if err := StoreError(context.Canceled); !errors.Is(err, context.Canceled) || errors.As(err, new(*realm.Error)) {
		t.Errorf("a cancellation became %v", err)
	}
	for detail, cause := range map[string]error{
		"the store cannot be used now":                     tokenstore.ErrUnavailable,
		"the store was sealed with another encryption key": tokenstore.ErrKey,
		"the store did not answer in time":                 context.DeadlineExceeded,
	} {
		var e *realm.Error
		if err := StoreError(cause); !errors.As(err, &e) || e.Detail != detail || e.Code != realm.CodeUnavailable || !errors.Is(err, cause) {
			t.Errorf("%v became %v", cause, err)
		}
	}
}
