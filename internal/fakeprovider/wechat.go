package fakeprovider

import (
	"net/http"
	"time"
)

// wechat is api.weixin.qq.com: `token` (a new token overtakes the old one,
// both are valid for 5 minutes) and `stable_token` (the same token, a new one
// in its last 5 minutes; force_refresh overtakes at once, 20 times a day and
// not within 30 seconds). The tokens of the two do not touch each other.
// developers.weixin.qq.com, getAccessToken and getStableAccessToken.
var wechat = dialect{
	rule: Rule{Semantics: Rotate, Life: twoHours, Overlap: 5 * time.Minute},
	main: "/cgi-bin/token",
	endpoints: map[string]endpoint{
		"/cgi-bin/token": {
			name: "token",
			ask:  askQuery("appid", "secret", map[string]string{"grant_type": "client_credential"}),
			// The number is what people report; the page says "limited".
			quotas: []Quota{{Calls: 2000, Per: 24 * time.Hour}},
		},
		"/cgi-bin/stable_token": {
			name: "stable_token",
			ask:  askStable,
			rule: &Rule{Semantics: Same, Life: twoHours, RenewBelow: 5 * time.Minute, ForceGap: 30 * time.Second},
			quotas: []Quota{
				{Calls: 10_000, Per: time.Minute},
				{Calls: 500_000, Per: 24 * time.Hour},
				{Calls: 20, Per: 24 * time.Hour, Forced: true},
			},
		},
	},
	carried: carriedQuery("access_token"),
	names:   names{token: "access_token", expiry: "expires_in"},
	refuse: refuseByCode(map[Refusal]code{
		BadBody:       {47001, "data format error"},
		MissingApp:    {41002, "appid missing"},
		MissingSecret: {41004, "appsecret missing"},
		NeedsGET:      {43001, "require GET method"},
		NeedsPOST:     {43002, "require POST method"},
		WrongGrant:    {40002, "invalid grant_type"},
		UnknownApp:    {40013, "invalid appid"},
		WrongSecret:   {40001, "invalid credential, access_token is invalid or not latest"},
		QuotaSpent:    {45009, "reach max api daily quota limit"},
		Busy:          {-1, "system error"},
		BadRefresh:    {40030, "invalid refresh_token"},
	}),
	dead: deadByCode(map[state]code{
		missing:   {41001, "access_token missing"},
		ambiguous: {40014, "invalid access_token"},
		unknown:   {40014, "invalid access_token"},
		expired:   {42001, "access_token expired"},
		revoked:   {40001, "invalid credential, access_token is invalid or not latest"},
	}),
	ok: okByCode,
}

// askStable reads a request for a stable token: JSON, with force_refresh as a
// boolean ("true" in quotes is refused).
func askStable(r *http.Request) (ask, Refusal) {
	if r.Method != http.MethodPost {
		return ask{}, NeedsPOST
	}
	body, ok := jsonBody(r)
	if !ok {
		return ask{}, BadBody
	}
	a := ask{}
	a.ref, _ = body["appid"].(string)
	a.secret, _ = body["secret"].(string)
	if body["grant_type"] != "client_credential" {
		return a, WrongGrant
	}
	if force, sent := body["force_refresh"]; sent {
		if a.force, ok = force.(bool); !ok {
			return a, BadBody
		}
	}
	return a, a.incomplete()
}

// wecom is qyapi.weixin.qq.com, internal app: the same token while it is
// valid, with what remains of its life. 40001 means the secret here, and
// nothing else. developer.work.weixin.qq.com/document/path/91039.
var wecom = dialect{
	rule: Rule{Semantics: Same, Life: twoHours},
	main: "/cgi-bin/gettoken",
	endpoints: map[string]endpoint{
		"/cgi-bin/gettoken": {name: "gettoken", ask: askQuery("corpid", "corpsecret", nil)},
	},
	carried: carriedQuery("access_token"),
	names:   names{token: "access_token", expiry: "expires_in"},
	extras:  map[string]any{"errcode": 0, "errmsg": "ok"},
	refuse: refuseByCode(map[Refusal]code{
		BadBody:       {47001, "data format error"},
		MissingApp:    {41002, "corpid missing"},
		MissingSecret: {41004, "corpsecret missing"},
		NeedsGET:      {43001, "require GET method"},
		NeedsPOST:     {43002, "require POST method"},
		WrongGrant:    {40002, "invalid grant_type"},
		UnknownApp:    {40013, "invalid corpid"},
		WrongSecret:   {40001, "invalid credential"},
		QuotaSpent:    {45009, "api freq out of limit"},
		Busy:          {-1, "system busy"},
		BadRefresh:    {40001, "invalid credential"},
	}),
	dead: deadByCode(map[state]code{
		missing:   {41001, "access_token missing"},
		ambiguous: {40014, "invalid access_token"},
		unknown:   {40014, "invalid access_token"},
		expired:   {42001, "access_token expired"},
		revoked:   {40014, "invalid access_token"},
	}),
	ok: okByCode,
}
