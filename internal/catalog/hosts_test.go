package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// bind binds a secret as the broker does.
func (f *fixture) bind(t *testing.T, ref realm.Ref) error {
	t.Helper()
	r, err := f.Realm(t.Context(), ref.Realm)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Secret(t.Context(), r, ref)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Bind(s)
	return err
}

// wantRefused expects that the secret is not sent, because of the host.
func wantRefused(t *testing.T, err error, host string) {
	t.Helper()
	wantError(t, err, realm.CodeHostNotAllowed, 409)
	if !strings.Contains(err.Error(), `"`+host+`"`) {
		t.Fatalf("%v does not name %s", err, host)
	}
}

// moved are all ways to lead a stored secret, or its token, to another host.
func moved() map[string]func(c *realm.Config) {
	return map[string]func(c *realm.Config){
		"url":   func(c *realm.Config) { c.URL = "https://evil.example/token" },
		"port":  func(c *realm.Config) { c.URL = "https://api.example.com:444/token" },
		"http":  func(c *realm.Config) { c.URL, c.AllowHTTP = "http://api.example.com/token", realm.On },
		"api":   func(c *realm.Config) { c.API = "https://evil.example" },
		"hosts": func(c *realm.Config) { c.Hosts = []string{"*.example.com"} },
		"refresh": func(c *realm.Config) {
			c.Refresh = &realm.Recipe{URL: "https://evil.example/r?r={refresh_token}"}
		},
		"delegate": func(c *realm.Config) {
			c.Recipe, c.Grant = realm.Recipe{}, &realm.Grant{Name: realm.GrantDelegate, TokenURL: "https://evil.example/"}
		},
		"a fixed token": func(c *realm.Config) {
			c.Recipe, c.Grant = realm.Recipe{}, &realm.Grant{Name: realm.GrantStatic, Token: "{secret.key_2}"}
		},
		"part of a fixed token": func(c *realm.Config) {
			c.Recipe, c.Grant = realm.Recipe{}, &realm.Grant{Name: realm.GrantStatic, Token: "x{secret.key_1}"}
		},
		"the link of an authorization": func(c *realm.Config) {
			c.CallbackURL = "https://tokens.example.com/wx-account/callback-token"
			c.Exchange = &realm.Recipe{URL: "https://api.example.com/token", Arguments: []realm.Argument{{Name: "code", Place: realm.PlaceURL, Value: "{code}"}}}
			c.Authorize = &realm.Recipe{URL: "https://api.example.com/authorize", Arguments: []realm.Argument{
				{Name: "state", Place: realm.PlaceURL, Value: "{state}"}, {Name: "hint", Place: realm.PlaceURL, Value: "{secret.key_2}"},
			}}
		},
		"an expression in the link": func(c *realm.Config) {
			c.CallbackURL = "https://tokens.example.com/wx-account/callback-token"
			c.Exchange = &realm.Recipe{URL: "https://api.example.com/token", Arguments: []realm.Argument{{Name: "code", Place: realm.PlaceURL, Value: "{code}"}}}
			c.Authorize = &realm.Recipe{URL: "https://api.example.com/authorize", Arguments: []realm.Argument{
				{Name: "state", Place: realm.PlaceURL, Value: "{state}"}, {Name: "hint", Place: realm.PlaceURL, Expr: "hex(secret.key_2)"},
			}}
		},
		"a callback URL in the link": func(c *realm.Config) {
			c.CallbackURL = "https://api.example.com/{secret.key_2}"
			c.Exchange = &realm.Recipe{URL: "https://api.example.com/token", Arguments: []realm.Argument{{Name: "code", Place: realm.PlaceURL, Value: "{code}"}}}
			c.Authorize = &realm.Recipe{URL: "https://api.example.com/authorize", Arguments: []realm.Argument{
				{Name: "state", Place: realm.PlaceURL, Value: "{state}"}, {Name: "redirect_uri", Place: realm.PlaceURL, Value: "{callback_url}"},
			}}
		},
		"a question in an expression": func(c *realm.Config) {
			c.Arguments = append(c.Arguments, realm.Argument{Name: "q", Place: realm.PlaceURL, Expr: "secret.key_2 < 'm' ? 'a' : string(1 / 0)"})
		},
		"a question about another argument": func(c *realm.Config) {
			c.Arguments = append(c.Arguments, realm.Argument{Name: "q", Place: realm.PlaceURL, Expr: "args.secret < 'm' ? 'a' : string(1 / 0)"})
		},
		"a field in the host": func(c *realm.Config) { c.URL = "https://{secret.key_1}.example.com/token" },
	}
}

