package fakeprovider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestStealOvertakesWhereTokensRotate(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat, Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate}})
	ours := b.get(wechatAsk).text("access_token")
	theirs := b.Steal("app")
	b.wantLive(ours, false)
	b.wantLive(theirs, true)
	if b.Fetches() != 1 || b.Newest("app") != theirs || b.Returned(theirs) {
		t.Errorf("%d fetches; the newest is token %d", b.Fetches(), b.Rank(b.Newest("app")))
	}
	last := b.Events()[len(b.Events())-1]
	if last.Kind != fakeprovider.Stolen || last.Token != theirs || last.Ref != "app" {
		t.Errorf("the ledger ends with %+v", last)
	}
}

func TestStealGivesTheSameTokenAgain(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeCom})
	ours := b.get("/cgi-bin/gettoken?corpid=app&corpsecret=s3cret").text("access_token")
	if b.Steal("app") != ours {
		t.Error("it is another one")
	}
}

func TestStealFromForces(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	ours := b.post("/cgi-bin/stable_token", stable(nil)).text("access_token")
	b.Steal("app") // the other endpoint
	b.wantLive(ours, true)
	b.clock.advance(time.Minute)
	if b.StealFrom("/cgi-bin/stable_token", "app", false) != ours {
		t.Error("without force it is another one")
	}
	b.StealFrom("/cgi-bin/stable_token", "app", true)
	b.wantLive(ours, false)
}

func TestEveryStyleCanBeStolenFrom(t *testing.T) {
	for _, style := range []fakeprovider.Style{
		fakeprovider.WeChat, fakeprovider.WeCom, fakeprovider.DingTalkOld, fakeprovider.DingTalk,
		fakeprovider.Feishu, fakeprovider.Douyin, fakeprovider.OAuth,
		fakeprovider.JD, fakeprovider.JDVOP, fakeprovider.JDBill, fakeprovider.Suning,
	} {
		p := fakeprovider.New(fakeprovider.Options{Style: style, Credentials: map[string]string{"app": "s3cret"}})
		if !p.Live(p.Steal("app")) {
			t.Errorf("%s: it does not live", style)
		}
	}
}

// What somebody else fetches costs the app's quota.
func TestStealSpendsTheQuota(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Quotas: []fakeprovider.Quota{{Calls: 1, Per: time.Minute}}})
	b.Steal("app")
	if a := b.fetch(); a.status != http.StatusTooManyRequests {
		t.Errorf("HTTP %d", a.status)
	}
}

func TestRevokeAtAnInstant(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	token := b.fetch().text("access_token")
	b.RevokeAt(token, b.clock.now().Add(time.Minute))
	b.clock.advance(time.Minute - 1)
	b.wantLive(token, true)
	b.clock.advance(1)
	b.wantLive(token, false)
	other := b.fetch().text("access_token")
	b.RevokeAt(other, b.clock.now().Add(-time.Hour)) // the past is now
	b.clock.advance(time.Second)
	b.bearer("/x", other)
	if n := len(b.StaleCalls(time.Minute)); n != 0 {
		t.Errorf("%d calls are said to be stale", n)
	}
}

func TestLifeOfOneApp(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "s3cret", "other": "s3cret"}})
	b.SetLife("app", time.Minute)
	short := b.get(wechatAsk)
	long := b.get("/cgi-bin/token?grant_type=client_credential&appid=other&secret=s3cret")
	if short.number("expires_in") != 60 || long.number("expires_in") != 7200 {
		t.Fatalf("got %s and %s", short.raw, long.raw)
	}
	b.clock.advance(time.Minute)
	b.wantLive(short.text("access_token"), false)
	b.SetLife("app", 0)
	if a := b.get(wechatAsk); a.number("expires_in") != 7200 {
		t.Errorf("after it: %s", a.raw)
	}
}

func TestTotalLimitsAllAppsTogether(t *testing.T) {
	b := newBench(t, fakeprovider.Options{
		Credentials: map[string]string{"app": "s3cret", "other": "s3cret"},
		Total:       []fakeprovider.Quota{{Calls: 2, Per: time.Second}},
	})
	other := func() answer {
		return b.form("grant_type", "client_credentials", "client_id", "other", "client_secret", "s3cret")
	}
	b.fetch()
	other()
	for _, a := range []answer{b.fetch(), other()} {
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
			t.Errorf("HTTP %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
		}
	}
	b.clock.advance(time.Second)
	if a := other(); a.status != http.StatusOK {
		t.Errorf("HTTP %d", a.status)
	}
	if b.Refusals() != 2 || len(b.Issued()) != 3 {
		t.Errorf("%d refused, %d issued", b.Refusals(), len(b.Issued()))
	}
}
