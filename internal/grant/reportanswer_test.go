package grant

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What an API answers is told without what is confidential, whatever the API quotes.
func TestReportOfAPIAnswer(t *testing.T) {
	b := bind(t, realmOf(t, `{"url":"https://x.example/t","token_path":"t"}`, ""), map[string]string{"s": "CANARY-0123456789"})
	lease := &realm.Lease{Access: "TOKEN-0123456789", Values: []string{"Basic MADE-of-TOKEN"}, Target: new(realm.Target)}
	for body, code := range map[string]string{
		`{"errcode":40001,"errmsg":"token TOKEN-0123456789 of CANARY-0123456789 in MADE-of-TOKEN, Basic MADE-of-TOKEN"}`: "40001",
		`{"TOKEN-0123456789":{"x":1},"message":"a text of what was asked for, CANARY-0123456789"}`:                       "",
	} {
		got := b.ReportAnswer(APIAnswer{Status: 200, Header: http.Header{"Content-Type": {"x/TOKEN-0123456789"}}, Body: []byte(body)}, lease)
		text, err := json.Marshal(got)
		if err != nil || got.ProviderCode != code || code == "" && got.ProviderMessage != "" || len(got.Names) != 2 || got.Form != FormJSON {
			t.Errorf("%s %v", text, err)
		}
		for _, canary := range []string{"TOKEN-0", "CANARY", "Basic MADE"} {
			if strings.Contains(string(text), canary) {
				t.Errorf("%s is in %s", canary, text)
			}
		}
	}
}

// Of several rules the first one that matches is named.
func TestWhichDeadRule(t *testing.T) {
	d, err := compileDead([]realm.Rule{{Status: []int{401}}, {Text: "expired"}, {JSON: "errcode", Values: scalars(t, `[40001]`)}}, "config.renew_on")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for body, want := range map[string]int{`{"errcode":40001}`: 2, `{"errcode":40001,"m":"expired"}`: 1, `{"errcode":0}`: -1} {
		i, ok := d.Which(200, header, []byte(body), true)
		if ok != (want >= 0) || ok && i != want {
			t.Errorf("%s: %d %v", body, i, ok)
		}
	}
	if i, ok := d.Which(401, header, nil, true); !ok || i != 0 {
		t.Errorf("%d %v", i, ok)
	}
}

func scalars(t *testing.T, text string) (list []realm.Scalar) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}
