package fakeprovider

import (
	"net/http"
	"time"
)

// douyin is open.douyin.com: everything stands in "data", also the error code,
// and the status is 200. client_token: a new token overtakes the old one, both
// are valid for 5 minutes, and only the two newest live; 500 in 5 minutes
// (developer.open-douyin.com, client_token). refresh_token: a form without a
// secret, and numbers in quotes (the same, refresh-access-token); that a
// refresh token is good once is RefreshRule's business (Strict:
// partner.open-douyin.com). The codes 10008, 10010, 10013, 10020 and 2190008
// are documented, the others are from memory.
var douyin = dialect{
	rule: Rule{Semantics: Rotate, Life: twoHours, Overlap: 5 * time.Minute, Newest: 2},
	main: "/oauth/client_token/",
	endpoints: map[string]endpoint{
		"/oauth/client_token/": {
			name: "client_token", ask: askDouyinClient, lone: true,
			quotas: []Quota{{Calls: 500, Per: 5 * time.Minute}},
		},
		"/oauth/refresh_token/": {
			name: "refresh_token", ask: askDouyinRefresh, public: true,
			rule:  &Rule{Semantics: Parallel, Life: 15 * 24 * time.Hour},
			names: &names{token: "access_token", expiry: "expires_in", inside: "data", text: true},
		},
	},
	carried: func(r *http.Request) []string { return r.Header.Values("Access-Token") },
	names:   names{token: "access_token", expiry: "expires_in", inside: "data"},
	extras:  map[string]any{"message": "success"},
	refuse: func(r Refusal) reply {
		switch r {
		case UnknownApp, WrongSecret:
			return douyinError(10013, "client_key or client_secret error")
		case QuotaSpent:
			return douyinError(10020, "too many requests")
		case BadRefresh:
			return douyinError(10010, "refresh_token expired")
		case Busy:
			return douyinError(2100004, "system busy")
		case NeedsGET, NeedsPOST:
			return reply{status: http.StatusMethodNotAllowed}
		case BadBody, MissingApp, MissingSecret, WrongGrant, BadCode, BadUser, BadSign, BadTime, BadTicket:
			return douyinError(10002, "parameter error")
		}
		panic("unknown refusal " + string(r))
	},
	dead: func(s state) reply {
		if s == expired {
			return douyinError(2190008, "access_token expired")
		}
		return douyinError(10008, "access_token invalid")
	},
	ok: func(r *http.Request) reply {
		return jsonReply(http.StatusOK, map[string]any{
			"data": map[string]any{"error_code": 0, "description": "", "path": r.URL.Path}, "message": "success",
		})
	},
}

func douyinError(code int, description string) reply {
	return jsonReply(http.StatusOK, map[string]any{
		"data": map[string]any{"error_code": code, "description": description}, "message": "error",
	})
}

func askDouyinClient(r *http.Request) (ask, Refusal) {
	if r.Method != http.MethodPost {
		return ask{}, NeedsPOST
	}
	body, ok := jsonBody(r)
	if !ok {
		return ask{}, BadBody
	}
	a := ask{}
	a.ref, _ = body["client_key"].(string)
	a.secret, _ = body["client_secret"].(string)
	if body["grant_type"] != "client_credential" {
		return a, WrongGrant
	}
	return a, a.incomplete()
}

func askDouyinRefresh(r *http.Request) (ask, Refusal) {
	form, refusal := postedForm(r)
	if refusal != "" {
		return ask{}, refusal
	}
	a := ask{ref: form.Get("client_key"), refresh: form.Get("refresh_token")}
	switch {
	case form.Get("grant_type") != "refresh_token":
		return a, WrongGrant
	case a.ref == "":
		return a, MissingApp
	case a.refresh == "":
		return a, BadBody
	default:
		return a, ""
	}
}
