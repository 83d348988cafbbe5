package curl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		`curl a`:                       {"curl", "a"},
		"curl 'a b'  \"c\\\"d\" e\\ f": {"curl", "a b", `c"d`, "e f"},
		"curl \\\n -d \\\r\n x":        {"curl", "-d", "x"},
		`curl $'a\'b\n\x41é'`:          {"curl", "a'b\nAé"},
		`curl '微信' ""`:                 {"curl", "微信", ""},
		"curl a#b # the rest":          {"curl", "a#b"},
		`curl "a\b\$"`:                 {"curl", `a\b$`},
		`curl 微信`:                      {"curl", "微信"},
		"curl a'b'\"c\"":               {"curl", "abc"},
	} {
		got, err := splitWords(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{
		"curl $TOKEN", "curl \"$TOKEN\"", "curl `x`", "curl 'a", `curl "a`, "curl $'a", "curl a | jq", "curl a; b", "curl a & b", "curl a > f", `curl \`,
		`curl $'\x'`, "curl \xff",
	} {
		if _, err := splitWords(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestDraft: what is confidential goes into the fields, the rest into the config.
func TestDraft(t *testing.T) {
	for name, c := range map[string]struct {
		command, config string
		fields          map[string]string
	}{
		"query": {
			`curl 'https://api.example.com/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=s3'`,
			`{"api":"https://api.example.com","url":"https://api.example.com/cgi-bin/token","method":"GET","arguments":[
				{"name":"grant_type","place":"url","value":"client_credential"},{"name":"appid","place":"url","value":"{secret.appid}"},
				{"name":"secret","place":"url","value":"{secret.secret}"}]}`,
			map[string]string{"appid": "wx1", "secret": "s3"},
		},
		"client credentials": {
			`curl -su 'me:p4' https://login.example.com/oauth2/token -d grant_type=client_credentials --data-urlencode 'scope=read write'`,
			`{"api":"https://login.example.com","grant":{"name":"client_credentials","token_url":"https://login.example.com/oauth2/token","scopes":["read","write"]}}`,
			map[string]string{"client_id": "me", "client_secret": "p4"},
		},
		"client credentials, not encoded": {
			`curl https://me:p%2B4@login.example.com/token -d grant_type=client_credentials`,
			`{"api":"https://login.example.com","grant":{"name":"client_credentials","token_url":"https://login.example.com/token","token_endpoint_auth_method":"client_secret_basic_raw"}}`,
			map[string]string{"client_id": "me", "client_secret": "p+4"},
		},
		"client credentials in the form": {
			`curl https://login.example.com/token -d grant_type=client_credentials -d client_id=me -d client_secret=p4 -d audience=x`,
			`{"api":"https://login.example.com","grant":{"name":"client_credentials","token_url":"https://login.example.com/token","audience":"x","token_endpoint_auth_method":"client_secret_post"}}`,
			map[string]string{"client_id": "me", "client_secret": "p4"},
		},
		"refresh token": {
			`curl https://login.example.com/token -d grant_type=refresh_token -d refresh_token=r5 -d client_id=me`,
			`{"api":"https://login.example.com","grant":{"name":"refresh_token","token_url":"https://login.example.com/token","token_endpoint_auth_method":"none"}}`,
			map[string]string{"client_id": "me"},
		},
		"json": {
			`curl -X POST https://open.example.com/auth -H 'Content-Type: application/json' -H 'X-Api-Key: k6' -H 'X-Version: 2' -d '{"app": {"app_id": "cli", "app_secret": "s7"}, "n": 3, "ok": true, "list": ["{x}"]}'`,
			`{"api":"https://open.example.com","url":"https://open.example.com/auth","method":"POST","content_type":"json","arguments":[
				{"name":"app.app_id","place":"body","value":"{secret.app_id}"},{"name":"app.app_secret","place":"body","value":"{secret.app_secret}"},
				{"name":"n","place":"body","value":"3","type":"number"},{"name":"ok","place":"body","value":"true","type":"boolean"},
				{"name":"list.0","place":"body","value":"{{x}"},
				{"name":"X-Api-Key","place":"header","value":"{secret.x_api_key}"},{"name":"X-Version","place":"header","value":"2"}]}`,
			map[string]string{"app_id": "cli", "app_secret": "s7", "x_api_key": "k6"},
		},
		"password": {
			`curl http://crm.example.com/token -d 'grant_type=password&username=u&password=p%268' -H 'Authorization: Bearer t9'`,
			`{"api":"http://crm.example.com","allow_http":true,"url":"http://crm.example.com/token","method":"POST","content_type":"form","arguments":[
				{"name":"grant_type","place":"body","value":"password"},{"name":"username","place":"body","value":"{secret.username}"},
				{"name":"password","place":"body","value":"{secret.password}"},{"name":"Authorization","place":"header","value":"Bearer {secret.authorization}"}]}`,
			map[string]string{"username": "u", "password": "p&8", "authorization": "t9"},
		},
		"path and names that say nothing": {
			`curl -G https://api.example.com/bot123456789:ABCdefGHIjkl/getToken -d x=a1b2c3d4e5f6a1b2c3d4e5f6 -d y='$z'`,
			`{"api":"https://api.example.com","url":"https://api.example.com/{secret.path_1}/getToken","method":"GET","arguments":[
				{"name":"x","place":"url","value":"{secret.x}"},{"name":"y","place":"url","value":"$$z"}]}`,
			map[string]string{"path_1": "bot123456789:ABCdefGHIjkl", "x": "a1b2c3d4e5f6a1b2c3d4e5f6"},
		},
	} {
		r, err := Parse(c.command)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, err := r.Draft()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var want realm.Config
		if err := realm.Decode([]byte(c.config), "config", &want); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(d.Config)
		wanted, _ := json.Marshal(want)
		if diff := cmp.Diff(string(wanted), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		fields := map[string]string{}
		for name, value := range d.Fields {
			fields[name] = value.Reveal()
		}
		if diff := cmp.Diff(c.fields, fields); diff != "" {
			t.Errorf("%s: fields (-want +got):\n%s", name, diff)
		}
		whole := realm.Realm{ID: "r", Config: d.Config}
		if err := whole.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAssertion: a JWT of the command is not kept; the realm makes its own.
func TestAssertion(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.eyJpc3MiOiJzYUBleGFtcGxlIiwic2NvcGUiOiJhIGIiLCJhdWQiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tL3Rva2VuIn0.c2ln"
	r, err := Parse("curl https://login.example.com/token -d grant_type=" + "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" + " -d assertion=" + token)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Draft()
	if err != nil {
		t.Fatal(err)
	}
	g := d.Config.Grant
	if g == nil || g.Name != realm.GrantJWTBearer || g.KeyID != "{secret.key_id}" || len(g.Scopes) != 2 || d.Fields["issuer"].Reveal() != "sa@example" || len(d.Missing) != 1 {
		t.Errorf("%+v %v", g, d)
	}
}

func TestRefused(t *testing.T) {
	for command, words := range map[string]string{
		"wget x":                       "begin with curl",
		"curl":                         "0 URLs",
		"curl a b":                     "2 URLs",
		"curl -F a=b x.example":        "multipart",
		"curl --form a=b x.example":    "multipart",
		"curl -sk https://x.example":   "always verified",
		"curl -d @file x.example":      "names a file",
		"curl -H @file x.example":      "names a file",
		"curl -b jar x.example":        "names a file",
		"curl -X DELETE x.example":     "GET, POST or PUT",
		"curl -I x.example":            "HEAD",
		"curl --what x.example":        "not known",
		"curl -q x.example":            "not known",
		"curl x.example -d":            "needs a value",
		"curl ftp://x.example":         "not an http",
		"curl -X GET x.example -d a=b": "no body",
		"curl -x proxy x.example":      "--proxy",
		"curl -H 'Authorization: Basic !!canary!!' x.example":               "base64",
		"curl x.example -d grant_type=authorization_code -d code=canary":    "good once",
		"curl x.example -d '{\"a\": null}'":                                 "null",
		"curl x.example -d '{\"a.b\": \"canary\"}'":                         "dot",
		"curl 'https://x.example?a=%zz'":                                    "% escapes",
		"curl https://x.example -d '{\"a\": {}}' -H 'Content-Type: a/json'": "empty",
	} {
		r, err := Parse(command)
		if err == nil {
			_, err = r.Draft()
		}
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v; want %q", command, err, words)
		}
	}
}

// TestPresets: the provider of a request is recognized, and its values fit the
// fields of the preset.
func TestPresets(t *testing.T) {
	r, err := Parse(`curl "https://api.weixin.qq.com/cgi-bin/stable_token" -d '{"grant_type":"client_credential","appid":"wx1","secret":"s2"}'`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Draft()
	if err != nil || len(d.Presets) == 0 || d.Presets[0] != "wechat" {
		t.Fatalf("%v %v", d, err)
	}
	p, err := presets.Get("wechat")
	if err != nil {
		t.Fatal(err)
	}
	fields, err := r.ForPreset(p)
	if err != nil || fields["appid"].Reveal() != "wx1" || fields["appsecret"].Reveal() != "s2" {
		t.Errorf("%v %d fields", err, len(fields))
	}
}

// FuzzParse: any text is a request or an error, and what became of it is valid,
// without a value of a secret in it.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"curl -u 'a:b' https://x.example/t -d grant_type=client_credentials", `curl $'\u00e9' -H "a: b" --json '{"a":[1,{"b":true}]}' x`,
		"curl -G x.example -d a=b -d 'c d' --data-urlencode e=f", "curl -XPOST -dsecret=abc123 'https://x.example/{y}?z=$a'",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		d, err := r.Draft()
		if err != nil {
			return
		}
		config, err := json.Marshal(d.Config)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range d.Fields {
			const least = 12 // shorter ones stand in any text
			if len(value) >= least && isConfidential(name) && strings.Contains(string(config), value.Reveal()) && !strings.Contains(r.URL.Host, value.Reveal()) {
				t.Errorf("the value of %s stands in the config", name)
			}
		}
	})
}
