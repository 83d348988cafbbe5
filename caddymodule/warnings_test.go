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
			if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, `"logger":"tokens"`) {
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
