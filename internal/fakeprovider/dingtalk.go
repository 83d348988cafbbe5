package fakeprovider

import "net/http"

// dingtalkOld is oapi.dingtalk.com: the same token while it is valid, and
// asking again extends it (quoted at developer.aliyun.com/ask/585211). A dead
// token is 40014 with HTTP 200 (satorijs/satori#240). The refusals of a token
// request are from memory.
var dingtalkOld = dialect{
	rule: Rule{Semantics: Same, Life: twoHours, Extends: true},
	main: "/gettoken",
	endpoints: map[string]endpoint{
		"/gettoken": {name: "gettoken", ask: askQuery("appkey", "appsecret", nil)},
	},
	carried: carriedQuery("access_token"),
	names:   names{token: "access_token", expiry: "expires_in"},
	extras:  map[string]any{"errcode": 0, "errmsg": "ok"},
	refuse: refuseByCode(map[Refusal]code{
		BadBody:       {40035, "不合法的参数"},
		MissingApp:    {40035, "不合法的参数"},
		MissingSecret: {40035, "不合法的参数"},
		NeedsGET:      {43001, "需要GET请求"},
		NeedsPOST:     {43002, "需要POST请求"},
		WrongGrant:    {40035, "不合法的参数"},
		UnknownApp:    {40089, "不合法的corpid或corpsecret"},
		WrongSecret:   {40089, "不合法的corpid或corpsecret"},
		QuotaSpent:    {90018, "您的服务器调用钉钉开放平台的请求频率过高"},
		Busy:          {-1, "系统繁忙"},
		BadRefresh:    {40089, "不合法的corpid或corpsecret"},
	}),
	dead: func(state) reply { return code{40014, "不合法的access_token"}.reply() },
	ok:   okByCode,
}

// dingtalk is api.dingtalk.com: accessToken and expireIn, a bare header of its
// own, and refusals with HTTP 400 and a code in words (satorijs/satori#240).
var dingtalk = dialect{
	rule: Rule{Semantics: Same, Life: twoHours, Extends: true},
	main: "/v1.0/oauth2/accessToken",
	endpoints: map[string]endpoint{
		"/v1.0/oauth2/accessToken": {name: "accessToken", ask: askJSON("appKey", "appSecret")},
	},
	carried: func(r *http.Request) []string { return r.Header.Values("X-Acs-Dingtalk-Access-Token") },
	names:   names{token: "accessToken", expiry: "expireIn"},
	refuse: func(r Refusal) reply {
		switch r {
		case UnknownApp, WrongSecret, BadRefresh:
			return dingtalkError(http.StatusBadRequest, "invalidClientIdOrSecret", "无效的clientId或者clientSecret")
		case QuotaSpent:
			return dingtalkError(http.StatusTooManyRequests, "Throttling", "请求过于频繁")
		case Busy:
			return dingtalkError(http.StatusInternalServerError, "ServiceUnavailable", "系统繁忙")
		case NeedsGET, NeedsPOST:
			return dingtalkError(http.StatusMethodNotAllowed, "UnsupportedHttpMethod", "不支持的请求方法")
		case BadBody, MissingApp, MissingSecret, WrongGrant, BadCode, BadUser, BadSign, BadTime, BadTicket:
			return dingtalkError(http.StatusBadRequest, "MissingappKey", "appKey is mandatory for this action.")
		}
		panic("unknown refusal " + string(r))
	},
	dead: func(state) reply {
		return dingtalkError(http.StatusBadRequest, "InvalidAuthentication", "不合法的access_token")
	},
	ok: func(r *http.Request) reply {
		return jsonReply(http.StatusOK, map[string]any{"success": true, "path": r.URL.Path})
	},
}

func dingtalkError(status int, code, message string) reply {
	return jsonReply(status, map[string]any{"code": code, "message": message, "requestid": "0FA50105-5F8E-5B84-9A5C-7F5D3B3A5A56"})
}
