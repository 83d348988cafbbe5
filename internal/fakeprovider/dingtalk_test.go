package fakeprovider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestDingTalkOldExtendsTheSameToken(t *testing.T) {
	const path = "/gettoken?appkey=app&appsecret=s3cret"
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.DingTalkOld})
	first := b.get(path)
	b.clock.advance(time.Hour)
	again := b.get(path)
	if again.text("access_token") != first.text("access_token") || again.number("expires_in") != 7200 {
		t.Fatalf("got %s after %s", again.raw, first.raw)
	}
	b.clock.advance(2*time.Hour - time.Second)
	b.wantLive(first.text("access_token"), true)
	b.clock.advance(time.Second)
	b.wantCode(b.get("/topapi/v2/user/get?access_token="+first.text("access_token")), http.StatusOK, "errcode", 40014)
	b.wantCode(b.get("/gettoken?appkey=app&appsecret=x"), http.StatusOK, "errcode", 40089)
}

func TestDingTalkNewHasNamesAndRefusalsOfItsOwn(t *testing.T) {
	const path = "/v1.0/oauth2/accessToken"
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.DingTalk})
	first := b.post(path, map[string]any{"appKey": "app", "appSecret": "s3cret"})
	if first.text("accessToken") == "" || first.number("expireIn") != 7200 {
		t.Fatalf("got %s", first.raw)
	}
	call := func(token string) answer {
		req := b.request(http.MethodGet, "/v1.0/contact/users/me", nil)
		req.Header.Set("X-Acs-Dingtalk-Access-Token", token)
		return b.send(req)
	}
	if a := call(first.text("accessToken")); a.status != http.StatusOK {
		t.Errorf("a live token: HTTP %d %s", a.status, a.raw)
	}
	if a := call("never"); a.status != http.StatusBadRequest || a.text("code") != "InvalidAuthentication" {
		t.Errorf("an unknown token: HTTP %d %s", a.status, a.raw)
	}
	for name, body := range map[string]any{
		"wrong secret": map[string]any{"appKey": "app", "appSecret": "x"},
		"no app":       map[string]any{"appSecret": "s3cret"},
		"number":       map[string]any{"appKey": 5, "appSecret": "s3cret"},
		"no object":    []int{1},
	} {
		if a := b.post(path, body); a.status != http.StatusBadRequest || a.text("code") == "" {
			t.Errorf("%s: HTTP %d %s", name, a.status, a.raw)
		}
	}
}

func TestFeishuGivesANewTokenBelowThirtyMinutes(t *testing.T) {
	const path = "/open-apis/auth/v3/tenant_access_token/internal"
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.Feishu})
	ask := func() answer { return b.post(path, map[string]any{"app_id": "app", "app_secret": "s3cret"}) }
	first := ask()
	if first.number("expire") != 7200 || first.number("code") != 0 {
		t.Fatalf("got %s", first.raw)
	}
	b.clock.advance(90 * time.Minute)
	again := ask()
	if again.text("tenant_access_token") != first.text("tenant_access_token") || again.number("expire") != 1800 {
		t.Fatalf("with 30 minutes left: %s after %s", again.raw, first.raw)
	}
	b.clock.advance(time.Second)
	next := ask()
	old, fresh := first.text("tenant_access_token"), next.text("tenant_access_token")
	if old == fresh || next.number("expire") != 7200 {
		t.Fatalf("with less than 30 minutes left: %s", next.raw)
	}
	b.wantLive(old, true)
	b.wantLive(fresh, true)
	b.clock.advance(30 * time.Minute)
	b.wantCode(b.bearer("/open-apis/im/v1/messages", old), http.StatusBadRequest, "code", 99991663)
	b.wantCode(b.bearer("/open-apis/im/v1/messages", fresh), http.StatusOK, "code", 0)
	b.wantCode(b.bearer("/open-apis/im/v1/messages", ""), http.StatusBadRequest, "code", 99991661)
	b.wantCode(b.post(path, map[string]any{"app_id": "app", "app_secret": "x"}), http.StatusOK, "code", 10014)
}
