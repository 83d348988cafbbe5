package inject

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// providerRealms say how each provider gives tokens, and how a dead one looks
// in the answers of its API.
var providerRealms = map[fakeprovider.Style]string{
	fakeprovider.WeChat: `"url":"$/cgi-bin/stable_token","method":"POST","token_path":"access_token","expires_in_path":"expires_in","arguments":[
		{"name":"grant_type","place":"body","value":"client_credential"},{"name":"appid","place":"body","value":"{secret.id}"},
		{"name":"secret","place":"body","value":"{secret.secret}"},{"name":"force_refresh","place":"body","value":"{force}","type":"boolean"}],
		"inject":[{"place":"url","name":"access_token"}],"renew_on":[{"json":"errcode","values":[40001,40014,42001]}]`,
	fakeprovider.WeCom: `"url":"$/cgi-bin/gettoken","token_path":"access_token","expires_in_path":"expires_in","arguments":[
		{"name":"corpid","place":"url","value":"{secret.id}"},{"name":"corpsecret","place":"url","value":"{secret.secret}"}],
		"inject":[{"place":"url","name":"access_token"}],"renew_on":[{"json":"errcode","values":[40014,42001]}]`,
	fakeprovider.DingTalk: `"url":"$/v1.0/oauth2/accessToken","method":"POST","token_path":"accessToken","expires_in_path":"expireIn","arguments":[
		{"name":"appKey","place":"body","value":"{secret.id}"},{"name":"appSecret","place":"body","value":"{secret.secret}"}],
		"inject":[{"place":"header","name":"x-acs-dingtalk-access-token"}],"renew_on":[{"status":[400],"json":"code","values":["InvalidAuthentication"]}]`,
	fakeprovider.Feishu: `"url":"$/open-apis/auth/v3/tenant_access_token/internal","method":"POST","token_path":"tenant_access_token","expires_in_path":"expire","arguments":[
		{"name":"app_id","place":"body","value":"{secret.id}"},{"name":"app_secret","place":"body","value":"{secret.secret}"}],
		"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],"renew_on":[{"status":[400],"json":"code","values":[99991663,99991664]}]`,
	fakeprovider.OAuth: `"grant":{"name":"client_credentials","token_url":"$/oauth2/token","client_id":"{secret.id}","client_secret":"{secret.secret}"},
		"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],"renew_on":[{"status":[401]}]`,
}

// A token that the provider killed early costs one refused call and one fetch.
func TestHealProviders(t *testing.T) {
	for style, config := range providerRealms {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(string(style)+" "+method, func(t *testing.T) {
				p := fakeprovider.New(fakeprovider.Options{
					Style: style, Credentials: map[string]string{"app": "s3cret"}, API: http.HandlerFunc(mirror),
				})
				base := p.Start(t)
				h := &healer{fetch: fetcher(t, strings.ReplaceAll(config, "$", base), base)}
				first, err := h.fetch(t.Context())
				noError(t, err)
				h.current = first
				p.Revoke(first.Access.Reveal())
				transport := over(http.DefaultTransport.(*http.Transport).Clone(), Job{})
				transport.Source = h
				transport.Job = func(*http.Request) (Job, error) { return h.job(Job{Dial: strings.TrimPrefix(base, "http://")}), nil }
				for range 2 {
					req := httptest.NewRequestWithContext(t.Context(), method, base+"/some/call", strings.NewReader("body"))
					req.RequestURI = ""
					resp, err := transport.RoundTrip(req)
					noError(t, err)
					got := read(t, resp)
					equal(t, method+" body", got.body, "body")
				}
				equal(t, 1, len(p.DeadCalls()), "refused calls")
				equal(t, 2, p.Calls(), "calls that acted")
				equal(t, 2, len(p.Issued()), "tokens")
				wants(t, h, 1, 1, 2)
			})
		}
	}
}

func mirror(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.Method+" "+string(b))
}

// fetcher makes leases as the broker does.
func fetcher(t *testing.T, config, base string) func(context.Context) (*realm.Lease, error) {
	t.Helper()
	r := realm.Realm{ID: "x"}
	noError(t, realm.Decode([]byte(`{"api":"`+base+`",`+config+`}`), "config", &r.Config))
	program, err := grant.Compile(r, true)
	noError(t, err)
	bound, err := program.Bind(realm.Secret{Fields: map[string]realm.Hidden{"id": "app", "secret": "s3cret"}})
	noError(t, err)
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	noError(t, err)
	client := grant.NewClient(policy.Dialer(new(net.Dialer)), time.Now)
	return func(ctx context.Context) (*realm.Lease, error) {
		res, err := bound.Fetch(ctx, client, grant.Request{Force: true})
		if err != nil {
			return nil, err
		}
		values, access, err := bound.Place(res.Token.Access)
		if err != nil {
			return nil, err
		}
		return &realm.Lease{Access: access, Values: values, Target: bound.Target()}, nil
	}
}
