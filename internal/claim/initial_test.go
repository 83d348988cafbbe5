package claim

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The secret's refresh token was good for one use, and gave another one. When
// that one is refused in the end, the first was sent again: a second replay,
// after which a provider may revoke whatever is left.
func TestSpentRefreshTokenOfTheSecretIsNotSentAgain(t *testing.T) {
	for _, mayResend := range []bool{false, true} {
		s := tokenstore.State{Now: time.Unix(1_800_000_000, 0)}
		ask := func() (*Request, Decision) {
			r := refreshRequest(Load)
			r.MayResend, r.Initial = mayResend, "R0"
			r.IsUsable = func(realm.Token) bool { return false }
			return r, r.Decide(&s)
		}
		r, d := ask()
		if d.Verdict != Go || d.RefreshToken != "R0" {
			t.Fatalf("first: %+v", d)
		}
		settle(&s, r, d, func(o *Outcome) { o.Token = realm.Token{Access: "A1", Refresh: "R1"} })
		s.Token, s.Save = *s.Save, nil
		s.Token.Lineage = 1

		if r, d = ask(); d.Verdict != Go || d.RefreshToken != "R1" {
			t.Fatalf("second: %+v", d)
		}
		settle(&s, r, d, func(o *Outcome) { o.Cause = failure(grant.Hopeless, grant.KindInvalidGrant, false) })
		if _, d = ask(); (d.Verdict == NeedsAuthorization) == mayResend {
			t.Errorf("may resend %v: in the end %+v", mayResend, d)
		}
	}
}
