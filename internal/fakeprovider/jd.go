package fakeprovider

import (
	"crypto/md5" //nolint:gosec // the provider's choice
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"time"
)

// day is what JD gives a token of the buyers' API.
const (
	day  = 24 * time.Hour
	year = 365 * day
)

// jd is open-oauth.jd.com as the merchants' API has it: a person logs in at
// to_login, the code is exchanged by a GET, and so is a refresh token. The
// form of an answer (code 0, msg, requestId, time and refresh_token_expires in
// milliseconds of Unix time) is from programs that read it; that a token lives
// for a year is res.easydoc.net/doc/85914950. How long a code lives, and the
// numbers of the refusals, are assumed.
var jd = dialect{
	rule:      Rule{Semantics: Parallel, Life: year},
	main:      jdTokenPath,
	endpoints: jdEndpoints,
	doors: map[string]door{
		"/oauth2/to_login": {
			client: "app_key", fixed: map[string]string{"scope": "snsapi_base"}, life: 5 * time.Minute, unbound: true,
		},
	},
	carried: carriedQuery("access_token"),
	names:   jdNames,
	extras:  map[string]any{"code": 0},
	refuse:  refuseJD,
	dead: func(state) reply {
		return jsonReply(http.StatusOK, map[string]any{
			"error_response": map[string]any{"code": "19", "en_desc": "Invalid access_token", "zh_desc": "无效access_token"},
		})
	},
	ok: func(r *http.Request) reply {
		return jsonReply(http.StatusOK, map[string]any{"code": "0", "path": r.URL.Path})
	},
}

// jdVOP is the same server for the buyers' API: the app logs in for its user
// at authorizeForVOP. The redirect (302), the 5 minutes of a code, the day of a
// token, that several live at once, and the refresh by POST are in comments of
// programs that quote JD's document; an earlier product met the provider that
// calls the redirect URI itself. The numbers of the refusals are assumed.
var jdVOP = dialect{
	rule:      Rule{Semantics: Parallel, Life: day},
	main:      jdTokenPath,
	endpoints: jdEndpoints,
	doors: map[string]door{
		"/oauth2/authorizeForVOP": {
			client: "app_key", fixed: map[string]string{"scope": "snsapi_base"}, life: 5 * time.Minute, unbound: true,
			login: loginVOP,
		},
	},
	carried: carriedField("token"),
	names:   jdNames,
	extras:  map[string]any{"code": 0},
	refuse:  refuseJD,
	dead:    deadVOP,
	ok:      okVOP,
}

const jdTokenPath = "/oauth2/access_token"

var (
	jdEndpoints = map[string]endpoint{
		jdTokenPath:             {name: "access_token", ask: askJDCode},
		"/oauth2/refresh_token": {name: "refresh_token", ask: askJDRefresh},
	}
	jdNames = names{
		token: "access_token", expiry: "expires_in", refreshEnd: "refresh_token_expires", epoch: true, clock: "time",
	}
)

func askJDCode(r *http.Request) (ask, Refusal) {
	if r.Method != http.MethodGet {
		return ask{}, NeedsGET
	}
	args, a, refusal := askJD(r, "authorization_code")
	if refusal != "" {
		return a, refusal
	}
	if a.code = args.Get("code"); a.code == "" {
		return a, BadBody
	}
	return a, ""
}

// askJDRefresh takes a GET or a POST: both are in use.
func askJDRefresh(r *http.Request) (ask, Refusal) {
	args, a, refusal := askJD(r, "refresh_token")
	if refusal != "" {
		return a, refusal
	}
	if a.refresh = args.Get("refresh_token"); a.refresh == "" {
		return a, BadBody
	}
	return a, ""
}

func askJD(r *http.Request, grantType string) (url.Values, ask, Refusal) {
	args, ok := anyArguments(r)
	if !ok {
		return nil, ask{}, BadBody
	}
	a := ask{ref: args.Get("app_key"), secret: args.Get("app_secret")}
	if args.Get("grant_type") != grantType {
		return args, a, WrongGrant
	}
	return args, a, a.incomplete()
}

// anyArguments reads the arguments of the query and of a form together; none
// may come twice.
func anyArguments(r *http.Request) (url.Values, bool) {
	if r.ParseForm() != nil {
		return nil, false
	}
	for _, values := range r.Form {
		if len(values) > 1 {
			return nil, false
		}
	}
	return r.Form, true
}

// loginVOP checks the password of a user: MD5 in lower-case hex, signed with
// the app's RSA key without a digest's name (PKCS#1 v1.5, type 1: "encrypted
// with the private key"), in base64.
func loginVOP(p *Provider, v visit) (user string, ok bool) {
	user = v.args.Get("username")
	password, known := p.users[user]
	key := p.opts.Keys[v.ref]
	signature, err := base64.StdEncoding.DecodeString(v.args.Get("password"))
	if !known || key == nil || err != nil {
		return user, false
	}
	return user, rsa.VerifyPKCS1v15(key, 0, []byte(md5Hex(password)), signature) == nil
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // the provider's choice
	return hex.EncodeToString(sum[:])
}

func refuseJD(r Refusal) reply {
	switch r {
	case UnknownApp, WrongSecret:
		return jdError(http.StatusOK, 400101, "invalid app_key or app_secret")
	case BadCode:
		return jdError(http.StatusOK, 400102, "invalid code")
	case BadRefresh:
		return jdError(http.StatusOK, 400103, "invalid refresh_token")
	case QuotaSpent:
		return jdError(http.StatusTooManyRequests, 400104, "too many requests")
	case Busy:
		return jdError(http.StatusServiceUnavailable, 500100, "system busy")
	case NeedsGET, NeedsPOST:
		return reply{status: http.StatusMethodNotAllowed}
	case BadBody, MissingApp, MissingSecret, WrongGrant, BadUser, BadSign, BadTime, BadTicket:
		return jdError(http.StatusOK, 400100, "invalid parameter")
	}
	panic("unknown refusal " + string(r))
}

func jdError(status, code int, msg string) reply {
	return jsonReply(status, map[string]any{"code": code, "msg": msg, "requestId": "7f3c2a9e"})
}