// TestMovedRealm: a realm that was changed sent what is stored to any host. It is
// saved, and says which secrets it does not send any more.
func TestMovedRealm(t *testing.T) {
	for name, move := range moved() {
		t.Run(name, func(t *testing.T) {
			f := ready(t)
			c := wechat()
			move(&c)
			info, err := f.SaveRealm(t.Context(), "wx", becomes(c))
			if err != nil || !slices.Equal(info.NeedsValues, []string{"main"}) {
				t.Fatalf("needs the values of %v, %v", info.NeedsValues, err)
			}
			wantError(t, f.bind(t, wx), realm.CodeHostNotAllowed, 409)

			// Back, everything is as it was.
			if info, err := f.SaveRealm(t.Context(), "wx", becomes(wechat())); err != nil || info.NeedsValues != nil {
				t.Fatalf("back: %v, %v", info.NeedsValues, err)
			}
			if err := f.bind(t, wx); err != nil {
				t.Fatalf("back: %v", err)
			}

			// Some of the values are not all of them.
			f.saveRealm(t, "wx", c)
			if _, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: wx, Fields: values("key_1", "app")}); err != nil {
				t.Fatal(err)
			}
			wantError(t, f.bind(t, wx), realm.CodeHostNotAllowed, 409)
			saved, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: wx, Fields: values("key_1", "app", "key_2", "entered-again")})
			if err != nil || saved.NeedsValues {
				t.Fatalf("entered again: %v, %v", saved.NeedsValues, err)
			}
			if err := f.bind(t, wx); err != nil {
				t.Fatalf("entered again: %v", err)
			}
		})
	}
}

// TestDryRunElsewhere: a config of one's own is a changed realm, too.
func TestDryRunElsewhere(t *testing.T) {
	for name, move := range moved() {
		t.Run(name, func(t *testing.T) {
			f := ready(t)
			r, err := f.Realm(t.Context(), "wx")
			if err != nil {
				t.Fatal(err)
			}
			s, err := f.Secret(t.Context(), r, wx)
			if err != nil {
				t.Fatal(err)
			}
			c := wechat()
			if other, err := r.With(&c); err != nil {
				t.Fatal(err)
			} else if _, err := other.Bind(s); err != nil {
				t.Fatalf("the same hosts: %v", err)
			}
			move(&c)
			other, err := r.With(&c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = other.Bind(s)
			wantError(t, err, realm.CodeHostNotAllowed, 409)
		})
	}
}

// TestKeepValues binds what is stored to the hosts that the realm has now.
func TestKeepValues(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.Shared = map[string]realm.Hidden{"app_key": "shared"}
	f.saveRealm(t, "wx", c)
	c.URL = "https://new.example/token"
	info, err := f.SaveRealm(t.Context(), "wx", becomes(c))
	if err != nil || !slices.Equal(info.NeedsValues, []string{"main"}) || !slices.Equal(info.NeedsShared, []string{"app_key"}) {
		t.Fatalf("%v, %v, %v", info.NeedsValues, info.NeedsShared, err)
	}
	wantRefused(t, f.bind(t, wx), "new.example")
	f.changes = nil
	if info, err = f.SaveRealmKeepingValues(t.Context(), "wx", becomes(c)); err != nil || info.NeedsValues != nil || info.NeedsShared != nil {
		t.Fatalf("%v, %v, %v", info.NeedsValues, info.NeedsShared, err)
	}
	f.reported(t, Change{Ref: realm.Ref{Realm: "wx"}}, Change{Ref: wx})
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	_, err = newFixture(t, defined()).SaveRealmKeepingValues(t.Context(), "wx", becomes(c))
	wantError(t, err, realm.CodeReadOnly, 409)
}

// TestKeepValuesOfThisRealm: whoever may not keep values could save the realm
// just behind somebody who may, and have the values bound to a host of his own.
func TestKeepValuesOfThisRealm(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.Shared = map[string]realm.Hidden{"app_key": "shared"}
	c.URL = "https://new.example/token"
	evil := c
	evil.URL = "https://evil.example/token"
	f.after = func() { f.saveRealm(t, "wx", evil) }
	if _, err := f.SaveRealmKeepingValues(t.Context(), "wx", becomes(c)); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, f.bind(t, wx), "evil.example")
	f.saveSecret(t, wx, "key_1", "mine", "key_2", "mine")
	wantRefused(t, f.bind(t, wx), "evil.example") // because of the shared field
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
}

