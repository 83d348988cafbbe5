package fakeprovider

import (
	"net/http"
	"net/url"
	"time"
)

// WeChat's open platform: api_component_token takes the ticket that is pushed every
// ten minutes, and gives the token of the platform. With that in the query,
// api_create_preauthcode gives a code for a link, api_query_auth the tokens of an
// account that came back from one, and api_authorizer_token the next of them.
// developers.weixin.qq.com, "第三方平台 > 凭证管理".
//
// Each level is a provider of its own, with a ledger of its own. The platform's API
// is where the endpoints of the others are: see Options.API.

var wechatOpen = openDialect(dialect{
	rule: Rule{Semantics: Rotate, Life: twoHours, Overlap: 5 * time.Minute},
	main: "/cgi-bin/component/api_component_token",
	endpoints: map[string]endpoint{"/cgi-bin/component/api_component_token": {
		name: "component", ask: askTicket("component_appid", "component_appsecret", "component_verify_ticket"), check: checkTicket,
	}},
	carried: carriedQuery("component_access_token"),
	names:   names{token: "component_access_token", expiry: "expires_in"},
})

var wechatPreauth = openDialect(dialect{
	rule: Rule{Semantics: Parallel, Life: 10 * time.Minute},
	main: "/cgi-bin/component/api_create_preauthcode",
	endpoints: map[string]endpoint{"/cgi-bin/component/api_create_preauthcode": {
		name: "preauth", public: true, ask: func(r *http.Request) (ask, Refusal) {
			a, _, refusal := askObject(r, "component_appid")
			return a, refusal
		},
	}},
	carried: carriedQuery("pre_auth_code"),
	names:   names{token: "pre_auth_code", expiry: "expires_in"},
})

var authorizerNames = names{
	token: "authorizer_access_token", expiry: "expires_in", refresh: "authorizer_refresh_token",
}

var wechatAccount = openDialect(dialect{
	rule: Rule{Semantics: Parallel, Life: twoHours},
	main: "/cgi-bin/component/api_authorizer_token",
	endpoints: map[string]endpoint{
		"/cgi-bin/component/api_query_auth": {
			name: "account", public: true, ask: askQueryAuth,
			names: &names{
				token: authorizerNames.token, expiry: authorizerNames.expiry, refresh: authorizerNames.refresh,
				inside: "authorization_info", user: "authorizer_appid",
			},
		},
		"/cgi-bin/component/api_authorizer_token": {
			name: "account", public: true, ask: askAuthorizer, check: checkAuthorizer,
		},
	},
	carried: carriedQuery("access_token"),
	names:   authorizerNames,
})

// wechatTicket gives the tickets by which a page proves to the JS-SDK whose it is.
var wechatTicket = openDialect(dialect{
	rule: Rule{Semantics: Parallel, Life: twoHours},
	main: "/cgi-bin/ticket/getticket",
	endpoints: map[string]endpoint{"/cgi-bin/ticket/getticket": {
		name: "ticket", public: true, ask: func(r *http.Request) (ask, Refusal) {
			a := ask{ref: r.URL.Query().Get("type")} // the app is that of the token
			if r.Method != http.MethodGet {
				return a, NeedsGET
			}
			return a, ""
		},
	}},
	carried: carriedQuery("ticket"),
	names:   names{token: "ticket", expiry: "expires_in"},
	extras:  map[string]any{"errcode": 0, "errmsg": "ok"},
})

// openDialect adds what all APIs of WeChat have in common.
func openDialect(d dialect) dialect {
	d.refuse = refuseByCode(map[Refusal]code{
		BadBody:       {47001, "data format error"},
		MissingApp:    {41002, "appid missing"},
		MissingSecret: {41004, "appsecret missing"},
		NeedsGET:      {43001, "require GET method"},
		NeedsPOST:     {43002, "require POST method"},
		UnknownApp:    {40013, "invalid appid"},
		WrongSecret:   {40125, "invalid appsecret"},
		BadTicket:     {61006, "component ticket is invalid"},
		BadCode:       {61010, "code is expired"},
		BadRefresh:    {61023, "refresh_token is invalid"},
		QuotaSpent:    {45009, "reach max api daily quota limit"},
		Busy:          {-1, "system error"},
	})
	d.dead, d.ok = wechat.dead, okByCode
	return d
}

func askQueryAuth(r *http.Request) (ask, Refusal) {
	a, body, refusal := askObject(r, "component_appid")
	if refusal != "" {
		return a, refusal
	}
	if a.code = textOf(body, "authorization_code"); a.code == "" {
		return a, BadBody
	}
	return a, ""
}

func askAuthorizer(r *http.Request) (ask, Refusal) {
	a, body, refusal := askObject(r, "component_appid")
	if refusal != "" {
		return a, refusal
	}
	if a.refresh = textOf(body, "authorizer_refresh_token"); a.refresh == "" {
		return a, BadBody
	}
	a.args = url.Values{"authorizer_appid": {textOf(body, "authorizer_appid")}}
	return a, ""
}

// checkAuthorizer refuses the refresh token of another account than the one that
// the request names. The caller holds the lock.
func checkAuthorizer(_ *Provider, a ask, _ time.Time) Refusal {
	if a.args.Get("authorizer_appid") != a.user {
		return BadRefresh
	}
	return ""
}

// Consent is an account's agreement on a page of the provider's own: it gives the
// app the code with which the browser comes back.
func (p *Provider) Consent(ref, user string) (code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newCode(door{life: time.Hour, unbound: true}, visit{ref: ref}, user, p.opts.Now())
}
