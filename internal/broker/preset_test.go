package broker

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A realm that names a preset works as the preset says; what the preset lacks
// is missing.
func TestPreset(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "sn", realm.Config{Preset: "suning", DefaultKey: "main"})
	ref := realm.Ref{Realm: "sn", Key: "main"}
	n.saveSecret(t, ref, "app_key", "K", "app_secret", "S", "redirect_uri", "https://x.example/cb", "itemcode", "1")
	if _, err := n.AuthorizeURL(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	_, err := n.Proxyable(t.Context(), ref)
	wantError(t, err, realm.CodeNotProxyable, http.StatusConflict)
}

var jdOrigin = regexp.MustCompile(`https://open-oauth\.jd\.com`)

// vop is JD's buyers' API as its preset says, at a fake of it.
func vop(t *testing.T, opts fakeprovider.Options) (a, b *node, fake *fakeprovider.Provider, base string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path, c := filepath.Join(t.TempDir(), "tokens.db"), newClock()
	a, b = nodeOn(t, newStore(t, path, c), nil, c), nodeOn(t, newStore(t, path, c), nil, c)
	opts.Style, opts.Now = fakeprovider.JDVOP, c.now
	opts.Credentials, opts.Users = map[string]string{"K": "S"}, map[string]string{"buyer": "hunter2"}
	opts.Redirects, opts.Keys = map[string]string{"K": callbackURL}, map[string]*rsa.PublicKey{"K": &key.PublicKey}
	opts.Refresh = fakeprovider.RefreshRule{Semantics: fakeprovider.Strict, Life: 30 * 24 * time.Hour}
	fake = fakeprovider.New(opts)
	config, err := presets.Apply(realm.Config{Preset: "jd_vop", Shared: map[string]realm.Hidden{
		"app_key": "K", "app_secret": "S", "redirect_uri": callbackURL, "rsa_key": realm.Hidden(base64.StdEncoding.EncodeToString(pkcs8)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	config.Preset = ""
	base = fake.Start(t)
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var here realm.Config
	if err := json.Unmarshal(jdOrigin.ReplaceAll(text, []byte(base)), &here); err != nil {
		t.Fatal(err)
	}
	here.AllowHTTP, here.Shared = realm.On, config.Shared
	a.saveRealm(t, jd.Realm, here)
	a.saveSecret(t, jd, "username", "buyer", "password", "hunter2")
	return a, b, fake, base
}

// JD without a person: the code comes with a redirect, or JD calls back, before
// or after it answers, and another node. Then the token is refreshed; and when
// the refresh token is refused, in whatever words, it is authorized anew.
func TestJDWithoutAPerson(t *testing.T) {
	for name, delivery := range map[string]fakeprovider.Delivery{
		"redirects": fakeprovider.Redirects, "calls first": fakeprovider.CallsFirst, "calls later": fakeprovider.CallsLater,
	} {
		t.Run(name, func(t *testing.T) {
			var b *node
			face := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				cb, err := grant.ParseCallback(r.URL.RawQuery)
				if err == nil {
					_, err = b.Callback(r.Context(), jd.Realm, cb)
				}
				if err != nil {
					t.Error(err)
				}
			})
			server := httptest.NewServer(face)
			t.Cleanup(server.Close)
			a, other, fake, base := vop(t, fakeprovider.Options{Codes: fakeprovider.CodeRule{Delivery: delivery}})
			b = other
			if delivery != fakeprovider.Redirects {
				fake.SetRedirect("K", server.URL+"/callback")
				a.saveSecret(t, jd, "redirect_uri", server.URL+"/callback")
			}
			token := func(n *node) {
				t.Helper()
				lease, err := n.Token(t.Context(), jd)
				if err != nil || lease.Access.Reveal() != fake.Newest() || !fake.Live(fake.Newest()) {
					t.Fatalf("%v %v", lease, err)
				}
			}
			token(a)
			token(b)
			if n := fake.Authorizations(); n != 1 {
				t.Fatalf("%d authorizations", n)
			}
			a.clock.advance(25 * time.Hour)
			token(a)
			if n := fake.Authorizations(); n != 1 {
				t.Fatalf("%d authorizations, the token was not refreshed", n)
			}
			stored, _, err := a.pool.store.Token(t.Context(), jd)
			if err != nil {
				t.Fatal(err)
			}
			spent, err := http.PostForm(base+"/oauth2/refresh_token?"+url.Values{ // by somebody else
				"app_key": {"K"}, "app_secret": {"S"}, "grant_type": {"refresh_token"}, "refresh_token": {stored.Refresh.Reveal()},
			}.Encode(), nil)
			if err != nil || spent.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", spent, err)
			}
			_ = spent.Body.Close()
			a.clock.advance(25 * time.Hour)
			token(a)
			if n := fake.Authorizations(); n != 2 || len(fake.CodeReuses()) > 0 {
				t.Fatalf("%d authorizations, codes used twice: %v", n, fake.CodeReuses())
			}
		})
	}
}

// A wrong password is a failure of the provider's words, and not tried again.
func TestJDWrongPassword(t *testing.T) {
	for _, redirects := range []bool{false, true} {
		a, _, fake, _ := vop(t, fakeprovider.Options{Codes: fakeprovider.CodeRule{RefusalRedirects: redirects}})
		a.saveSecret(t, jd, "password", "wrong")
		for range 5 {
			_, err := a.Token(t.Context(), jd)
			var e *realm.Error
			if !errors.As(err, &e) || e.Code != realm.CodeTokenUnavailable {
				t.Fatal(err)
			}
			a.clock.advance(5 * time.Minute)
		}
		denied := 0
		for _, e := range fake.Events() {
			if e.Kind == fakeprovider.Denied {
				denied++
			}
		}
		if denied != 1 {
			t.Errorf("%d logins with a wrong password", denied)
		}
		a.saveSecret(t, jd, "password", "hunter2")
		if _, err := a.Token(t.Context(), jd); err != nil {
			t.Error(err)
		}
	}
}

// A refresh token is imported before the fields are there that its use needs,
// and used as soon as they are; an access token is refused until then.
func TestJDImportedBeforeItsFields(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, n *node, whole realm.Config){
		"the realm":  func(t *testing.T, n *node, whole realm.Config) { t.Helper(); n.saveRealm(t, jd.Realm, whole) },
		"the secret": func(t *testing.T, n *node, _ realm.Config) { t.Helper(); n.saveSecret(t, jd, "app_secret", "S") },
	} {
		t.Run(name, func(t *testing.T) {
			a, b, fake, _ := vop(t, fakeprovider.Options{})
			info, err := a.Catalog().RealmInfo(t.Context(), jd.Realm)
			if err != nil {
				t.Fatal(err)
			}
			lame := info.Config
			lame.Shared = maps.Clone(lame.Shared)
			delete(lame.Shared, "app_secret")
			a.saveRealm(t, jd.Realm, lame)
			pair := fake.Authorize("K")
			access, refresh, end := realm.Hidden(pair.Access), realm.Hidden(pair.Refresh), a.clock.now().Add(pair.Life)
			_, err = a.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, Token: &access, ExpiresAt: &end, RefreshToken: &refresh})
			var wrong *realm.FieldError
			if !errors.As(err, &wrong) || wrong.Field != "token" {
				t.Fatalf("an access token: %v", err)
			}
			if _, err := a.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, RefreshToken: &refresh}); err != nil {
				t.Fatal(err)
			}
			_, err = a.Token(t.Context(), jd)
			wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
			fill(t, a, info.Config)
			for _, n := range []*node{a, b} {
				lease, err := n.Token(t.Context(), jd)
				if err != nil || lease.Access.Reveal() != fake.Newest() || lease.Access == access {
					t.Fatalf("%v %v", lease, err)
				}
			}
			if spends := fake.Spends(); len(spends) != 1 || spends[0].Refresh != pair.Refresh || fake.Authorizations() != 0 {
				t.Errorf("spent %v, %d authorizations", spends, fake.Authorizations())
			}
		})
	}
}
