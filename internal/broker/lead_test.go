package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Jitter only spreads earlier, by the key, and no token is renewed in the first
// half of its life.
func TestLead(t *testing.T) {
	v := &View{before: realm.Lead{Share: defaultBefore}, jitter: defaultJitter}
	least, most := time.Hour, time.Duration(0)
	for i := range 1000 {
		ref := realm.Ref{Realm: "wx", Key: fmt.Sprint("key-", i)}
		d := v.lead(&realm.Config{}, ref, time.Hour, 0)
		if again := v.lead(&realm.Config{}, ref, time.Hour, 0); again != d {
			t.Fatalf("%v, and then %v", d, again)
		}
		least, most = min(least, d), max(most, d)
	}
	if least < 6*time.Minute || least > 6*time.Minute+20*time.Second || most > 12*time.Minute || most < 12*time.Minute-20*time.Second {
		t.Errorf("renewals are spread from %v to %v ahead, want 6m to 12m", least, most)
	}
}

// A provider that gives the same token until it is about to end is not asked
// before that: WeCom, which has no overlap, not at all; Feishu within its last
// 30 minutes.
func TestLeadOfTheSameToken(t *testing.T) {
	v := &View{before: realm.Lead{Share: defaultBefore}, jitter: defaultJitter}
	for i := range 100 {
		ref := realm.Ref{Realm: "x", Key: fmt.Sprint(i)}
		wecom := realm.Config{Semantics: realm.SemanticsSame}
		if d := v.lead(&wecom, ref, 2*time.Hour, 0); d != 0 {
			t.Errorf("wecom: %v", d)
		}
		stable := realm.Config{Semantics: realm.SemanticsSame, Overlap: realm.Duration(5 * time.Minute)}
		if d := v.lead(&stable, ref, 2*time.Hour, 0); d < 150*time.Second || d > 5*time.Minute {
			t.Errorf("stable_token: %v", d)
		}
		feishu := realm.Config{Semantics: realm.SemanticsSame, Overlap: realm.Duration(30 * time.Minute)}
		if d := v.lead(&feishu, ref, 2*time.Hour, 0); d < 10*time.Minute || d > 30*time.Minute {
			t.Errorf("feishu: %v", d)
		}
	}
}

func TestLeadOfTheRealm(t *testing.T) {
	v := &View{before: realm.Lead{Share: defaultBefore}}
	ref := realm.Ref{Realm: "x", Key: "y"}
	for text, want := range map[string]time.Duration{"5m": 5 * time.Minute, "25%": 10 * time.Minute, "1%": 72 * time.Second, "2h": time.Hour} {
		lead, err := realm.ParseLead(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := v.lead(&realm.Config{RenewBefore: lead}, ref, 2*time.Hour, 0); d != want {
			t.Errorf("%s: %v, want %v", text, d, want)
		}
	}
	if d := v.lead(&realm.Config{}, ref, 6*time.Second, time.Second); d != 3*time.Second {
		t.Errorf("6 s of life and 1 s to fetch: %v", d)
	}
}

func TestMargin(t *testing.T) {
	for _, c := range []struct{ life, took, fixed, want time.Duration }{
		{life: 2 * time.Hour, want: 10 * time.Minute},
		{life: 30 * 24 * time.Hour, want: 10 * time.Minute},
		{life: time.Hour, want: 6 * time.Minute},
		{life: 6 * time.Second, took: time.Second, want: 3 * time.Second},
		{life: 6 * time.Second, took: 5 * time.Second, want: 3 * time.Second},
		{life: time.Minute, took: 4 * time.Second, want: 12 * time.Second},
		{life: time.Hour, fixed: 20 * time.Minute, want: 20 * time.Minute},
		{life: time.Hour, fixed: 2 * time.Hour, want: 30 * time.Minute},
	} {
		if got := margin(c.life, c.took, realm.Lead{Share: defaultBefore, Fixed: realm.Duration(c.fixed)}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
