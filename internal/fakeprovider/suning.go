package fakeprovider

import (
	"net/http"
	"time"
)

// suning is open.suning.com: a person logs in at /api/oauth/authorize (with
// the item code of the app in the service market), the code and the refresh
// token are exchanged at /api/oauth/token, by query or form. A token lives as
// long as the order of the app, at most a year (the vendor's page, menuId 36).
// The names in an answer, re_expires_in among them, and the header of the API
// are from programs that use them. The life of a code is assumed; so is that
// refusals are as RFC 6749 has them.
var suning = dialect{
	rule: Rule{Semantics: Parallel, Life: year},
	main: "/api/oauth/token",
	endpoints: map[string]endpoint{
		"/api/oauth/token": {name: "token", ask: askSuning},
	},
	doors: map[string]door{
		"/api/oauth/authorize": {client: "client_id", needs: []string{"itemcode"}, life: 10 * time.Minute},
	},
	carried: func(r *http.Request) []string { return r.Header.Values("Access_token") },
	names:   names{token: "access_token", expiry: "expires_in", refreshEnd: "re_expires_in"},
	refuse:  refuseOAuth,
	dead: func(state) reply {
		return suningReply("sn_error", map[string]any{"error_code": "sys.check.access_token.fault"})
	},
	ok: func(r *http.Request) reply {
		return suningReply("sn_body", map[string]any{"path": r.URL.Path})
	},
}

func suningReply(name string, value any) reply {
	return jsonReply(http.StatusOK, map[string]any{"sn_responseContent": map[string]any{name: value}})
}

func askSuning(r *http.Request) (ask, Refusal) {
	args, ok := anyArguments(r)
	if !ok {
		return ask{}, BadBody
	}
	a := ask{ref: args.Get("client_id"), secret: args.Get("client_secret")}
	switch args.Get("grant_type") {
	case "authorization_code":
		a.code, a.redirect = args.Get("code"), args.Get("redirect_uri")
	case "refresh_token":
		a.refresh = args.Get("refresh_token")
	default:
		return a, WrongGrant
	}
	if a.code == "" && a.refresh == "" {
		return a, BadBody
	}
	return a, a.incomplete()
}
