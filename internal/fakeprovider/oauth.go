package fakeprovider

import (
	"mime"
	"net/http"
	"net/url"
	"time"
)

// oauth is a server of RFC 6749: authorization at /oauth2/authorize (section
// 4.1, with RFC 7636); the grants client_credentials, authorization_code and
// refresh_token at /oauth2/token, client_secret_basic and client_secret_post;
// and an API of RFC 6750.
var oauth = dialect{
	rule: Rule{Semantics: Parallel, Life: time.Hour},
	main: "/oauth2/token",
	endpoints: map[string]endpoint{
		"/oauth2/token": {name: "token", ask: askOAuth},
	},
	doors: map[string]door{
		"/oauth2/authorize": {client: "client_id", life: 10 * time.Minute, proofs: true},
	},
	carried: carriedBearer,
	names:   names{token: "access_token", expiry: "expires_in"},
	extras:  map[string]any{"token_type": "Bearer"},
	refuse:  refuseOAuth,
	dead: func(s state) reply {
		if s == missing { // RFC 6750 section 3.1: no error code where no token came
			return reply{status: http.StatusUnauthorized}.with("WWW-Authenticate", `Bearer realm="api"`)
		}
		return oauthError(http.StatusUnauthorized, "invalid_token", "The access token "+string(s)).
			with("WWW-Authenticate", `Bearer realm="api", error="invalid_token"`)
	},
	ok: func(r *http.Request) reply {
		return jsonReply(http.StatusOK, map[string]any{"ok": true, "path": r.URL.Path})
	},
}

// askOAuth reads a token request as strictly as RFC 6749 lets a server: POST
// (3.2), a form, no parameter twice (3.2), one way of authenticating (2.3),
// and id and secret form-encoded in Basic (2.3.1).
func askOAuth(r *http.Request) (ask, Refusal) {
	form, refusal := postedForm(r)
	if refusal != "" {
		return ask{}, refusal
	}
	a, refusal := askClient(r, form)
	if refusal != "" {
		return a, refusal
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return a, ""
	case "authorization_code":
		a.redirect, a.verifier = form.Get("redirect_uri"), form.Get("code_verifier")
		if a.code = form.Get("code"); a.code == "" {
			return a, BadBody
		}
		return a, ""
	case "refresh_token":
		if a.refresh = form.Get("refresh_token"); a.refresh == "" {
			return a, BadBody
		}
		return a, ""
	case "":
		return a, BadBody
	default:
		return a, WrongGrant
	}
}

// postedForm reads a form that holds no parameter twice.
func postedForm(r *http.Request) (url.Values, Refusal) {
	if r.Method != http.MethodPost {
		return nil, NeedsPOST
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return nil, BadBody
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, BadBody
		}
	}
	return r.PostForm, ""
}

func askClient(r *http.Request, form url.Values) (ask, Refusal) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		a := ask{ref: form.Get("client_id"), secret: form.Get("client_secret")}
		if a.ref == "" {
			return a, UnknownApp
		}
		return a, ""
	}
	if form.Has("client_secret") {
		return ask{}, BadBody
	}
	var a ask
	var err error
	if a.ref, err = url.QueryUnescape(id); err != nil {
		return a, BadBody
	}
	if a.secret, err = url.QueryUnescape(secret); err != nil {
		return a, BadBody
	}
	return a, ""
}

func refuseOAuth(r Refusal) reply {
	switch r {
	case BadBody, MissingApp, MissingSecret, BadUser, BadSign, BadTime, BadTicket:
		return oauthError(http.StatusBadRequest, "invalid_request", "A parameter is missing, doubled or malformed.")
	case NeedsGET, NeedsPOST:
		return reply{status: http.StatusMethodNotAllowed}.with("Allow", http.MethodPost)
	case WrongGrant:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "")
	case UnknownApp, WrongSecret: // RFC 6749 section 5.2: the same answer for both
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.").
			with("WWW-Authenticate", `Basic realm="token"`)
	case QuotaSpent: // as Entra answers: the body is not JSON
		return reply{status: http.StatusTooManyRequests, raw: []byte("Too many requests")}.with("Content-Type", "text/plain")
	case Busy:
		return reply{status: http.StatusServiceUnavailable, raw: []byte("<html><h1>503</h1></html>")}.with("Content-Type", "text/html")
	case BadCode:
		return oauthError(http.StatusBadRequest, "invalid_grant", "The authorization code is not valid.")
	case BadRefresh:
		return oauthError(http.StatusBadRequest, "invalid_grant", "The refresh token is not valid.")
	}
	panic("unknown refusal " + string(r))
}

// oauthError is an error answer of RFC 6749 section 5.2.
func oauthError(status int, code, description string) reply {
	body := map[string]any{"error": code}
	if description != "" {
		body["error_description"] = description
	}
	return jsonReply(status, body).with("Cache-Control", "no-store")
}
