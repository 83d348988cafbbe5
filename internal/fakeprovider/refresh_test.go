package fakeprovider_test

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func newRefreshBench(t *testing.T, rule fakeprovider.RefreshRule) (*bench, fakeprovider.Pair) {
	t.Helper()
	b := newBench(t, fakeprovider.Options{Refresh: rule})
	return b, b.Authorize("app")
}

func (b *bench) spend(refresh string) answer {
	b.t.Helper()
	return b.form("grant_type", "refresh_token", "refresh_token", refresh, "client_id", "app", "client_secret", "s3cret")
}

func (b *bench) wantSpent(a answer) (access, refresh string) {
	b.t.Helper()
	access, refresh = a.text("access_token"), a.text("refresh_token")
	if access == "" || refresh == "" {
		b.t.Fatalf("not granted: HTTP %d %s", a.status, a.raw)
	}
	b.wantLive(access, true)
	return access, refresh
}

func (b *bench) wantInvalidGrant(a answer) {
	b.t.Helper()
	if a.status != 400 || a.text("error") != "invalid_grant" {
		b.t.Errorf("got HTTP %d %s, want invalid_grant", a.status, a.raw)
	}
}

func TestStableRefreshTokenNeverChanges(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Stable})
	for range 3 {
		if _, refresh := b.wantSpent(b.spend(pair.Refresh)); refresh != pair.Refresh {
			t.Fatal("it changed")
		}
	}
	if n := len(b.Reuses()); n != 0 {
		t.Errorf("%d reuses in the ledger", n)
	}
}

func TestStrictRefreshTokenIsGoodOnce(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Strict})
	access, next := b.wantSpent(b.spend(pair.Refresh))
	b.wantLive(pair.Access, false) // the old pair is cleared at once
	b.wantInvalidGrant(b.spend(pair.Refresh))
	b.wantLive(access, true) // and reuse harms nobody else
	if !b.LiveRefresh(next) || b.LiveRefresh(pair.Refresh) {
		t.Error("the wrong refresh token lives")
	}
	if n := len(b.Reuses("app")); n != 1 {
		t.Errorf("%d reuses in the ledger, want 1", n)
	}
}

func TestReuseRevokesTheFamily(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Family})
	stranger := b.Authorize("app")
	access, next := b.wantSpent(b.spend(pair.Refresh))
	b.wantInvalidGrant(b.spend(pair.Refresh))
	for _, token := range []string{pair.Access, access} {
		b.wantLive(token, false)
	}
	b.wantInvalidGrant(b.spend(next))
	b.wantLive(stranger.Access, true)
	b.wantSpent(b.spend(stranger.Refresh))
}

func TestGraceLetsTheParentBeSpentAgain(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Grace, Grace: time.Minute})
	access, lost := b.wantSpent(b.spend(pair.Refresh))
	b.clock.advance(59 * time.Second)
	_, kept := b.wantSpent(b.spend(pair.Refresh))
	b.wantLive(access, false) // only the newest child lives on
	b.wantInvalidGrant(b.spend(lost))
	b.clock.advance(time.Second)
	b.wantInvalidGrant(b.spend(pair.Refresh))
	b.wantSpent(b.spend(kept))
}

func TestGraceEndsWhenTheChildIsSpent(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Grace, Grace: time.Minute})
	_, child := b.wantSpent(b.spend(pair.Refresh))
	b.wantSpent(b.spend(child))
	b.wantInvalidGrant(b.spend(pair.Refresh))
}

func TestRefreshTokenEnds(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Strict, Life: time.Hour})
	a := b.spend(pair.Refresh)
	_, next := b.wantSpent(a)
	if a.number("refresh_expires_in") != 3600 {
		t.Errorf("its life is not told: %s", a.raw)
	}
	b.clock.advance(time.Hour)
	b.wantInvalidGrant(b.spend(next))
}

func TestRefreshTokenBelongsToItsClient(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Strict})
	b.SetSecret("other", "s3cret")
	b.wantInvalidGrant(b.form("grant_type", "refresh_token", "refresh_token", pair.Refresh, "client_id", "other", "client_secret", "s3cret"))
	b.wantSpent(b.spend(pair.Refresh))
}

func TestFetchedTokensMayComeWithRefreshTokens(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Family}})
	access, refresh := b.wantSpent(b.form("grant_type", "client_credentials", "client_id", "app", "client_secret", "s3cret"))
	b.wantSpent(b.spend(refresh))
	b.wantInvalidGrant(b.spend(refresh))
	b.wantLive(access, false)
}
