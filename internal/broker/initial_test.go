package broker

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
	for _, keeps := range []bool{false, true} {
		s := tokenstore.State{Now: time.Unix(1_800_000_000, 0)}
		ask := func() (*asks, verdict) {
			w := &asks{
				terms: terms{canRefresh: true, keeps: keeps, concurrency: 1, backoffCap: defaultCap, timeout: time.Second},
				id:    tokenstore.NewCallID(), initial: "R0", draw: randomly,
				usable:   func(realm.Token) bool { return false },
				reseeded: func(realm.Fingerprint) bool { return false },
			}
			return w, w.decide(&s)
		}
		w, v := ask()
		if v.ruling != granted || v.refresh != "R0" {
			t.Fatalf("first: %+v", v)
		}
		(&ended{asks: w, verdict: v, token: realm.Token{Access: "A1", Refresh: "R1"}}).settle(&s)
		s.Token, s.Save = *s.Save, nil
		s.Token.Lineage = 1

		if w, v = ask(); v.ruling != granted || v.refresh != "R1" {
			t.Fatalf("second: %+v", v)
		}
		refused := &grant.Error{Class: grant.Hopeless, Kind: grant.KindInvalidGrant}
		(&ended{asks: w, verdict: v, cause: refused}).settle(&s)
		if _, v = ask(); (v.ruling == lapsed) == keeps {
			t.Errorf("keeps %v: in the end %+v", keeps, v)
		}
	}
}
