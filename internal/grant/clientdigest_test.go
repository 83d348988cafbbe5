package grant

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// containsWord reports whether a word stands among the words of a text.
func containsWord(text, word string) bool { return slices.Contains(strings.Fields(text), word) }

// TestClientDigest: the code that a person brings belongs to the client whose
// link that person opened. A client that got another secret meanwhile is the
// same one.
func TestClientDigest(t *testing.T) {
	const (
		standard = `{"grant":{"name":"authorization_code","authorize_url":"https://{secret.host}/a","token_url":"https://x.example/t","client_id":"{secret.client_id}"},"callback_url":"https://y.example/cb"}`
		wechat   = `{"authorize":{"url":"https://{secret.host}/a?appid={secret.client_id}","arguments":[{"name":"state","place":"url","value":"{state}"}]},
			"exchange":{"url":"https://x.example/t?appid={secret.client_id}&secret={secret.client_secret}&code={code}","token_path":"t"},"callback_url":"https://y.example/cb"}`
		signed = `{"authorize":{"url":"https://{secret.host}/a","method":"POST","arguments":[{"name":"state","place":"url","value":"{state}"},{"name":"id","place":"body","value":"{secret.client_id}"},
			{"name":"password","place":"body","value":"{secret.client_secret}"},{"name":"sign","place":"url","expr":"hex(sha256(secret.client_secret + string(epoch_s())))"}]},
			"exchange":{"url":"https://x.example/t","token_path":"t","arguments":[{"name":"id","place":"body","value":"{secret.client_id}"},{"name":"code","place":"body","value":"{code}"},
			{"name":"sign","place":"body","expr":"secret.client_secret"}]},"callback_url":"https://y.example/cb"}`
	)
	for name, config := range map[string]string{"standard": standard, "wechat": wechat, "signed": signed} {
		of := func(old, changed, field, value string) realm.Digest {
			fields := map[string]string{"host": "x.example", "client_id": "1", "client_secret": "2", "other": "3"}
			if field != "" {
				fields[field] = value
			}
			if old != "" && !strings.Contains(config, old) {
				t.Fatalf("%s: there is no %s to change", name, old)
			}
			return bind(t, realmOf(t, strings.ReplaceAll(config, old, changed), ""), fields).ClientDigest()
		}
		base := of("x.example/t", "x.example/t", "", "")
		if base == (realm.Digest{}) {
			t.Errorf("%s: no digest", name)
		}
		for what, c := range map[string]struct {
			got  realm.Digest
			same bool
		}{
			"another client_id":              {of("/a", "/a", "client_id", "x"), false},
			"another host of authorize":      {of("/a", "/a", "host", "z.example"), false},
			"another exchange endpoint":      {of("x.example/t", "x.example/u", "", ""), false},
			"another host of the exchange":   {of("x.example/t", "z.example/t", "", ""), false},
			"another authorize endpoint":     {of("/a", "/b", "", ""), false},
			"another client_id in the realm": {of("{secret.client_id}", "literal", "", ""), false},
			"another client_secret":          {of("/a", "/a", "client_secret", "x"), true},
			"a field that no recipe reads":   {of("/a", "/a", "other", "x"), true},
			"another token path":             {of(`"callback_url"`, `"refresh_token_path":"r","callback_url"`, "", ""), true},
		} {
			if (c.got == base) != c.same {
				t.Errorf("%s: %s: same %v", name, what, !c.same)
			}
		}
	}
	if none := bind(t, realmOf(t, `{"url":"https://x.example/t","token_path":"t"}`, ""), nil).ClientDigest(); none != (realm.Digest{}) {
		t.Error("a realm that does not authorize has a client")
	}
}
