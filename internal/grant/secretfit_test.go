package grant

import (
	"slices"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What a secret lacks, and what nothing reads of it.
func TestFieldsThatDoNotFit(t *testing.T) {
	url := func(text string) realm.Config {
		return realm.Config{Recipe: realm.Recipe{URL: "https://x.example/t?" + text, TokenPath: "t"}}
	}
	shared := url("a={secret.a}&b={secret.b}")
	shared.Shared = map[string]realm.Hidden{"b": "x"}
	volatile := url("a={secret.a}&v={secret.v}")
	volatile.Volatile = []string{"v"}
	refreshed := url("a={secret.a}")
	refreshed.Refresh = &realm.Recipe{URL: "https://x.example/t?r={refresh_token}"}
	ofPush := url("a={secret.suite_id}&v={secret.suite_ticket}")
	ofPush.Volatile, ofPush.Push = []string{"suite_ticket"}, realm.PushWeCom
	for name, c := range map[string]struct {
		config          realm.Config
		fields          []string
		missing, unread []string
	}{
		"all there":             {url("a={secret.a}"), []string{"a"}, nil, nil},
		"misspelt":              {url("a={secret.appid}&b={secret.b}"), []string{"app_id", "b"}, []string{"appid"}, []string{"app_id"}},
		"shared":                {shared, []string{"a"}, nil, nil},
		"pushed":                {volatile, []string{"a", "v"}, nil, nil},
		"of a push":             {ofPush, []string{"corpid", "push_aes_key", "push_token", "suite_id", "suite_ticket", "x"}, nil, []string{"x"}},
		"pushed later":          {volatile, []string{"a"}, nil, nil},
		"a first refresh token": {refreshed, []string{"a", "refresh_token"}, nil, nil},
		"no refresh":            {url("a={secret.a}"), []string{"a", "refresh_token"}, nil, []string{"refresh_token"}},
		"the key of a parent":   {url("a={secret.a}"), []string{"a", "parent"}, nil, nil},
		"a fixed token":         {realm.Config{Grant: &realm.Grant{Name: "static"}}, []string{"token", "expires_at", "x"}, nil, []string{"x"}},
		"no token":              {realm.Config{Grant: &realm.Grant{Name: "static"}}, nil, []string{"token"}, nil},
		"a realm to be":         {realm.Config{}, []string{"a"}, []string{"token"}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(realm.Realm{ID: "r", Config: c.config}, false)
			if err != nil {
				t.Fatal(err)
			}
			s := realm.Secret{Fields: map[string]realm.Hidden{}}
			for _, field := range c.fields {
				s.Fields[field] = "v"
			}
			if missing := p.MissingFields(s); !slices.Equal(missing, c.missing) {
				t.Errorf("missing: %v", missing)
			}
			if unread := p.UnreadFields(s); !slices.Equal(unread, c.unread) {
				t.Errorf("unread: %v", unread)
			}
			if faults := p.MissingFaults(s); (len(faults) > 0) != (len(c.missing) > 0) {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}
