package grant

import (
	"encoding/json"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var blanks = []string{"", " ", " \t\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff "}

// TestBlanksAreNothing: a provider that fills a field with blanks says nothing
// there. Believed, they would take the place of the real refresh token.
func TestBlanksAreNothing(t *testing.T) {
	const refreshing = `{"refresh":{"url":"@?r={refresh_token}","token_path":"t","refresh_token_path":"r"}}`
	for _, blank := range blanks {
		text, _ := json.Marshal(blank)
		got, failed, _ := refreshFrom(t, refreshing, answering(200, "", `{"t":"T","r":`+string(text)+`}`))
		if failed != nil || got.Token.Refresh != "" || len(got.Warnings) > 1 {
			t.Errorf("%q replaces the refresh token: %v %v", blank, failed, got.Warnings)
		}
		if _, failed := fetchFrom(t, plainRealm, answering(200, "", `{"access_token":`+string(text)+`}`)); failed == nil {
			t.Errorf("%q is an access token", blank)
		}
		if _, failed := fetchFrom(t, `{"url":"@","content_type":"text"}`, answering(200, "", blank)); failed == nil {
			t.Errorf("%q is an answer that is a token", blank)
		}
		if _, err := bind(t, realmOf(t, `{}`, ""), map[string]string{"token": blank}).Fixed(); err == nil {
			t.Errorf("%q is a fixed token", blank)
		}
		if _, _, err := injecting(t).Place(realm.Hidden(blank)); err == nil {
			t.Errorf("%q is injected", blank)
		}
		seeded := bind(t, realmOf(t, refreshing, "https://x.example/"), map[string]string{"refresh_token": blank})
		if seeded.SecretRefreshToken() != "" {
			t.Errorf("%q is a refresh token of the secret", blank)
		}
		if _, err := seeded.Refresh(t.Context(), testClient(t), Request{RefreshToken: realm.Hidden(blank)}); failure(t, err).Kind != KindInactive {
			t.Errorf("%q is sent as a refresh token: %v", blank, err)
		}
		b := bind(t, realmOf(t, ownRealm, "https://x.example"), account)
		if b.Judge(Callback{State: attempt.State, Code: realm.Hidden(blank)}) == nil {
			t.Errorf("%q is a code", blank)
		}
		if _, err := b.Exchange(t.Context(), testClient(t), attempt, realm.Hidden(blank), Request{}); failure(t, err).Kind != KindInactive {
			t.Errorf("%q is sent as a code: %v", blank, err)
		}
	}
}
