package grant

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestRequestsAreBounded: 60 KiB of a realm and a secret of 64 KiB made a
// request of 334 MB. No place of a request, and none of what is made of a
// secret besides, makes more than 1 MiB, or much more of it on the way.
func TestRequestsAreBounded(t *testing.T) {
	const many = 5000
	quoted := strings.Repeat("{secret.s}", many)
	argument := func(place, value string) string {
		return `"arguments":[{"name":"a","place":"` + place + `","value":"` + value + `"}]`
	}
	recipe := func(more string) string {
		return `{"url":"https://x.example","method":"POST","token_path":"t",` + more + `}`
	}
	configs := map[string]string{
		"query":     recipe(argument("url", quoted)),
		"header":    recipe(argument("header", quoted)),
		"JSON":      recipe(argument("body", quoted)),
		"form":      recipe(`"content_type":"form",` + argument("body", quoted)),
		"text":      `{"url":"https://x.example","method":"POST","content_type":"text",` + argument("body", quoted) + `}`,
		"basic":     recipe(argument("basic", quoted)),
		"user":      recipe(`"arguments":[{"name":"` + quoted + `","place":"basic","value":"x"}]`),
		"URL":       `{"url":"https://x.example/` + quoted + `","token_path":"t"}`,
		"URL query": `{"url":"https://x.example/?` + quoted + `","token_path":"t"}`,
		"path":      `{"url":"https://x.example/` + strings.Repeat("{a}", 50) + `","token_path":"t",` + argument("path", "{secret.s}") + `}`,
		"signed":    recipe(`"arguments":[{"name":"a","place":"body","value":"` + quoted + `"},{"name":"b","place":"body","expr":"md5(args.a)"}]`),
		"refresh":   recipe(`"refresh":{"url":"https://x.example",` + argument("url", "{refresh_token}"+quoted) + `}`),
		"api":       recipe(`"api":"https://x.example/` + quoted + `"`),
		"callback":  codeGrant(`,"scopes":["a"]`, `"callback_url":"https://x.example/`+quoted+`"`),
		"escaped":   recipe(argument("url", strings.Repeat("{secret.s}", 8))),
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(realmOf(t, strings.ReplaceAll(config, `"callback_url":"https://y.example/cb",`, ""), ""), true)
			if err != nil {
				t.Fatal(err)
			}
			fields := map[string]string{"client_id": "x", "client_secret": "y", "s": strings.Repeat("%", 64<<10)}
			err = boundedly(t, func() error { _, err := p.Bind(secretOf(fields)); return err })
			var field *realm.FieldError
			if !errors.As(err, &field) || !strings.Contains(field.Reason, `realm "test"`) || !strings.Contains(field.Reason, "1 MiB") {
				t.Errorf("error %v", err)
			}
			fields["s"] = "1"
			if _, err := p.Bind(secretOf(fields)); err != nil {
				t.Errorf("with a short value: %v", err)
			}
		})
	}
}

// TestLargeRefreshTokens: what is not known before a call is bounded when the
// request is made. It is a failure of ours, and nothing is sent.
func TestLargeRefreshTokens(t *testing.T) {
	b := bind(t, realmOf(t, `{"refresh":{"url":"https://x.invalid","token_path":"t","arguments":[{"name":"r","place":"url","value":"`+strings.Repeat("{refresh_token}", 1000)+`"}]}}`, ""), nil)
	err := boundedly(t, func() error {
		_, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: realm.Hidden(strings.Repeat("r", 60<<10))})
		return err
	})
	failed := failure(t, err)
	if failed.Kind != KindRequest || !failed.NotSent || !strings.Contains(failed.Detail, `realm "test"`) {
		t.Errorf("%+v", failed)
	}
}

// TestLargeInjections: the same for what goes with each proxied request.
func TestLargeInjections(t *testing.T) {
	for _, in := range []string{
		`{"place":"header","name":"A","value":"{token}@"}`, `{"place":"url","name":"a","value":"{token}@"}`, `{"place":"basic","name":"u","value":"{token}@"}`,
	} {
		config := `{"url":"https://x.example","token_path":"t","inject":[` + strings.ReplaceAll(in, "@", strings.Repeat("{secret.s}", 5000)) + `]}`
		b := bind(t, realmOf(t, config, ""), map[string]string{"s": strings.Repeat("s", 64<<10)})
		err := boundedly(t, func() error { _, _, err := b.Place("TOKEN"); return err })
		if err == nil || !strings.Contains(err.Error(), `realm "test"`) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// TestLargeSecretsOfADelegate: a delegate gets every field of the secret.
func TestLargeSecretsOfADelegate(t *testing.T) {
	p, err := Compile(realm.Realm{ID: "test", LogicCode: "https://d.example"}, true)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for i := range 40 {
		fields["f"+strings.Repeat("x", i)] = strings.Repeat("\"", 64<<10)
	}
	err = boundedly(t, func() error { _, err := p.Bind(secretOf(fields)); return err })
	if err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("error %v", err)
	}
}

// boundedly fails where more than some MiB were used: a value may be escaped
// before it is known to be too large.
func boundedly(t *testing.T, do func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := do()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
		t.Errorf("%d MiB were made", used>>20)
	}
	return err
}
