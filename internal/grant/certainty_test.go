package grant

import (
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// TestAnswersToARefresh has a line for every answer that gives no token: what
// it says of the refresh token that was sent.
func TestAnswersToARefresh(t *testing.T) {
	plain := `{"token_path":"access_token","expires_in_path":"expires_in","success":[{"json":"errcode","values":[0],"absent":true}],"refresh":{"url":"@/r?r={refresh_token}"}}`
	for _, c := range []struct {
		name, config string
		status       int
		body         string
		kind         Kind
		class        Class
		uncertain    bool
	}{
		{"RFC 6749", plain, 400, `{"error":"invalid_grant"}`, KindInvalidGrant, Hopeless, false},
		{"RFC 6749 in a 200", basicRealm, 200, `{"error":"invalid_grant"}`, KindInvalidGrant, Hopeless, false},
		{"RFC 6749 in a 401", plain, 401, `{"error":"INVALID_GRANT"}`, KindInvalidGrant, Hopeless, false},
		{"Slack", slackRealm, 200, `{"ok":false,"error":"invalid_refresh_token"}`, KindInvalidGrant, Hopeless, false},
		{"GitHub", plain, 200, `{"error":"bad_refresh_token"}`, KindInvalidGrant, Hopeless, false},
		{"WeChat: invalid", wechatRealm, 200, `{"errcode":40030,"errmsg":"invalid refresh_token"}`, KindInvalidGrant, Hopeless, false},
		{"WeChat: expired", wechatRealm, 200, `{"errcode":42002}`, KindInvalidGrant, Hopeless, false},
		{"WeChat open platform", wechatRealm, 200, `{"errcode":61023}`, KindInvalidGrant, Hopeless, false},
		{"Douyin", douyinRealm, 200, `{"data":{"error_code":10010,"description":"x"}}`, KindInvalidGrant, Hopeless, false},
		{"Feishu", feishuRealm, 200, `{"code":20037,"msg":"x"}`, KindInvalidGrant, Hopeless, false},

		{"a wrong secret", plain, 401, `{"error":"invalid_client"}`, KindRefused, Hopeless, false},
		{"WeCom: a wrong secret", wechatRealm, 200, `{"errcode":40001}`, KindRefused, Hopeless, false},
		{"DingTalk: a wrong secret", plain, 200, `{"errcode":40089}`, KindRefused, Retryable, false},
		{"a number of others", wechatRealm, 200, `{"errcode":10010}`, KindRefused, Retryable, false},
		{"Slack: a wrong secret", slackRealm, 200, `{"ok":false,"error":"bad_client_secret"}`, KindRefused, Hopeless, false},
		{"429", plain, 429, `slow down`, KindRefused, Throttled, false},
		{"Douyin: too often", douyinRealm, 200, `{"data":{"error_code":10020}}`, KindRefused, Throttled, false},
		{"403", plain, 403, `<p>`, KindRefused, Hopeless, false},
		{"404", plain, 404, ``, KindRefused, Hopeless, false},
		{"a broken refusal", plain, 400, strings.Repeat("x", maxAnswer+1), KindRefused, Hopeless, false},

		{"500", plain, 500, `{"error":"invalid_grant"}`, KindRefused, Retryable, true},
		{"502", plain, 502, `<p>`, KindRefused, Retryable, true},
		{"503", plain, 503, ``, KindRefused, Retryable, true},
		{"504", plain, 504, ``, KindRefused, Retryable, true},
		{"408", plain, 408, ``, KindRefused, Retryable, true},
		{"system busy", wechatRealm, 200, `{"errcode":-1,"errmsg":"system busy"}`, KindRefused, Retryable, true},
		{"server_error", plain, 400, `{"error":"server_error"}`, KindRefused, Retryable, true},
		{"a refusal that holds a token", wechatRealm, 200, `{"errcode":40030,"access_token":"T"}`, KindRefused, Retryable, true},
		{"a refusal without a reason", slackRealm, 200, `{"ok":false}`, KindRefused, Retryable, true},
		{"a redirect", plain, 302, ``, KindRedirect, Retryable, true},
		{"HTML", plain, 200, `<p>`, KindBadResponse, Retryable, true},
		{"nothing", plain, 200, ``, KindBadResponse, Retryable, true},
		{"a document without a token", plain, 200, `{"a":1}`, KindBadResponse, Retryable, true},
		{"too much", plain, 200, strings.Repeat(" ", maxAnswer+1), KindTooLarge, Retryable, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, failed, _ := refreshFrom(t, c.config, answering(c.status, "", c.body))
			if failed == nil {
				t.Fatal("no error")
			}
			if failed.Kind != c.kind || failed.Class != c.class || failed.Uncertain() != c.uncertain || failed.NotSent {
				t.Errorf("%+v, uncertain %v", failed, failed.Uncertain())
			}
		})
	}
}

// A fetch has no refresh token that could be refused.
func TestInvalidGrantOfAFetch(t *testing.T) {
	_, failed := fetchFrom(t, plainRealm, answering(400, "", `{"error":"invalid_grant"}`))
	if failed == nil || failed.Kind != KindRefused || failed.Class != Hopeless {
		t.Errorf("error %+v", failed)
	}
}

// TestBadRefreshOfEveryStyle: the words of the simulated providers. Those that
// say the same of a wrong secret are not believed to mean the refresh token.
func TestBadRefreshOfEveryStyle(t *testing.T) {
	body := func(names ...string) string {
		arguments := `{"name":"refresh_token","place":"body","value":"{refresh_token}"}`
		for _, name := range names {
			arguments += `,{"name":"` + name + `","place":"body","value":"refresh_token"}`
		}
		return `,"method":"POST","arguments":[` + arguments + `]`
	}
	for style, c := range map[fakeprovider.Style]struct {
		request string
		kind    Kind
	}{
		fakeprovider.OAuth:       {`oauth2/token","content_type":"form"` + body("client_id", "grant_type"), KindInvalidGrant},
		fakeprovider.WeChat:      {`cgi-bin/token?grant_type=client_credential&appid=x&secret=x&r={refresh_token}"`, KindInvalidGrant},
		fakeprovider.WeCom:       {`cgi-bin/gettoken?corpid=x&corpsecret=x&r={refresh_token}"`, KindRefused},
		fakeprovider.DingTalkOld: {`gettoken?appkey=x&appsecret=x&r={refresh_token}"`, KindRefused},
		fakeprovider.DingTalk:    {`v1.0/oauth2/accessToken"` + body("appKey", "appSecret"), KindRefused},
		fakeprovider.Feishu:      {`open-apis/auth/v3/tenant_access_token/internal"` + body("app_id", "app_secret"), KindRefused},
	} {
		provider := fakeprovider.New(fakeprovider.Options{Style: style})
		provider.Set(fakeprovider.Faults{Refuse: fakeprovider.BadRefresh})
		b := bind(t, realmOf(t, `{"token_path":"t","refresh":{"url":"@/`+c.request+`}}`, provider.Start(t)), nil)
		_, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "R"})
		events := provider.Events()
		if failed := failure(t, err); failed.Kind != c.kind || failed.Uncertain() || events[len(events)-1].Reason != string(fakeprovider.BadRefresh) {
			t.Errorf("%s: %+v, %+v", style, failed, events)
		}
	}
}
