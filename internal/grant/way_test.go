package grant

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Whoever changes a realm must not have stored values sent to a proxy of his own, nor
// to a server that only his own authority vouches for: both count as hosts.
func TestWayCountsAsHost(t *testing.T) {
	const ca = "-----BEGIN CERTIFICATE-----" // whether it is one, is checked before
	compile := func(c realm.Config) *Program {
		t.Helper()
		c.Recipe = realm.Recipe{URL: "https://login.example/token", TokenPath: "t"}
		p, err := Compile(realm.Realm{ID: "r", Config: c}, false)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	secret := realm.Secret{Fields: map[string]realm.Hidden{"pw": "x"}}
	names := func(c realm.Config) (list []string) {
		for _, h := range compile(c).Hosts(secret) {
			list = append(list, h.Name)
		}
		return list
	}
	plain := names(realm.Config{})
	if got := names(realm.Config{Proxy: "http://proxy.example:3128"}); !slices.Equal(got, plain) {
		t.Errorf("a proxy without credentials: %v", got)
	}
	if got := names(realm.Config{Proxy: "http://u:{secret.pw}@proxy.example:3128"}); !slices.Contains(got, "proxy:http://proxy.example:3128") {
		t.Errorf("a proxy that gets a field: %v", got)
	}
	if got := names(realm.Config{CA: ca}); len(got) != len(plain)+1 {
		t.Errorf("an authority: %v", got)
	}
	if got := compile(realm.Config{CA: ca}).SharedHosts(realm.Secret{}); len(got) != len(plain)+1 {
		t.Errorf("an authority, for shared fields: %v", got)
	}
}

// A realm of the API says nothing that is for the configuration file, and none sends
// a token to a proxy in clear.
func TestWayRefused(t *testing.T) {
	for _, c := range []struct {
		config  realm.Config
		trusted bool
		field   string
	}{
		{realm.Config{Proxy: "http://u:pw@proxy.example"}, false, "config.proxy"},
		{realm.Config{Proxy: "http://token@proxy.example"}, false, "config.proxy"},
		{realm.Config{Proxy: "http://proxy.example resolve"}, false, "config.proxy"},
		{realm.Config{Proxy: "http://{secret.a}:{token}@proxy.example"}, true, "config.proxy"},
		{realm.Config{Proxy: "http://proxy.example", API: "http://api.example"}, true, "config.api"},
		{realm.Config{Proxy: "http://proxy.example", AllowHTTP: realm.On, Recipe: realm.Recipe{URL: "http://login.example", TokenPath: "t"}}, false, "config.url"},
	} {
		_, err := Compile(realm.Realm{ID: "r", Config: c.config}, c.trusted)
		if field := new(realm.FieldError); !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%v: %v", c.config.Proxy, err)
		}
		if err != nil && strings.Contains(err.Error(), "pw@") {
			t.Errorf("the password is in %q", err)
		}
	}
}
