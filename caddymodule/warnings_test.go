package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestCaddyfileWarnings: what is allowed and hardly meant is logged with its
// place; what is meant is not.
func TestCaddyfileWarnings(t *testing.T) {
	t.Setenv("CADDYTOKENSTEST", "x")
	i := newInstance(t)
	i.load("", "respond hello") // what is adapted from now on is logged to the file
	const realmX = `{
	tokens {
		realm x {
			fetch GET https://a.example/token {
				query appid {secret.appid}
			}
			inject query access_token
			token_path access_token
			LINE
			secret main {
				appid {env.HOME}
				FIELD
			}
		}
	}
}
`
	literally := "taken literally; for the environment variable, write {env."
	for _, c := range []struct{ line, field, want, at string }{
		{"", "secret $WX_SECRET", literally + "WX_SECRET}", "Caddyfile:12"},
		{"", "secret ${WX_SECRET}", literally + "WX_SECRET}", "Caddyfile:12"},
		{"", "secret %WX_SECRET%", literally + "WX_SECRET}", "Caddyfile:12"},
		{"", "secret $CADDYTOKENSTEST", literally + "CADDYTOKENSTEST}", "Caddyfile:12"},
		{"", "secret $CANARY5F1C", literally + "NAME}", "Caddyfile:12"}, // it may be a password
		{"shared {\nother $WX_SECRET\n}", "", literally + "WX_SECRET}", "Caddyfile:10"},
		{"arguments {\nquery a $WX_SECRET\n}", "", literally + "WX_SECRET}", "Caddyfile:10"},
		{"arguments {\nquery a %WX_SECRET%\n}", "WX_SECRET x", literally + "WX_SECRET}", "Caddyfile:10"},
		{"arguments {\nquery a $WX_SECRET\n}", "WX_SECRET x", "", ""},
		{"arguments {\nquery a $appid\n}", "", "", ""},
		{"arguments {\nquery a $$WX\n}", "", "", ""},
		{"", "secret $key_1", "", ""},
		{"", "secret pa$WORD", "", ""},
		{"", "secret $WX-SECRET", "", ""},
		{"", "secret {env.HOME}", "", ""},
		{"api http://a.example", "", "in clear", "Caddyfile:9"},
		{"api HTTP://10.0.0.1:8080/x", "", "in clear", "Caddyfile:9"},
		{"refresh GET http://a.example/refresh {\nquery t {refresh_token}\n}\nrefresh_token_path r", "", "in clear", "Caddyfile:9"},
		{"api http://a.example\nallow_http", "", "", ""},
		{"api http://localhost:8080", "", "", ""},
		{"api http://127.0.0.1", "", "", ""},
		{"api http://[::1]:80/x", "", "", ""},
		{"api https://a.example", "", "", ""},
		{"api http://{env.HOME}", "", "", ""},
	} {
		before := i.log()
		text := strings.NewReplacer("LINE", c.line, "FIELD", c.field).Replace(realmX)
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Errorf("%s %s: %v", c.line, c.field, err)
		}
		var lines []string
		for line := range strings.Lines(strings.TrimPrefix(i.log(), before)) {
			if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"logger":"tokens"`) && !strings.Contains(line, inTheOpen) {
				lines = append(lines, line)
			}
		}
		switch {
		case c.want == "" && len(lines) > 0:
			t.Errorf("%s %s: %s", c.line, c.field, lines)
		case c.want != "" && (len(lines) != 1 || !strings.Contains(lines[0], c.want) || !strings.Contains(lines[0], `"at":"`+c.at+`"`)):
			t.Errorf("%s %s: want %q at %s, got %s", c.line, c.field, c.want, c.at, lines)
		}
	}
	if strings.Contains(i.log(), "CANARY5F1C") {
		t.Error("a secret is in the log")
	}
}

// TestFieldNames: a field that is a slip of one that the preset reads is told of.
// The optional one that was meant keeps its default, and nobody would see why.
func TestFieldNames(t *testing.T) {
	i := newInstance(t)
	i.load("", "respond hello") // what is adapted from now on is logged to the file
	for text, want := range map[string][]string{
		"preset salesforce\nsecret main {\nlogin_hots {env.A}\n}": {
			`"the preset salesforce reads no field of this name; did you mean 'login_host'?","realm":"x","field":"secrets[0].fields.login_hots","at":"Caddyfile:6"`,
		},
		"preset salesforce\nshared {\nloginhost {env.A}\n}": {
			`did you mean 'login_host'?","realm":"x","field":"shared.loginhost","at":"Caddyfile:6"`,
		},
		"preset wechat\nsecret main {\nappid {env.A}\nappsecret {env.B}\nnote {env.C}\n}": nil, // a secret may hold more
		"secret main {\nappsecert {env.B}\n}":                                             nil, // whatever the recipes read
	} {
		before := i.log()
		text = "{\ntokens {\nrealm x {\n" + text + "\n}\n}\n}\n:80 {\n}\n"
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		log := strings.TrimPrefix(i.log(), before)
		if got := strings.Count(log, "reads no field of this name"); got != len(want) {
			t.Errorf("%s: %d warnings in %s", text, got, log)
		}
		for _, w := range want {
			if !strings.Contains(log, w) {
				t.Errorf("%s: want %s in %s", text, w, log)
			}
		}
	}
}

