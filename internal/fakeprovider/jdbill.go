package fakeprovider

import (
	"net/http"
	"strings"
	"time"
)

// jdBill is bizapi.jd.com, the earlier face of the buyers' API: a token for a
// user name and the MD5 of the password, in a request that is signed with the
// app's secret. The sign, the half hour and the form of an answer are quoted in
// programs that use it, and so is the token as a form field; the life of a
// token is that of jdVOP, and the codes of the refusals are assumed.
var jdBill = dialect{
	rule: Rule{Semantics: Parallel, Life: day},
	main: "/oauth2/accessToken",
	endpoints: map[string]endpoint{
		"/oauth2/accessToken":   billToken, // both spellings are in use
		"/oauth2/access_token":  billToken,
		"/oauth2/refreshToken":  billRefresh,
		"/oauth2/refresh_token": billRefresh,
	},
	carried: carriedField("token"),
	names: names{
		token: "access_token", expiry: "expires_in", inside: "result",
		refreshEnd: "refresh_token_expires", epoch: true, clock: "time",
	},
	extras: map[string]any{"success": true, "resultCode": "0000", "resultMessage": ""},
	refuse: func(r Refusal) reply { return billCodes[r].reply() },
	dead:   deadVOP,
	ok:     okVOP,
}

var (
	billToken   = endpoint{name: "accessToken", ask: askBill, check: checkBill, public: true}
	billRefresh = endpoint{name: "refreshToken", ask: askBillRefresh}
)

// billSkew is how far a request's timestamp may be from JD's clock.
const billSkew = 30 * time.Minute

// beijing needs no time zone database.
var beijing = time.FixedZone("CST", 8*60*60)

func askBill(r *http.Request) (ask, Refusal) {
	if r.Method != http.MethodPost {
		return ask{}, NeedsPOST
	}
	args, ok := anyArguments(r)
	if !ok {
		return ask{}, BadBody
	}
	a := ask{ref: args.Get("client_id"), user: args.Get("username"), args: args}
	switch {
	case args.Get("grant_type") != "access_token":
		return a, WrongGrant
	case a.ref == "":
		return a, MissingApp
	}
	return a, ""
}

func askBillRefresh(r *http.Request) (ask, Refusal) {
	if r.Method != http.MethodPost {
		return ask{}, NeedsPOST
	}
	args, ok := anyArguments(r)
	if !ok {
		return ask{}, BadBody
	}
	a := ask{ref: args.Get("client_id"), secret: args.Get("client_secret"), refresh: args.Get("refresh_token")}
	if a.refresh == "" {
		return a, BadBody
	}
	return a, a.incomplete()
}

// checkBill checks the sign, then the time, then the user. The scope is a part
// of the sign where it is sent; an empty one changes nothing. Whether the
// secret is sent as well does not matter.
func checkBill(p *Provider, a ask, now time.Time) Refusal {
	secret := p.secrets[a.ref]
	if a.args.Has("client_secret") && a.args.Get("client_secret") != secret {
		return WrongSecret
	}
	signed := secret
	for _, name := range []string{"timestamp", "client_id", "username", "password", "grant_type", "scope"} {
		signed += a.args.Get(name)
	}
	if a.args.Get("sign") != strings.ToUpper(md5Hex(signed+secret)) {
		return BadSign
	}
	at, err := time.ParseInLocation(time.DateTime, a.args.Get("timestamp"), beijing)
	if err != nil || now.Sub(at).Abs() > billSkew {
		return BadTime
	}
	password, known := p.users[a.user]
	if !known || a.args.Get("password") != md5Hex(password) {
		return BadUser
	}
	return ""
}

// billCode is one refusal of bizapi.jd.com.
type billCode struct{ code, message string }

func (c billCode) reply() reply {
	return jsonReply(http.StatusOK, map[string]any{"success": false, "resultCode": c.code, "resultMessage": c.message, "result": nil})
}

var billCodes = map[Refusal]billCode{
	BadBody:       {"1001", "参数错误"},
	MissingApp:    {"1001", "client_id不能为空"},
	MissingSecret: {"1001", "client_secret不能为空"},
	NeedsGET:      {"1001", "请求方式错误"},
	NeedsPOST:     {"1001", "请求方式错误"},
	WrongGrant:    {"1001", "grant_type错误"},
	UnknownApp:    {"1005", "client_id错误"},
	WrongSecret:   {"1005", "client_secret错误"},
	QuotaSpent:    {"1010", "请求过于频繁"},
	Busy:          {"5001", "系统繁忙"},
	BadRefresh:    {"1004", "refresh_token错误"},
	BadCode:       {"1001", "参数错误"},
	BadUser:       {"1006", "用户名或密码错误"},
	BadSign:       {"1007", "sign错误"},
	BadTime:       {"1008", "timestamp错误"},
}

// deadVOP and okVOP are how the buyers' API answers, whichever way the token
// was got. The code is assumed.
func deadVOP(state) reply { return billCode{"1003", "token错误或已失效"}.reply() }

func okVOP(r *http.Request) reply {
	return jsonReply(http.StatusOK, map[string]any{
		"success": true, "resultCode": "0000", "resultMessage": "", "result": map[string]any{"path": r.URL.Path},
	})
}

// carriedField reads tokens from a form.
func carriedField(name string) func(*http.Request) []string {
	return func(r *http.Request) []string {
		_ = r.ParseForm() // what cannot be read carries no token
		return r.PostForm[name]
	}
}
