package fakeprovider

import "net/http"

// The app of a provider at WeCom, its suite: get_suite_token takes the ticket that
// is pushed every ten minutes. With the suite's token in the query, get_corp_token
// gives that of a company that installed the app.
// developer.work.weixin.qq.com/document/path/97162 and 90605.

var wecomSuite = workDialect(dialect{
	main: "/cgi-bin/service/get_suite_token",
	endpoints: map[string]endpoint{"/cgi-bin/service/get_suite_token": {
		name: "suite", ask: askTicket("suite_id", "suite_secret", "suite_ticket"), check: checkTicket,
	}},
	carried: carriedQuery("suite_access_token"),
	names:   names{token: "suite_access_token", expiry: "expires_in"},
	dead: deadByCode(map[state]code{
		missing:   {41022, "missing suite_access_token"},
		ambiguous: {40082, "invalid suite_access_token"},
		unknown:   {40082, "invalid suite_access_token"},
		expired:   {42009, "suite_access_token expired"},
		revoked:   {40082, "invalid suite_access_token"},
	}),
})

var wecomCorp = workDialect(dialect{
	main: "/cgi-bin/service/get_corp_token",
	endpoints: map[string]endpoint{"/cgi-bin/service/get_corp_token": {
		name: "corp", ask: askJSON("auth_corpid", "permanent_code"),
	}},
	carried: carriedQuery("access_token"),
	names:   wecom.names,
	dead:    wecom.dead,
})

// wecomTicket gives the tickets by which a page proves to the JS-SDK whose it is.
// developer.work.weixin.qq.com/document/path/90506.
var wecomTicket = workDialect(dialect{
	main: "/cgi-bin/get_jsapi_ticket",
	endpoints: map[string]endpoint{"/cgi-bin/get_jsapi_ticket": {
		name: "ticket", public: true, ask: func(r *http.Request) (ask, Refusal) {
			a := ask{ref: "jsapi"} // the app is that of the token
			if r.Method != http.MethodGet {
				return a, NeedsGET
			}
			return a, ""
		},
	}},
	carried: carriedQuery("ticket"),
	names:   names{token: "ticket", expiry: "expires_in"},
	dead:    wecom.dead,
})

// workDialect adds what all APIs of WeCom have in common.
func workDialect(d dialect) dialect {
	d.rule, d.extras, d.ok = wecom.rule, wecom.extras, okByCode
	d.refuse = refuseByCode(map[Refusal]code{
		BadBody:       {47001, "data format error"},
		MissingApp:    {41002, "id missing"},
		MissingSecret: {41025, "permanent code missing"},
		NeedsGET:      {43001, "require GET method"},
		NeedsPOST:     {43002, "require POST method"},
		UnknownApp:    {40083, "invalid suite id"},
		WrongSecret:   {40084, "invalid permanent code"},
		BadTicket:     {40085, "invalid suite ticket"},
		QuotaSpent:    {45009, "api freq out of limit"},
		Busy:          {-1, "system busy"},
	})
	return d
}
