package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// fields are the secret of the table tests: values with everything that has a
// meaning somewhere.
var fields = map[string]string{
	"appid": "wx1", "appsecret": "a/b+c=d&e f?é\"", "id": "42", "shop": "my-shop", "ratio": "1e3",
	"client_id": "id:1", "client_secret": "s %&=ü", "dir": "a/b c", "flag": "true",
}

// TestRequests has a line for every form of request that some provider wants.
func TestRequests(t *testing.T) {
	const ok = `"token_path":"access_token","expires_in_path":"expires_in"`
	for _, c := range []struct {
		name, config string
		method, path string
		query, body  string
		header       map[string]string
	}{
		{
			name:   "GET, query with the recipe's own first",
			config: `{"url":"@/t?grant_type=cc","arguments":[{"name":"appid","place":"url","value":"{secret.appid}"},{"name":"a b","place":"url","value":"$appsecret"}],` + ok + `}`,
			method: "GET", path: "/t", query: "grant_type=cc&appid=wx1&a%20b=a%2Fb%2Bc%3Dd%26e%20f%3F%C3%A9%22",
			header: map[string]string{"User-Agent": "caddy-tokens", "Accept": "application/json", "Accept-Encoding": "gzip", "Content-Type": ""},
		},
		{
			name:   "POST with a query only (Baidu)",
			config: `{"url":"@/t","method":"POST","arguments":[{"name":"client_id","place":"url","value":"$appid"}],` + ok + `}`,
			method: "POST", path: "/t", query: "client_id=wx1",
			header: map[string]string{"Content-Length": "0", "Content-Type": ""},
		},
		{
			name: "JSON with types and nested names",
			config: `{"url":"@/t","method":"POST","arguments":[
				{"name":"appid","place":"body","value":"$appid"},
				{"name":"force_refresh","place":"body","value":"{force}"},
				{"name":"text_force","place":"body","value":"{force}","type":"string"},
				{"name":"credentials.site.contentUrl","place":"body","value":"$appsecret"},
				{"name":"credentials.name","place":"body","value":"x{secret.id}"},
				{"name":"odd\\.name","place":"body","value":"$$5"},
				{"name":"n","place":"body","value":"$id","type":"number"},
				{"name":"r","place":"body","value":"$ratio","type":"number"},
				{"name":"b","place":"body","value":"false","type":"boolean"},
				{"name":"f","place":"body","value":"$flag","type":"boolean"}],` + ok + `}`,
			method: "POST", path: "/t",
			body:   `{"appid":"wx1","force_refresh":false,"text_force":"false","credentials":{"site":{"contentUrl":"a/b+c=d\u0026e f?é\""},"name":"x42"},"odd.name":"$5","n":42,"r":1e3,"b":false,"f":true}`,
			header: map[string]string{"Content-Type": "application/json"},
		},
		{
			name: "form",
			config: `{"url":"@/t","method":"POST","content_type":"form","arguments":[
				{"name":"a b","place":"body","value":"$appsecret"},{"name":"scope","place":"body","value":"x"},{"name":"scope","place":"body","value":"{{y}"}],` + ok + `}`,
			method: "POST", path: "/t", body: "a+b=a%2Fb%2Bc%3Dd%26e+f%3F%C3%A9%22&scope=x&scope=%7By%7D",
			header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		},
		{
			name:   "text body",
			config: `{"url":"@/t","method":"PUT","content_type":"text","arguments":[{"name":"","place":"body","value":"<q>{secret.appid}</q>"}],` + ok + `}`,
			method: "PUT", path: "/t", body: "<q>wx1</q>",
			header: map[string]string{"Content-Type": "text/plain; charset=utf-8", "Accept": "*/*"},
		},
		{
			name:   "path template and values in URLs",
			config: `{"url":"@/app/{installation}/{secret.dir}/x?q={secret.appsecret}","method":"POST","arguments":[{"name":"installation","place":"path","value":"i {secret.id}/?"}],` + ok + `}`,
			method: "POST", path: "/app/i%2042%2F%3F/a%2Fb%20c/x", query: "q=a%2Fb%2Bc%3Dd%26e%20f%3F%C3%A9%22",
		},
		{
			name:   "basic, with the values as they are",
			config: `{"url":"@/t","arguments":[{"name":"$id","place":"basic","value":"$client_secret"}],` + ok + `}`,
			method: "GET", path: "/t",
			header: map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("42:s %&=ü"))},
		},
		{
			name: "headers, one of them replaced",
			config: `{"url":"@/t","method":"POST","arguments":[{"name":"x-api-key","place":"header","value":"k-{secret.id}"},
				{"name":"content-type","place":"header","value":"application/vnd.x+json"},{"name":"user-agent","place":"header","value":"me"},{"name":"a","place":"body","value":"b"}],` + ok + `}`,
			method: "POST", path: "/t", body: `{"a":"b"}`,
			header: map[string]string{"X-Api-Key": "k-42", "Content-Type": "application/vnd.x+json", "User-Agent": "me"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(201, "", goodAnswer))
			b := bind(t, realmOf(t, c.config, p.URL), fields)
			if _, err := b.Fetch(context.Background(), testClient(t), Request{}); err != nil {
				t.Fatal(err)
			}
			got := p.requests[0]
			if got.method != c.method || got.path != c.path || got.query != c.query || got.body != c.body {
				t.Errorf("request\n%s %s?%s\n%s", got.method, got.path, got.query, got.body)
			}
			for name, want := range c.header {
				if value := got.header.Get(name); value != want {
					t.Errorf("%s: %q, want %q", name, value, want)
				}
			}
			if got.header.Get("Connection") != "close" {
				t.Error("the connection would be kept")
			}
		})
	}
}

