package fakeprovider

import (
	"cmp"
	"net/http"
	"net/url"
	"time"
)

// Style is the provider that is simulated.
type Style string

// The styles.
const (
	WeChat      Style = "wechat"       // official account, mini program
	WeCom       Style = "wecom"        // internal app
	DingTalkOld Style = "dingtalk_old" // oapi.dingtalk.com
	DingTalk    Style = "dingtalk"     // api.dingtalk.com
	Feishu      Style = "feishu"       // internal app, tenant_access_token
	Douyin      Style = "douyin"       // open.douyin.com
	OAuth       Style = "oauth"        // RFC 6749
	JD          Style = "jd"           // open-oauth.jd.com, a person logs in
	JDVOP       Style = "jd_vop"       // open-oauth.jd.com, the app logs in for the buyer
	JDBill      Style = "jd_bill"      // bizapi.jd.com, signed requests
	Suning      Style = "suning"       // open.suning.com

	WeChatOpen     Style = "wechat_open"         // a third-party platform
	WeChatPreauth  Style = "wechat_open_preauth" // its codes for links
	WeChatAccount  Style = "wechat_open_account" // an account that authorized it
	WeChatTicket   Style = "wechat_jsapi"        // tickets for the JS-SDK
	WeComSuite     Style = "wecom_suite"         // the app of a provider
	WeComCorp      Style = "wecom_corp"          // a company that installed it
	WeComTicket    Style = "wecom_jsapi"         // tickets for the JS-SDK
	FeishuStoreApp Style = "feishu_store_app"    // an app of the app store
	FeishuStore    Style = "feishu_store"        // a company that installed it
)

// Refusal is why a token request is refused.
type Refusal string

// The refusals. Each style has its own words for them.
const (
	BadBody       Refusal = "bad_body" // or a parameter that is malformed
	MissingApp    Refusal = "missing_app"
	MissingSecret Refusal = "missing_secret"
	NeedsGET      Refusal = "needs_get"
	NeedsPOST     Refusal = "needs_post"
	WrongGrant    Refusal = "wrong_grant"
	UnknownApp    Refusal = "unknown_app"
	WrongSecret   Refusal = "wrong_secret"
	QuotaSpent    Refusal = "quota_spent"
	// Busy is a failure of the provider's own: "system busy", 500, 503.
	Busy Refusal = "busy"
	// BadRefresh is invalid_grant of RFC 6749 section 5.2.
	BadRefresh Refusal = "bad_refresh_token"
	// BadCode is an authorization code that is unknown, ended, spent, another
	// app's, or that its proofs (redirect_uri, code_verifier) do not fit.
	BadCode Refusal = "bad_code"
	// BadUser is a user name that is unknown, or a wrong password.
	BadUser Refusal = "bad_user"
	BadSign Refusal = "bad_sign"
	// BadTime is a timestamp too far from the provider's clock.
	BadTime Refusal = "bad_time"
	// BadTicket is a ticket that is not the one that was pushed last.
	BadTicket Refusal = "bad_ticket"
)

// state is what the API sees in a token.
type state string

const (
	live      state = "live"
	missing   state = "missing"
	ambiguous state = "ambiguous" // more than one was sent
	unknown   state = "unknown"   // never issued
	expired   state = "expired"
	revoked   state = "revoked" // overtaken by a newer one, or taken back
)

// dialect is how one provider speaks.
type dialect struct {
	// rule of its tokens where the endpoint has none of its own.
	rule Rule
	// endpoints by path.
	endpoints map[string]endpoint
	// doors are the authorization endpoints by path.
	doors map[string]door
	// main is the path of the endpoint that most callers use.
	main string
	// carried returns every token that an API request presents.
	carried func(*http.Request) []string
	// names and extras of the answer to a token request.
	names  names
	extras map[string]any
	// refuse answers a token request, dead an API call, both with no.
	refuse func(Refusal) reply
	dead   func(state) reply
	// ok answers an API call.
	ok func(*http.Request) reply
}

// names of what a token answer holds.
type names struct {
	token  string
	expiry string
	inside string // the object that holds them; "" for the answer itself
	text   bool   // numbers are sent in quotes
	// refreshEnd is the name of the refresh token's end; "" for
	// refresh_expires_in.
	refreshEnd string
	// epoch: that end is an instant, in milliseconds of Unix time.
	epoch bool
	// clock is the name of the provider's time, in the same unit; "" for none.
	clock string
	// refresh is the name of the refresh token; "" for refresh_token.
	refresh string
	// user is the name of the account's id; "" for none.
	user string
}

// endpoint is one way of asking for a token. Tokens of two endpoints do not
// touch each other.
type endpoint struct {
	name string
	// ask reads a request; a refusal says that it cannot be understood.
	ask    func(*http.Request) (ask, Refusal)
	rule   *Rule
	quotas []Quota
	// check judges what needs the provider's books: a signature, a password.
	check  func(p *Provider, a ask, now time.Time) Refusal
	names  *names // nil for the dialect's
	public bool   // the app proves nothing
	lone   bool   // never issues a refresh token
}

// ask is what a token request says.
type ask struct {
	ref     string
	secret  string
	force   bool   // WeChat's force_refresh
	refresh string // the refresh token, for that grant
	// user is the account, where the request names one.
	user string
	// code, redirect and verifier are for an authorization code.
	code     string
	redirect string
	verifier string
	// args are the arguments, for an endpoint that checks them itself.
	args url.Values
}

// dialects of all styles.
var dialects = map[Style]dialect{
	WeChat: wechat, WeCom: wecom, DingTalkOld: dingtalkOld, DingTalk: dingtalk, Feishu: feishu, Douyin: douyin, OAuth: oauth,
	JD: jd, JDVOP: jdVOP, JDBill: jdBill, Suning: suning,
	WeChatOpen: wechatOpen, WeChatPreauth: wechatPreauth, WeChatAccount: wechatAccount, WeChatTicket: wechatTicket,
	WeComSuite: wecomSuite, WeComCorp: wecomCorp, WeComTicket: wecomTicket,
	FeishuStoreApp: feishuStoreApp, FeishuStore: feishuStore,
}

// rule of one endpoint for an app, after what the options and SetLife say. The
// caller holds the lock.
func (p *Provider) rule(e endpoint, ref string) Rule {
	r := p.speak.rule
	if e.rule != nil {
		r = *e.rule
	}
	if p.opts.Rule != nil {
		life := r.Life
		r = *p.opts.Rule
		r.Life = cmp.Or(r.Life, life)
	}
	r.Life = cmp.Or(p.lives[ref], r.Life)
	return r
}

// carriedQuery reads tokens from the query.
func carriedQuery(name string) func(*http.Request) []string {
	return func(r *http.Request) []string { return r.URL.Query()[name] }
}

const twoHours = 2 * time.Hour
