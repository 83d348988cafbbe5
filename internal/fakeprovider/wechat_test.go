package fakeprovider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

const wechatAsk = "/cgi-bin/token?grant_type=client_credential&appid=app&secret=s3cret"

func TestWeChatTokenRotatesWithFiveMinutesOverlap(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	first := b.get(wechatAsk)
	if first.status != http.StatusOK || first.number("expires_in") != 7200 || first.json["errcode"] != nil {
		t.Fatalf("got HTTP %d %s", first.status, first.raw)
	}
	b.clock.advance(time.Hour)
	second := b.get(wechatAsk)
	old, fresh := first.text("access_token"), second.text("access_token")
	if old == fresh {
		t.Fatal("the second fetch gave the same token")
	}
	b.clock.advance(5*time.Minute - time.Second)
	b.wantLive(old, true)
	b.wantLive(fresh, true)
	b.clock.advance(time.Second)
	b.wantLive(old, false)
	b.wantLive(fresh, true)
	b.wantCode(b.get("/cgi-bin/menu/get?access_token="+old), http.StatusOK, "errcode", 40001)
	b.wantCode(b.get("/cgi-bin/menu/get?access_token="+fresh), http.StatusOK, "errcode", 0)
}

func TestOverlapOfZeroEndsTheOldTokenAtOnce(t *testing.T) {
	b := newBench(t, fakeprovider.Options{
		Style: fakeprovider.WeChat,
		Rule:  &fakeprovider.Rule{Semantics: fakeprovider.Rotate},
	})
	old := b.get(wechatAsk).text("access_token")
	b.get(wechatAsk)
	b.wantLive(old, false)
}

func TestOverlapNeverMakesALifeLonger(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	old := b.get(wechatAsk).text("access_token")
	b.clock.advance(2*time.Hour - time.Minute)
	b.get(wechatAsk)
	b.clock.advance(time.Minute)
	b.wantLive(old, false)
	b.wantCode(b.get("/cgi-bin/x?access_token="+old), http.StatusOK, "errcode", 42001)
}

func TestWeChatRefusesWithStatus200(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	for path, code := range map[string]int{
		"/cgi-bin/token?grant_type=client_credential&appid=nobody&secret=s3cret": 40013,
		"/cgi-bin/token?grant_type=client_credential&appid=app&secret=wrong":     40001,
		"/cgi-bin/token?grant_type=client_credentials&appid=app&secret=s3cret":   40002,
		"/cgi-bin/token?grant_type=client_credential&secret=s3cret":              41002,
		"/cgi-bin/token?grant_type=client_credential&appid=app":                  41004,
		wechatAsk + "&appid=app":               47001,
		"/cgi-bin/stable_token":                43002,
		"/cgi-bin/menu/get":                    41001,
		"/cgi-bin/menu/get?access_token=never": 40014,
	} {
		b.wantCode(b.get(path), http.StatusOK, "errcode", code)
	}
	b.wantCode(b.post("/cgi-bin/token", map[string]any{}), http.StatusOK, "errcode", 43001)
	if n := len(b.Issued()); n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
}

func stable(force any) map[string]any {
	body := map[string]any{"grant_type": "client_credential", "appid": "app", "secret": "s3cret"}
	if force != nil {
		body["force_refresh"] = force
	}
	return body
}

func TestStableTokenIsTheSameUntilItsLastFiveMinutes(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	first := b.post("/cgi-bin/stable_token", stable(nil))
	b.clock.advance(time.Hour)
	again := b.post("/cgi-bin/stable_token", stable(false))
	if again.text("access_token") != first.text("access_token") || again.number("expires_in") != 3600 {
		t.Fatalf("got %s after %s", again.raw, first.raw)
	}
	b.clock.advance(55*time.Minute + time.Second)
	next := b.post("/cgi-bin/stable_token", stable(false))
	if next.text("access_token") == first.text("access_token") {
		t.Fatal("no new token in the last 5 minutes")
	}
	b.wantLive(first.text("access_token"), true)
	b.wantLive(next.text("access_token"), true)
}

func TestStableTokenForced(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	first := b.post("/cgi-bin/stable_token", stable(true)).text("access_token")
	if tooSoon := b.post("/cgi-bin/stable_token", stable(true)).text("access_token"); tooSoon != first {
		t.Error("a force within 30 seconds made a new token")
	}
	b.clock.advance(30 * time.Second)
	second := b.post("/cgi-bin/stable_token", stable(true)).text("access_token")
	b.wantLive(first, false)
	b.wantLive(second, true)
	b.wantCode(b.post("/cgi-bin/stable_token", stable("true")), http.StatusOK, "errcode", 47001)
}

func TestStableTokenIsForcedTwentyTimesADay(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	for range 20 {
		if a := b.post("/cgi-bin/stable_token", stable(true)); a.text("access_token") == "" {
			t.Fatalf("refused: %s", a.raw)
		}
		b.clock.advance(31 * time.Second)
	}
	b.wantCode(b.post("/cgi-bin/stable_token", stable(true)), http.StatusOK, "errcode", 45009)
	if a := b.post("/cgi-bin/stable_token", stable(false)); a.text("access_token") == "" {
		t.Errorf("the normal mode is refused too: %s", a.raw)
	}
	b.clock.advance(24 * time.Hour)
	if a := b.post("/cgi-bin/stable_token", stable(true)); a.text("access_token") == "" {
		t.Errorf("still refused a day later: %s", a.raw)
	}
}

func TestTokenAndStableTokenDoNotTouchEachOther(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	s := b.post("/cgi-bin/stable_token", stable(false)).text("access_token")
	b.get(wechatAsk)
	b.get(wechatAsk)
	b.clock.advance(10 * time.Minute)
	b.wantLive(s, true)
}

func TestWeComGivesTheSameTokenWhileItIsValid(t *testing.T) {
	const path = "/cgi-bin/gettoken?corpid=app&corpsecret=s3cret"
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeCom})
	first := b.get(path)
	b.wantCode(first, http.StatusOK, "errcode", 0)
	b.clock.advance(119 * time.Minute)
	again := b.get(path)
	if again.text("access_token") != first.text("access_token") || again.number("expires_in") != 60 {
		t.Errorf("got %s after %s", again.raw, first.raw)
	}
	b.clock.advance(time.Minute)
	if next := b.get(path); next.text("access_token") == first.text("access_token") {
		t.Error("the ended token was given again")
	}
	b.wantCode(b.get("/cgi-bin/user/get?access_token="+first.text("access_token")), http.StatusOK, "errcode", 42001)
	b.Revoke(b.Newest())
	b.wantCode(b.get("/cgi-bin/user/get?access_token="+b.Newest()), http.StatusOK, "errcode", 40014)
	b.wantCode(b.get("/cgi-bin/gettoken?corpid=app&corpsecret=x"), http.StatusOK, "errcode", 40001)
}