func TestForce(t *testing.T) {
	p := newProvider(t, answering(200, "", goodAnswer))
	b := bind(t, realmOf(t, `{"url":"@/t?f={force}","method":"POST","arguments":[{"name":"force_refresh","place":"body","value":"{force}"}],"token_path":"access_token"}`, p.URL), nil)
	if _, err := b.Fetch(context.Background(), testClient(t), Request{Force: true}); err != nil {
		t.Fatal(err)
	}
	if got := p.requests[0]; got.body != `{"force_refresh":true}` || got.query != "f=true" {
		t.Errorf("request %+v", got)
	}
}

func TestHostTemplate(t *testing.T) {
	r := realmOf(t, `{"url":"https://{secret.shop}.example.com:8443/t","token_path":"t"}`, "")
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"my-shop": "https://my-shop.example.com:8443/t", "a.b": "https://a.b.example.com:8443/t",
		"": "", "evil.com/": "", "a@b": "", "evil.com?": "", "evil.com#": "", "a:1": "", ".a": "", "a.": "", "a..b": "",
		"a b": "", "a\r\nb": "", "é": "", "%2f": "", "[::1]": "", `a\b`: "", "-": "",
	} {
		b, err := p.Bind(secretOf(map[string]string{"shop": value}))
		if want == "" {
			var field *realm.FieldError
			if !errors.As(err, &field) || field.Field != "shop" {
				t.Errorf("%q: error %v", value, err)
			} else if value != "" && strings.Contains(field.Error(), value) && len(value) > 2 {
				t.Errorf("%q is in the error %v", value, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		if out, err := p.fetch.render(b.values, b.ref); err != nil || out.url != want {
			t.Errorf("%q: %v, %v", value, out, err)
		}
	}
}

// TestBindRefuses: a value that cannot stand where the recipe puts it is found
// before anything is sent, and is not shown.
func TestBindRefuses(t *testing.T) {
	const value = "SECRETVALUE\r\nX-Evil: 1"
	for config, field := range map[string]string{
		`{"url":"https://x/t","token_path":"t","arguments":[{"name":"X-Key","place":"header","value":"$bad"}]}`:                            "config.arguments[0].value",
		`{"url":"https://x/t","token_path":"t","method":"POST","arguments":[{"name":"n","place":"body","type":"number","value":"$bad"}]}`:  "config.arguments[0].value",
		`{"url":"https://x/t","token_path":"t","method":"POST","arguments":[{"name":"n","place":"body","type":"boolean","value":"$bad"}]}`: "config.arguments[0].value",
		`{"url":"https://x/{secret.dots}/t","token_path":"t"}`:                                                                             "config.url",
		`{"url":"https://x/t","token_path":"t","arguments":[{"name":"$colon","place":"basic","value":"x"}]}`:                               "config.arguments[0].name",
		`{"url":"https://x/t","token_path":"t","arguments":[{"name":"a","place":"url","value":"$absent"}]}`:                                "absent",
		`{"url":"https://x/t","token_path":"t","inject":[{"place":"header","name":"A","value":"{secret.absent}{token}"}]}`:                 "absent",
		`{"url":"https://x/t","token_path":"t","api":"https://{secret.absent}.x"}`:                                                         "absent",
		`{"url":"https://x/t","token_path":"t","hosts":["{secret.bad}.x"]}`:                                                                "bad",
		`{}`: "token",
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		_, err = p.Bind(secretOf(map[string]string{"bad": value, "dots": "..", "colon": "a:b"}))
		var fault *realm.FieldError
		if !errors.As(err, &fault) || fault.Field != field {
			t.Errorf("%s: error %v, want field %s", config, err, field)
		} else if strings.Contains(err.Error(), "SECRETVALUE") {
			t.Errorf("%s: the value is in %v", config, err)
		}
	}
}

func TestSharedFields(t *testing.T) {
	p := newProvider(t, answering(200, "", goodAnswer))
	r := realmOf(t, `{"url":"@/t?a={secret.app_key}&b={secret.own}","token_path":"access_token"}`, p.URL)
	r.Config.Shared = map[string]realm.Hidden{"app_key": "shared", "own": "shared"}
	b := bind(t, r, map[string]string{"own": "secret"})
	if _, err := b.Fetch(context.Background(), testClient(t), Request{}); err != nil {
		t.Fatal(err)
	}
	if got := p.requests[0].query; got != "a=shared&b=secret" {
		t.Errorf("query %s", got)
	}
}
