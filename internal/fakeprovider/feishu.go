package fakeprovider

import (
	"net/http"
	"strings"
	"time"
)

// feishu is open.feishu.cn, internal app: with 30 minutes or more left, the
// same token and what remains of its life; with less, a new one, and both are
// valid (open.larkoffice.com, tenant_access_token_internal). The expiry is
// called "expire". A dead token is HTTP 400 with 99991663
// (multica-ai/multica#7611).
var feishu = dialect{
	rule: Rule{Semantics: Same, Life: twoHours, RenewBelow: 30 * time.Minute},
	main: "/open-apis/auth/v3/tenant_access_token/internal",
	endpoints: map[string]endpoint{
		"/open-apis/auth/v3/tenant_access_token/internal": {name: "tenant", ask: askJSON("app_id", "app_secret")},
	},
	carried: carriedBearer,
	names:   names{token: "tenant_access_token", expiry: "expire"},
	extras:  map[string]any{"code": 0, "msg": "ok"},
	refuse: func(r Refusal) reply {
		switch r {
		case UnknownApp:
			return feishuError(http.StatusBadRequest, 10003, "invalid param")
		case WrongSecret, BadRefresh:
			return feishuError(http.StatusOK, 10014, "app secret invalid")
		case QuotaSpent:
			return feishuError(http.StatusTooManyRequests, 99991400, "request trigger frequency limit")
		case Busy:
			return feishuError(http.StatusInternalServerError, 2200, "internal error")
		case NeedsGET, NeedsPOST:
			return feishuError(http.StatusNotFound, 404, "404 page not found")
		case BadBody, MissingApp, MissingSecret, WrongGrant, BadCode, BadUser, BadSign, BadTime, BadTicket:
			return feishuError(http.StatusBadRequest, 10003, "invalid param")
		}
		panic("unknown refusal " + string(r))
	},
	dead: func(s state) reply {
		if s == missing {
			return feishuError(http.StatusBadRequest, 99991661, "Missing access token for authorization. Please make a test attempt with the correct token.")
		}
		return feishuError(http.StatusBadRequest, 99991663, "Invalid access token for authorization. Please make a test attempt with the correct token.")
	},
	ok: func(r *http.Request) reply {
		return jsonReply(http.StatusOK, map[string]any{"code": 0, "msg": "success", "data": map[string]any{"path": r.URL.Path}})
	},
}

func feishuError(status, code int, msg string) reply {
	return jsonReply(status, map[string]any{"code": code, "msg": msg})
}

// carriedBearer reads tokens of the form of RFC 6750 section 2.1.
func carriedBearer(r *http.Request) []string {
	var tokens []string
	for _, value := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, token)
		}
	}
	return tokens
}
