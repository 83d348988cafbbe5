package grant

import (
	"encoding/hex"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const fingerprinted = `{"url":"https://x.example/t?a={secret.a}","token_path":"t","expires_in_path":"e","success":[{"json":"c","values":[0],"absent":true}],"lifetime":"1h",
	"arguments":[{"name":"b","place":"url","value":"$b"}],"api":"https://api.example","inject":[{"place":"url","name":"t","value":"{token}{secret.i}"}]}`

func fingerprint(t *testing.T, change func(*realm.Realm), fields map[string]string) realm.Fingerprint {
	t.Helper()
	r := realmOf(t, fingerprinted, "")
	if change != nil {
		change(&r)
	}
	all := map[string]string{"a": "1", "b": "2", "i": "3", "other": "4"}
	for name, value := range fields {
		all[name] = value
	}
	return bind(t, r, all).Fingerprint()
}

// TestFingerprintIsStable: another process, another version of Go, another
// order of maps must give the same, or every restart would throw all tokens
// away.
func TestFingerprintIsStable(t *testing.T) {
	got := fingerprint(t, nil, nil)
	if text := hex.EncodeToString(got[:]); text != "05ad0314c9cd4b0776a669e0385d9ce1" {
		t.Errorf("fingerprint %s", text)
	}
}

func TestFingerprintChanges(t *testing.T) {
	base := fingerprint(t, nil, nil)
	for name, got := range map[string]realm.Fingerprint{
		"a field that the URL reads":      fingerprint(t, nil, map[string]string{"a": "x"}),
		"a field that an argument reads":  fingerprint(t, nil, map[string]string{"b": "x"}),
		"a value moved to the next field": fingerprint(t, nil, map[string]string{"a": "12", "b": ""}),
		"the URL":                         fingerprint(t, func(r *realm.Realm) { r.Config.URL += "1" }, nil),
		"the method":                      fingerprint(t, func(r *realm.Realm) { r.Config.Method = "POST" }, nil),
		"an argument":                     fingerprint(t, func(r *realm.Realm) { r.Config.Arguments[0].Name = "c" }, nil),
		"the token path":                  fingerprint(t, func(r *realm.Realm) { r.Config.TokenPath = "u" }, nil),
		"the expiry's unit":               fingerprint(t, func(r *realm.Realm) { r.Config.ExpiresInUnit = "ms" }, nil),
		"the success rules":               fingerprint(t, func(r *realm.Realm) { r.Config.Success[0].Values[0] = realm.ScalarOf("1") }, nil),
		"the lifetime":                    fingerprint(t, func(r *realm.Realm) { r.Config.Lifetime.Duration *= 2 }, nil),
		"an exchange recipe":              fingerprint(t, func(r *realm.Realm) { r.Config.Exchange = &realm.Recipe{URL: "https://x.example/r?c={code}"} }, nil),
		"a shared field in a secret's place": fingerprint(t, func(r *realm.Realm) {
			r.Config.URL += "{secret.s}"
			r.Config.Shared = map[string]realm.Hidden{"s": "x"}
		}, nil),
	} {
		if got == base {
			t.Errorf("%s does not change it", name)
		}
	}
}

func TestFingerprintStays(t *testing.T) {
	base := fingerprint(t, nil, nil)
	for name, got := range map[string]realm.Fingerprint{
		"inject":                        fingerprint(t, func(r *realm.Realm) { r.Config.Inject[0].Name = "u" }, nil),
		"a field that is only injected": fingerprint(t, nil, map[string]string{"i": "x"}),
		"a field that nobody reads":     fingerprint(t, nil, map[string]string{"other": "x"}),
		"api and hosts":                 fingerprint(t, func(r *realm.Realm) { r.Config.API, r.Config.Hosts = "https://b.example", []string{"c.example"} }, nil),
		"comment":                       fingerprint(t, func(r *realm.Realm) { r.Comment = "x" }, nil),
		"limits":                        fingerprint(t, func(r *realm.Realm) { r.Config.Limits.Concurrency = 9 }, nil),
		"renew_on":                      fingerprint(t, func(r *realm.Realm) { r.Config.RenewOn = []realm.Rule{{Status: []int{401}}} }, nil),
		"a refresh recipe and what it reads": fingerprint(t, func(r *realm.Realm) {
			r.Config.Refresh = &realm.Recipe{URL: "https://x.example/{secret.other}?r={refresh_token}"}
		}, nil),
		"a refresh_token of the secret beside a fetch": fingerprint(t, func(r *realm.Realm) {
			r.Config.Refresh = &realm.Recipe{URL: "https://x.example/?r={refresh_token}"}
		}, map[string]string{"refresh_token": "R"}),
		"refresh_semantics and refresh_grace":         fingerprint(t, func(r *realm.Realm) { r.Config.RefreshSemantics, r.Config.RefreshGrace = "grace", 1 }, nil),
		"the logic_code of a realm that has a recipe": fingerprint(t, func(r *realm.Realm) { r.LogicCode = "https://y.example" }, nil),
		"a shared field that nobody reads":            fingerprint(t, func(r *realm.Realm) { r.Config.Shared = map[string]realm.Hidden{"s": "x"} }, nil),
	} {
		if got != base {
			t.Errorf("%s changes it", name)
		}
	}
}

// A delegate gets the whole secret, so all of it decides.
func TestFingerprintOfDelegate(t *testing.T) {
	r := realm.Realm{ID: "x", LogicCode: "https://x.example"}
	one := bind(t, r, map[string]string{"a": "1", "b": "2"}).Fingerprint()
	for _, fields := range []map[string]string{{"a": "1"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2", "c": ""}, {"a": "12", "b": ""}} {
		if bind(t, r, fields).Fingerprint() == one {
			t.Errorf("%v gives the same", fields)
		}
	}
	if bind(t, r, map[string]string{"b": "2", "a": "1"}).Fingerprint() != one {
		t.Error("the order counts")
	}
}

func BenchmarkFingerprint(b *testing.B) {
	bound := injecting(b)
	b.ReportAllocs()
	for b.Loop() {
		_ = bound.Fingerprint()
	}
}