// TestHostIsNamedAsWritten: the error named the host with the very value that
// must not be told.
func TestHostIsNamedAsWritten(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.URL = "https://{secret.key_2}.evil.example/token"
	f.saveRealm(t, "wx", c)
	err := f.bind(t, wx)
	wantRefused(t, err, "{secret.key_2}.evil.example")
	if strings.Contains(err.Error(), "s3cret-value") {
		t.Errorf("the value is told: %v", err)
	}
}

// TestWildcardCovers: a host that was named by a wildcard is no new one, unless
// it has another port or no TLS.
func TestWildcardCovers(t *testing.T) {
	for url, refused := range map[string]bool{
		"https://a.tenant.example/t": false, "https://a.tenant.example:443/t": false,
		"https://a.tenant.example:444/t": true, "https://a.tenant.example:80/t": true, "http://a.tenant.example/t": true, "http://a.tenant.example:443/t": true,
		"https://tenant.example/t": true, "https://a.b.tenant.example/t": true,
	} {
		f := newFixture(t)
		c := wechat()
		c.Hosts = []string{"*.tenant.example"}
		f.saveRealm(t, "wx", c)
		f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
		c.URL, c.AllowHTTP = url, realm.On
		f.saveRealm(t, "wx", c)
		if err := f.bind(t, wx); (err != nil) != refused {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestPresetsRealm: the hosts that a preset brings count like those that are
// written.
func TestPresetsRealm(t *testing.T) {
	f := ready(t)
	info, err := f.SaveRealm(t.Context(), "wx", becomes(realm.Config{Preset: "suning"}))
	if err != nil || !slices.Equal(info.NeedsValues, []string{"main"}) {
		t.Fatalf("needs the values of %v, %v", info.NeedsValues, err)
	}
	f.saveSecret(t, wx, "key_1", "app", "key_2", "again",
		"app_key", "a", "app_secret", "b", "itemcode", "c", "redirect_uri", "https://me.example/callback")
	if err := f.bind(t, wx); err != nil {
		t.Fatalf("entered again: %v", err)
	}
	f.saveRealm(t, "wx", realm.Config{Preset: "suning", API: "https://evil.example"})
	wantRefused(t, f.bind(t, wx), "evil.example")
}

// TestSharedFields are bound like a secret, as the realm has its hosts.
func TestSharedFields(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.Shared = map[string]realm.Hidden{"app_key": "shared"}
	entered := func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config, r.SharedHosts = c, nil
		return r, nil
	}
	if _, err := f.SaveRealm(t.Context(), "wx", entered); err != nil {
		t.Fatal(err)
	}
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	c.URL = "https://evil.example/token"
	info, err := f.SaveRealm(t.Context(), "wx", becomes(c))
	if err != nil || !slices.Equal(info.NeedsShared, []string{"app_key"}) {
		t.Fatalf("needs %v, %v", info.NeedsShared, err)
	}
	f.saveSecret(t, wx, "key_1", "app", "key_2", "entered-again")
	wantRefused(t, f.bind(t, wx), "evil.example")
	if info, err = f.SaveRealm(t.Context(), "wx", entered); err != nil || info.NeedsShared != nil {
		t.Fatalf("entered again: %v, %v", info.NeedsShared, err)
	}
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
}

// TestSharedFieldNamesItsHost: another value of a shared field that stands in a
// host takes the other shared fields elsewhere.
func TestSharedFieldNamesItsHost(t *testing.T) {
	f := newFixture(t)
	c := wechat()
	c.URL = "https://{secret.shop}.example.com/token"
	c.Shared = map[string]realm.Hidden{"app_key": "shared", "shop": "cn"}
	f.saveRealm(t, "wx", c)
	own := realm.Ref{Realm: "wx", Key: "own"}
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	f.saveSecret(t, own, "key_1", "app", "key_2", "s3cret-value", "shop", "us")
	for _, ref := range []realm.Ref{wx, own} {
		if err := f.bind(t, ref); err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
	}
	c.Shared = map[string]realm.Hidden{"app_key": "shared", "shop": "evil"}
	info, err := f.SaveRealm(t.Context(), "wx", becomes(c))
	if err != nil || !slices.Equal(info.NeedsShared, []string{"app_key", "shop"}) || !slices.Equal(info.NeedsValues, []string{"main"}) {
		t.Fatalf("needs %v and %v, %v", info.NeedsShared, info.NeedsValues, err)
	}
	f.saveSecret(t, wx, "key_1", "mine", "key_2", "mine")
	wantRefused(t, f.bind(t, wx), "{secret.shop}.example.com")
	if err := f.bind(t, own); err != nil {
		t.Errorf("a secret with a value of its own: %v", err)
	}
}

// TestSecretNamesItsHost: a value that fills in a host is bound, too.
func TestSecretNamesItsHost(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.URL = "https://{secret.shop}.example.com/token"
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value", "shop", "mine")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	saved, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: wx, Fields: values("shop", "evil")})
	if err != nil || !saved.NeedsValues {
		t.Fatalf("needs values: %v, %v", saved.NeedsValues, err)
	}
	wantRefused(t, f.bind(t, wx), "{secret.shop}.example.com")
	f.saveSecret(t, wx, "shop", "mine")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
}

// TestSecretNamesItsHostInTheFile: a value that fills in a host of a realm of the
// configuration file took the masked values beside it to any host. The operator
// may move the rest of the host.
func TestSecretNamesItsHostInTheFile(t *testing.T) {
	d := defined()
	d.Realm.Config.URL, d.Secrets = "https://{secret.shop}.example.com/token", nil
	f := newFixture(t, d)
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value", "shop", "mine")
	change := func(fields ...string) error {
		_, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: wx, Fields: values(fields...)})
		return err
	}
	wantRefused(t, change("shop", "evil"), "{secret.shop}.example.com")
	wantRefused(t, change("shop", "evil", "key_1", "app", "key_2", string(realm.Mask)), "{secret.shop}.example.com")
	if err := change("key_2", "another"); err != nil {
		t.Fatalf("for the same host: %v", err)
	}

	d.Realm.Config.URL = "https://{secret.shop}.moved.example/token"
	moved, err := New(f.cache, []Definition{d}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Catalog = moved
	if err := f.bind(t, wx); err != nil {
		t.Fatalf("the operator moved the realm: %v", err)
	}
	if err := change("key_1", "app", "key_2", "entered-again", "shop", "other"); err != nil {
		t.Fatalf("with all values: %v", err)
	}
	s, err := f.secret(t, wx)
	if err != nil || s.Fields["shop"] != "other" {
		t.Fatalf("%v, %v", s.Fields, err)
	}
}

// TestOperatorsMoveKeepsRefreshTokens: values that are entered again after the
// operator moved a realm do not end a refresh token, which nobody can enter.
func TestOperatorsMoveKeepsRefreshTokens(t *testing.T) {
	d := defined()
	d.Secrets, d.Realm.Config.Refresh = nil, &realm.Recipe{URL: "https://api.example.com/r?r={refresh_token}"}
	f := newFixture(t, d)
	refresh := realm.Hidden("rt")
	u := SecretUpdate{Ref: wx, Fields: values("key_1", "app", "key_2", "s3cret-value"), RefreshToken: &refresh}
	if _, err := f.SaveSecret(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	d.Realm.Config.Refresh = &realm.Recipe{URL: "https://moved.example/r?r={refresh_token}"}
	moved, err := New(f.cache, []Definition{d}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Catalog = moved
	f.saveSecret(t, wx, "key_1", "app", "key_2", "another")
	if token, _, err := f.store.Token(t.Context(), wx); err != nil || token.Refresh != "rt" {
		t.Fatalf("the refresh token: %v", err)
	}
}

// TestPushBindsNothing: a value that is pushed (suite_ticket) is one of several,
// and says nothing about where the others go.
func TestPushBindsNothing(t *testing.T) {
	f := ready(t)
	c := wechat()
	c.Arguments = append(c.Arguments, realm.Argument{Name: "ticket", Place: realm.PlaceURL, Value: "{secret.ticket}"})
	c.Volatile = []string{"ticket"}
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "ticket", "first")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	c.URL = "https://evil.example/token"
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "ticket", "second")
	wantRefused(t, f.bind(t, wx), "evil.example")
}

// TestEnteredForAnotherHost: whoever enters other values for his own host gets
// neither the token nor the refresh token of those before.
func TestEnteredForAnotherHost(t *testing.T) {
	f := newFixture(t)
	c := wechat()
	c.Refresh = &realm.Recipe{URL: "https://api.example.com/r?r={refresh_token}"}
	f.saveRealm(t, "wx", c)
	refresh, access, end := realm.Hidden("rt"), realm.Hidden("at"), f.now.Add(time.Hour)
	u := SecretUpdate{Ref: wx, Fields: values("key_1", "app", "key_2", "s3cret-value"), Token: &access, ExpiresAt: &end, RefreshToken: &refresh}
	if _, err := f.SaveSecret(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	f.saveSecret(t, wx, "key_1", "app", "key_2", "another")
	if token, _, err := f.store.Token(t.Context(), wx); err != nil || token.Refresh != "rt" {
		t.Fatalf("for the same hosts the refresh token stays: %v", err)
	}
	c.Refresh = &realm.Recipe{URL: "https://evil.example/r?r={refresh_token}"}
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "made", "key_2", "up")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.store.Token(t.Context(), wx); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Errorf("the tokens of before are still there: %v", err)
	}
}

