package grant

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refreshing is a realm that refreshes and has the rules.
func refreshing(rules string) string {
	return `{"refresh":{"url":"@","method":"POST","token_path":"access_token",` + rules + `,"arguments":[{"name":"r","place":"body","value":"{refresh_token}"}]}}`
}

const (
	reauthSix   = `"reauth_on":[{"json":"sub.no","values":[6]}]`
	hopelessSix = `"hopeless_on":[{"json":"sub.no","values":[6]}]`
	throttleSix = `"throttled_on":[{"json":"sub.no","values":["6"]}]`
	answerSix   = `{"sub":{"no":6},"msg":"see the manual"}`
)

// TestRefusalRulesOfARefresh: the realm's own rules come before the lists, in
// their order, with every status.
func TestRefusalRulesOfARefresh(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		status      int
		answer      string
		class       Class
		kind        Kind
		uncertain   bool
	}{
		{"reauth_on", reauthSix, 200, answerSix, Hopeless, KindInvalidGrant, false},
		{"reauth_on, 400", reauthSix, 400, answerSix, Hopeless, KindInvalidGrant, false},
		{"reauth_on, 500", reauthSix, 500, answerSix, Hopeless, KindInvalidGrant, false},
		{"reauth_on, another number", reauthSix, 400, `{"sub":{"no":7}}`, Hopeless, KindRefused, false},
		{"reauth_on beside a token", reauthSix, 200, `{"sub":{"no":6},"access_token":"T-0123456"}`, Hopeless, KindRefused, true},
		{"reauth_on beside an empty token", reauthSix, 200, `{"sub":{"no":6},"access_token":""}`, Hopeless, KindInvalidGrant, false},
		{"reauth_on by the status", `"reauth_on":[{"status":[410]}]`, 410, `gone`, Hopeless, KindInvalidGrant, false},
		{"reauth_on by a redirect", `"reauth_on":[{"status":[302]}]`, 302, ``, Hopeless, KindInvalidGrant, false},
		{"reauth_on by both", `"reauth_on":[{"status":[403],"json":"sub.no","values":[6]}]`, 400, answerSix, Hopeless, KindRefused, false},
		{"reauth_on, any of them", `"reauth_on":[{"status":[410]},{"json":"sub.no","values":[6]}]`, 400, answerSix, Hopeless, KindInvalidGrant, false},
		{"hopeless_on", hopelessSix, 200, answerSix, Hopeless, KindRefused, false},
		{"hopeless_on before the lists", `"hopeless_on":[{"json":"error","values":["invalid_grant"]}]`, 400, `{"error":"invalid_grant"}`, Hopeless, KindRefused, false},
		{"throttled_on", throttleSix, 200, answerSix, Throttled, KindRefused, false},
		{"throttled_on before the lists", `"throttled_on":[{"json":"error","values":["invalid_grant"]}]`, 400, `{"error":"invalid_grant"}`, Throttled, KindRefused, false},
		{"throttled_on, 500", throttleSix, 503, answerSix, Throttled, KindRefused, true},
		{"all of them", throttleSix + "," + hopelessSix + "," + reauthSix, 200, answerSix, Hopeless, KindInvalidGrant, false},
		{"the second and the third", throttleSix + "," + hopelessSix, 200, answerSix, Hopeless, KindRefused, false},
		{"no document has no paths", `"throttled_on":[{"json":"code","values":[0],"absent":true}]`, 500, `<html>`, Retryable, KindRefused, true},
		{"a name that stands twice leads nowhere", `"throttled_on":[{"json":"c","values":[1]}]`, 400, `{"c":1,"c":1}`, Hopeless, KindRefused, false},
	} {
		_, failed, _ := refreshFrom(t, refreshing(c.rules), answering(c.status, "text/html", c.answer))
		if failed == nil || failed.Class != c.class || failed.Kind != c.kind || failed.Uncertain() != c.uncertain {
			t.Errorf("%s: %+v", c.name, failed)
		}
	}
}

// A rule that names the value tells the code, too, which may stand anywhere.
func TestCodeOfARefusalRule(t *testing.T) {
	for rules, want := range map[string]string{
		`"reauth_on":[{"json":"why","values":["RT_DEAD"]}]`: "RT_DEAD",
		`"reauth_on":[{"json":"why"}]`:                      "",
		`"reauth_on":[{"json":"msg"}]`:                      "",
	} {
		_, failed, _ := refreshFrom(t, refreshing(rules), answering(200, "", `{"why":"RT_DEAD","msg":"it is over"}`))
		if failed == nil || failed.Kind != KindInvalidGrant || failed.ProviderCode != want || failed.ProviderMessage != "it is over" || failed.Detail != "" {
			t.Errorf("%s: %+v", rules, failed)
		}
	}
	_, failed, _ := refreshFrom(t, refreshing(`"throttled_on":[{"json":"q","values":[1]}]`), answering(200, "", `{"q":1}`))
	if failed == nil || failed.ProviderCode != "1" || failed.Detail != "the rule of throttled_on for q matches" {
		t.Errorf("without words: %+v", failed)
	}
	_, failed, _ = refreshFrom(t, refreshing(`"hopeless_on":[{"status":[418]}]`), answering(418, "", ``))
	if failed == nil || failed.Detail != "the rule of hopeless_on for the status matches" {
		t.Errorf("by the status: %+v", failed)
	}
}