// TestSecretsInTheOpen: a secret that is written in the Caddyfile itself stands
// in the adapted JSON, which Caddy shows and saves. The place is told, and never
// the value.
func TestSecretsInTheOpen(t *testing.T) {
	i := newInstance(t)
	i.load("", "respond hello") // what is adapted from now on is logged to the file
	for _, c := range []struct {
		tokens, site string
		want         []string
	}{
		{
			"realm x {\nsecret main {\na canary5f1c\nb {env.B}\nc canary5f1c\n}\nsecret second {\na {file./b}\n}\n}", "",
			[]string{`"option":"realm x secret main a, c","at":"Caddyfile:5"`},
		},
		{ // an id and the key of a parent are no secrets, and pages of presets write them so
			"realm x {\npreset wechat\nshared {\nappid wx1\n}\nsecret main {\nappid wx1\nappsecret canary5f1c\n}\n}", "",
			[]string{`"option":"realm x secret main appsecret","at":"Caddyfile:10"`},
		},
		{"realm wechat {\npreset wechat\n}\nrealm x {\npreset wechat_jsapi\nsecret main {\nparent main\n}\n}", "", nil},
		{"realm x {\nshared {\na canary5f1c\n}\n}", "", []string{`"option":"realm x shared a","at":"Caddyfile:5"`}},
		{
			"realm x {\ngrant client_credentials {\ntoken_url https://a.example\nclient_secret canary5f1c\n}\n}", "",
			[]string{`"option":"realm x grant client_secret","at":"Caddyfile:6"`},
		},
		{
			"realm x {\ngrant jwt_bearer {\ntoken_url https://a.example\nprivate_key canary5f1c\n}\n}", "",
			[]string{`"option":"realm x grant private_key","at":"Caddyfile:6"`},
		},
		{"realm x {\ngrant static {\ntoken canary5f1c\n}\n}", "", []string{`"option":"realm x grant token","at":"Caddyfile:5"`}},
		{"realm x {\ngrant client_credentials {\ntoken_url https://a.example\nclient_secret {secret.b}\n}\n}", "", nil},
		{"encryption_key {env.A} canary5f1c", "", []string{`"option":"encryption_key","at":"Caddyfile:3"`}},
		{"encryption_key {env.A}", "", nil},
		{"storage mysql u:canary5f1c@tcp(h:3306)/d", "", []string{`"option":"storage mysql","at":"Caddyfile:3"`}},
		{"storage mysql u:canary5f1c@tcp({env.H}:3306)/d", "", []string{`"option":"storage mysql","at":"Caddyfile:3"`}},
		{"storage mysql u:{env.P}@tcp(h:3306)/d", "", nil},
		{"storage mysql u@tcp(h:3306)/d", "", nil},
		{"storage mysql {env.DSN}", "", nil},
		{"cache redis redis://h:1 redis://u:canary5f1c@h:6379", "", []string{`"option":"cache redis","at":"Caddyfile:3"`}},
		{"cache redis redis://:{env.P}@h:6379", "", nil},
		{"", "token_admin {\nadmin_token canary5f1c\n}", []string{`"option":"admin_token","at":"Caddyfile:7"`}},
		{"", "token_admin {\nadmin_token {env.A}\n}", nil},
	} {
		before := i.log()
		text := "{\ntokens {\n" + c.tokens + "\n}\n}\n:80 {\n" + c.site + "\n}\n"
		if c.site != "" {
			text = strings.Replace(text, "tokens {\n\n}\n", "tokens {\n}\n", 1)
		}
		if _, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var lines []string
		for line := range strings.Lines(strings.TrimPrefix(i.log(), before)) {
			if strings.Contains(line, inTheOpen) {
				lines = append(lines, line)
			}
		}
		if len(lines) != len(c.want) {
			t.Errorf("%s: %s", text, lines)
			continue
		}
		for n, want := range c.want {
			if !strings.Contains(lines[n], want) || !strings.Contains(lines[n], `"level":"warn"`) {
				t.Errorf("want %s, got %s", want, lines[n])
			}
		}
	}
	if strings.Contains(i.log(), "canary5f1c") {
		t.Error("a secret is in the log")
	}
}

// TestUnknownRealmWarning: a realm that a handler names and nobody defined is
// told at the start, those of the Caddyfile and of the database are not.
func TestUnknownRealmWarning(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	site := `
		handle_path /p/* {
			token_proxy {
				realm p
				key main
			}
		}
		handle_path /stored/* {
			token_proxy {
				realm stored
				key main
			}
		}
		handle_path /typo/* {
			token_proxy {
				realm typo
				key {header.X-Key}
			}
		}
		handle_path /twice/* {
			token_proxy {
				realm typo
				key main
			}
		}
		handle_path /long/* {
			reverse_proxy ` + p.URL + ` {
				transport token {
					realm absent
					key main
				}
			}
		}
		token_proxy {
			realm {header.X-Realm}
			key main
		}`
	i.load(p.realm("p", "inject query access_token"), "respond hello")
	i.must("POST", "/api/realm", p.post("stored", inQuery))
	i.load(p.realm("p", "inject query access_token"), site)
	const message = "a handler names a realm that is neither"
	waitFor(t, "two warnings", func() bool { return strings.Count(i.log(), message) == 2 })
	i.load(p.realm("p", "inject query access_token"), "respond hello") // which waits for what was begun
	for _, name := range []string{"absent", "typo"} {
		if got := strings.Count(i.log(), `","realm":"`+name+`"}`); got != 1 {
			t.Errorf("%s: %d warnings\n%s", name, got, i.log())
		}
	}
	if got := strings.Count(i.log(), message); got != 2 {
		t.Errorf("%d warnings", got)
	}
}