// TestEnteredAgainForAnotherHost: who had made all values his own, for the hosts
// of before, knew what to enter again after he had moved the realm, and the
// refresh token went with it.
func TestEnteredAgainForAnotherHost(t *testing.T) {
	f := newFixture(t)
	c := wechat()
	c.Refresh = &realm.Recipe{URL: "https://api.example.com/r?r={refresh_token}"}
	f.saveRealm(t, "wx", c)
	refresh := realm.Hidden("rt")
	u := SecretUpdate{Ref: wx, Fields: values("key_1", "app", "key_2", "s3cret-value"), RefreshToken: &refresh}
	if _, err := f.SaveSecret(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	f.saveSecret(t, wx, "key_1", "made", "key_2", "up")
	c.Refresh = &realm.Recipe{URL: "https://evil.example/r?r={refresh_token}"}
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "made", "key_2", "up")
	if token, _, err := f.store.Token(t.Context(), wx); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Errorf("the refresh token of before is still there: %v, %v", token.Refresh == "rt", err)
	}
}

// TestSecretWithoutFields: an update that enters nothing binds nothing.
func TestSecretWithoutFields(t *testing.T) {
	f := newFixture(t)
	c := wechat()
	c.Arguments = nil
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx)
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	c.URL = "https://evil.example/token"
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx)
	wantRefused(t, f.bind(t, wx), "evil.example")
}

