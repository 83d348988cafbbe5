package presets

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestCaddyfile(t *testing.T) {
	child := Preset{
		Name: "child",
		Fields: []Field{
			{Name: "app-id"}, {Name: "child_key", Shared: true}, {Name: "zone", Default: "cn"}, {Name: "ticket", Pushed: true}, {Name: "parent"},
		},
		Config: realm.Config{Recipe: realm.Recipe{Arguments: []realm.Argument{
			{Name: "a", Place: realm.PlaceURL, Value: "{token_of.wechat}"},
			{Name: "b", Place: realm.PlaceURL, Value: "{token_of.wechat.main}"},
			{Name: "c", Place: realm.PlaceURL, Value: "{token_of.nobody}"},
		}}},
	}
	const want = `realm wechat {
	preset wechat
	secret main {
		appid {env.WECHAT_APPID}
		appsecret {env.WECHAT_APPSECRET}
	}
}
realm child {
	preset child
	shared {
		child_key {env.CHILD_KEY}
	}
	secret main {
		app-id {env.CHILD_APP_ID}
		parent main
	}
}
`
	if got := child.Caddyfile(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	child.Fields = []Field{{Name: "key", Shared: true}}
	child.Config = realm.Config{}
	if got, want := child.Caddyfile(), "realm child {\n\tpreset child\n\tsecret main {\n\t\tkey {env.CHILD_KEY}\n\t}\n}\n"; got != want {
		t.Errorf("where all fields are shared: got\n%s", got)
	}
}

// What two of the presets in front need stands there once.
func TestCaddyfileWithParentsThatShareOne(t *testing.T) {
	child := Preset{Name: "child", Config: realm.Config{Recipe: realm.Recipe{Arguments: []realm.Argument{
		{Name: "a", Place: realm.PlaceURL, Value: "{token_of.wechat_open_preauth}"},
		{Name: "b", Place: realm.PlaceURL, Value: "{token_of.wechat_open}"},
	}}}}
	var names []string
	for _, p := range child.Parents() {
		names = append(names, p.Name)
	}
	if want := []string{"wechat_open", "wechat_open_preauth"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if n := strings.Count(child.Caddyfile(), "preset wechat_open\n"); n != 1 {
		t.Errorf("wechat_open stands there %d times", n)
	}
}

func TestCurl(t *testing.T) {
	for want, example := range map[string]*Example{
		"curl 'localhost:8081/api/token?realm=x&key=main'":                                                               nil,
		"curl localhost:8080/x/main/a":                                                                                   {Method: "GET", Path: "/a"},
		"curl 'localhost:8080/x/main/a?b=c&d=e'":                                                                         {Method: "GET", Path: "/a?b=c&d=e"},
		"curl -H 'b: 2' -H 'version: 1' localhost:8080/x/main/a":                                                         {Method: "GET", Path: "/a", Header: map[string]string{"version": "1", "b": "2"}},
		"curl -X DELETE localhost:8080/x/main/a":                                                                         {Method: "DELETE", Path: "/a"},
		"curl -X POST localhost:8080/x/main/a":                                                                           {Method: "POST", Path: "/a"},
		`curl -H 'Content-Type: application/json' localhost:8080/x/main/a --data-binary '{"it'\''s": 1}'`:                {Method: "POST", Path: "/a", ContentType: "application/json", Body: `{"it's": 1}`},
		`curl -X PUT -H 'Content-Type: application/json' localhost:8080/x/main/a --data-binary '{}'`:                     {Method: "PUT", Path: "/a", ContentType: "application/json", Body: `{}`},
		"curl -H 'Content-Type: application/x-www-form-urlencoded' localhost:8080/x/main/a --data-binary 'text=a%20b&c'": {Method: "POST", Path: "/a", ContentType: "application/x-www-form-urlencoded", Body: "text=a%20b&c"},
	} {
		if got := (Preset{Name: "x", Example: example}).Curl(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestTickets(t *testing.T) {
	p := Preset{Name: "x"}
	if got := p.TokenPush(); got != "" {
		t.Errorf("without a format: %q", got)
	}
	p.Config.Push = realm.PushFeishu
	if got, want := p.TokenPush(), "token_push /x/ticket x main\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := `curl -H 'Content-Type: application/json' localhost:8081/api/secret/x/main/push --data-binary '{"field": "t", "value": "..."}'`
	if got := p.PushCurl("t"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNeedsPerson(t *testing.T) {
	for _, c := range []struct {
		config realm.Config
		want   bool
	}{
		{realm.Config{}, false},
		{realm.Config{Authorize: &realm.Recipe{}}, true},
		{realm.Config{Authorize: &realm.Recipe{}, Unattended: realm.On}, false},
		{realm.Config{Grant: &realm.Grant{AuthorizeURL: "https://a.example"}}, true},
		{realm.Config{Grant: &realm.Grant{}}, false},
	} {
		if got := (Preset{Config: c.config}).NeedsPerson(); got != c.want {
			t.Errorf("%+v: %v", c.config, got)
		}
	}
}

func TestHosts(t *testing.T) {
	for want, config := range map[string]realm.Config{
		"":                 {},
		"api.example.com":  {API: "https://api.example.com/v1"},
		"a.example:8443":   {API: "https://a.example:8443"},
		"*.salesforce.com": {API: "https://api.example.com", Hosts: []string{"*.salesforce.com"}},
	} {
		got := Preset{Config: config}.Hosts()
		if len(got) > 1 || len(got) == 1 && got[0] != want || len(got) == 0 && want != "" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