// Nobody can authorize a fetch again: reauth_on is hopeless there. An answer
// that a rule matches is a refusal, although it has a token.
func TestRefusalRulesOfAFetch(t *testing.T) {
	for rules, want := range map[string]Class{reauthSix: Hopeless, hopelessSix: Hopeless, throttleSix: Throttled} {
		for _, answer := range []string{answerSix, `{"sub":{"no":6},"access_token":"T-0123456"}`} {
			_, failed := fetchFrom(t, `{"url":"@","token_path":"access_token",`+rules+`}`, answering(200, "", answer))
			if failed == nil || failed.Kind != KindRefused || failed.Class != want {
				t.Errorf("%s: %+v", rules, failed)
			}
		}
		got, failed := fetchFrom(t, `{"url":"@","token_path":"access_token",`+rules+`}`, answering(200, "", `{"sub":{"no":0},"access_token":"T-0123456"}`))
		if failed != nil || got.Token.Access != "T-0123456" {
			t.Errorf("%s: a good answer: %v", rules, failed)
		}
	}
}

// A code that is refused says nothing about the next one.
func TestRefusalRulesOfAnExchange(t *testing.T) {
	for rules, want := range map[string]Class{reauthSix: Retryable, hopelessSix: Hopeless, throttleSix: Throttled} {
		p := newProvider(t, answering(400, "", answerSix))
		b := bind(t, realmOf(t, strings.Replace(ownRealm, `"unattended":true`, rules, 1), p.URL), account)
		_, err := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
		if failed := failure(t, err); failed.Kind != KindRefused || failed.Class != want {
			t.Errorf("%s: %+v", rules, failed)
		}
	}
}

// The request for an authorization has rules of its own, also about what the
// server is answered without a person.
func TestRefusalRulesOfAnAuthorization(t *testing.T) {
	config := strings.Replace(ownRealm, `"authorize":{`, `"authorize":{`+throttleSix+`,`, 1)
	if _, failed, _ := authorizeFrom(t, config, answering(200, "", answerSix)); failed == nil || failed.Class != Throttled {
		t.Errorf("%+v", failed)
	}
}

// What a recipe does not say, the realm says.
func TestRefusalRulesAreInherited(t *testing.T) {
	const flat = `{"token_path":"access_token",` + throttleSix + `,"refresh":{"url":"@?r={refresh_token}"`
	for own, want := range map[string]Class{
		``:                Throttled,
		`,` + hopelessSix: Hopeless, // both match
		`,"throttled_on":[{"json":"sub.no","values":[7]}]`: Retryable,
	} {
		_, failed, _ := refreshFrom(t, flat+own+`}}`, answering(200, "", answerSix))
		if failed == nil || failed.Class != want {
			t.Errorf("%s: %+v", own, failed)
		}
	}
}

func TestRulesThatMatchEverything(t *testing.T) {
	for rule, field := range map[string]string{
		`{}`:                                     "",
		`{"json":"a","absent":true}`:             ".values",
		`{"status":[200]}`:                       "",
		`{"status":[400,201]}`:                   "",
		`{"json":"access_token"}`:                "",
		`{"json":"access_token","status":[200]}`: "",
		`{"json":"a..b"}`:                        ".json",
	} {
		for _, list := range []string{"reauth_on", "hopeless_on", "throttled_on"} {
			for config, at := range map[string]string{
				`{"url":"https://x/t","token_path":"access_token","` + list + `":[{"status":[400]},` + rule + `]}`:                           "config.",
				`{"token_path":"access_token","refresh":{"url":"https://x/t?r={refresh_token}","` + list + `":[{"json":"a"},` + rule + `]}}`: "config.refresh.",
			} {
				_, err := Compile(realmOf(t, config, ""), false)
				var wrong *realm.FieldError
				if !errors.As(err, &wrong) || wrong.Field != at+list+"[1]"+field {
					t.Errorf("%s: %v", config, err)
				}
			}
		}
	}
	for _, rule := range []string{`{"json":"access_token","values":[""],"absent":true}`, `{"json":"access_token","status":[400]}`, `{"status":[400,503]}`, `{"status":[200],"json":"c","values":[1]}`} {
		if _, err := Compile(realmOf(t, `{"url":"https://x/t","token_path":"access_token","reauth_on":[`+rule+`]}`, ""), false); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// Rules about refusals decide what becomes of a failure and not about a token:
// whoever adds one keeps the tokens, and a failure from before does not count.
func TestRefusalRulesAndDigests(t *testing.T) {
	add := func(r *realm.Realm) {
		rules := []realm.Rule{{Status: []int{400}}}
		r.Config.ReauthOn, r.Config.HopelessOn, r.Config.ThrottledOn = rules, slices.Clone(rules), slices.Clone(rules)
	}
	if fingerprint(t, add, nil) != fingerprint(t, nil, nil) {
		t.Error("the fingerprint changes")
	}
	if digestsOf(t, add, nil)["fetch"] == digestsOf(t, nil, nil)["fetch"] {
		t.Error("the digest of the call does not change")
	}
}