// TestOperatorsRealm: what the configuration file defines goes where it says,
// also with a secret of the API.
func TestOperatorsRealm(t *testing.T) {
	f := newFixture(t, defined())
	other := realm.Ref{Realm: "wx", Key: "other"}
	f.saveSecret(t, other, "key_1", "app", "key_2", "s3cret-value")
	d := defined()
	d.Realm.Config.URL = "https://moved.example/token"
	again, err := New(f.cache, []Definition{d}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Catalog = again
	for _, ref := range []realm.Ref{wx, other} {
		if err := f.bind(t, ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestMigratedBindings: what the version before stored is bound to the hosts
// that its realm has at the migration.
func TestMigratedBindings(t *testing.T) {
	const testdata = "../../tokenstore/sqlstore/testdata"
	path := filepath.Join(t.TempDir(), "schema4.db")
	for _, file := range []string{path, sqlstore.KeyFileBeside(path)} {
		text, err := os.ReadFile(filepath.Join(testdata, filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := newFixture(t)
	store := sqlstore.SQLite(path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path)), sqlstore.WithHosts(HostsOf))
	t.Cleanup(func() { _ = store.Close() })
	cache := NewCache(Config{Store: store, Open: store.Open, Now: time.Now, Changed: func(Change) {}})
	var err error
	if f.Catalog, err = New(cache, nil, false); err != nil {
		t.Fatal(err)
	}
	v4 := realm.Ref{Realm: "v4", Key: "main"}
	if err := f.bind(t, v4); err != nil {
		t.Fatalf("after the migration: %v", err)
	}
	_, err = f.SaveRealm(t.Context(), "v4", func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config.URL = "https://evil.example/t"
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, f.bind(t, v4), "evil.example")
}
