package fakeprovider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

const douyinPath = "/oauth/client_token/"

func douyinAsk() map[string]any {
	return map[string]any{"client_key": "app", "client_secret": "s3cret", "grant_type": "client_credential"}
}

// data is the object in which Douyin says everything.
func (a answer) data() answer {
	inner, _ := a.json["data"].(map[string]any)
	return answer{status: a.status, raw: a.raw, json: inner}
}

func (b *bench) douyinRefresh(token string) answer {
	b.t.Helper()
	form := url.Values{"client_key": {"app"}, "grant_type": {"refresh_token"}, "refresh_token": {token}}
	req := b.request(http.MethodPost, "/oauth/refresh_token/", []byte(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(req)
}

func (b *bench) douyinCall(token string) answer {
	b.t.Helper()
	req := b.request(http.MethodGet, "/video/list/", nil)
	req.Header.Set("Access-Token", token)
	return b.send(req).data()
}

func TestDouyinKeepsTheTwoNewest(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.Douyin})
	var tokens []string
	for range 3 {
		a := b.post(douyinPath, douyinAsk())
		if a.text("message") != "success" || a.data().number("expires_in") != 7200 || a.data().text("refresh_token") != "" {
			t.Fatalf("got %s", a.raw)
		}
		tokens = append(tokens, a.data().text("access_token"))
	}
	b.wantLive(tokens[0], false) // though its 5 minutes are not over
	b.wantLive(tokens[1], true)
	b.clock.advance(5 * time.Minute)
	b.wantLive(tokens[1], false)
	b.wantLive(tokens[2], true)
	b.wantCode(b.douyinCall(tokens[1]), http.StatusOK, "error_code", 10008)
	b.wantCode(b.douyinCall(tokens[2]), http.StatusOK, "error_code", 0)
	b.clock.advance(2 * time.Hour)
	b.wantCode(b.douyinCall(tokens[2]), http.StatusOK, "error_code", 2190008)
}

func TestDouyinRefusesInItsData(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.Douyin})
	for code, change := range map[int][2]string{
		10013: {"client_secret", "wrong"},
		10002: {"grant_type", "client_credentials"},
	} {
		body := douyinAsk()
		body[change[0]] = change[1]
		b.wantCode(b.post(douyinPath, body).data(), http.StatusOK, "error_code", code)
	}
	for range 500 {
		b.Steal("app")
	}
	b.wantCode(b.post(douyinPath, douyinAsk()).data(), http.StatusOK, "error_code", 10020)
	b.clock.advance(5 * time.Minute)
	if a := b.post(douyinPath, douyinAsk()); a.data().text("access_token") == "" {
		t.Errorf("the window has slid: %s", a.raw)
	}
}

func TestDouyinRefreshesOnceWithoutASecret(t *testing.T) {
	b := newBench(t, fakeprovider.Options{
		Style:   fakeprovider.Douyin,
		Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict, Life: 30 * 24 * time.Hour},
	})
	pair := b.Authorize("app")
	a := b.douyinRefresh(pair.Refresh).data()
	if a.text("expires_in") != "1296000" || a.text("refresh_expires_in") != "2592000" {
		t.Fatalf("numbers are not in quotes: %s", a.raw)
	}
	b.wantSpent(a)
	b.wantLive(pair.Access, false)
	b.wantCode(b.douyinRefresh(pair.Refresh).data(), http.StatusOK, "error_code", 10010)
}

// The malformed answers are of the style's form, too.
func TestDouyinMalformedIsNested(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.Douyin})
	b.Set(fakeprovider.Faults{Answers: []string{"expiry text", "as plain text", "empty"}})
	for range 2 {
		if a := b.post(douyinPath, douyinAsk()); a.data().text("access_token") != b.Newest() {
			t.Errorf("got %s", a.raw)
		}
	}
	if a := b.post(douyinPath, douyinAsk()); strings.TrimSpace(string(a.raw)) != "" {
		t.Errorf("got %s", a.raw)
	}
}
