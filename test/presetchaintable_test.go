package test

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// presetChain is a chain of presets, and a provider in the shape of theirs.
type presetChain struct {
	// levels begin with the root, whose token the others need.
	levels []chainLevel
	// hosts answer for those of the provider.
	hosts map[string]http.Handler
	// push is how the provider sends a ticket to the root; nil if it needs none.
	push func(ticket string) fakeprovider.Push
	// api is a path of the last level's API; "" if its token is only read.
	api string
	// rootAPI is one that takes the token of the root.
	rootAPI string
	// account authorizes the last level; "" if nobody has to.
	account string
}

// chainLevel is a realm of a preset, and the ledger of the tokens that it gets.
type chainLevel struct {
	preset         string
	shared, fields map[string]any
	provider       *fakeprovider.Provider
}

func (c *presetChain) root() chainLevel { return c.levels[0] }
func (c *presetChain) leaf() chainLevel { return c.levels[len(c.levels)-1] }

// chainSecret is confidential in each of the chains, pushKeys are those of the push.
const chainSecret = "chain-s3cret-value"

var pushKeys = fakeprovider.PushKeys{Token: "push-s3cret-token", AESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"}

// withPushKeys are the fields of a secret whose provider pushes.
func withPushKeys(fields map[string]any) map[string]any {
	fields["push_token"], fields["push_aes_key"] = pushKeys.Token, pushKeys.AESKey
	return fields
}

// newLevel is a level of an app. style is the preset's name where the preset has a
// fake of its own.
func newLevel(preset, app, secret string, fields map[string]any, o fakeprovider.Options) chainLevel {
	if o.Style == "" {
		o.Style = fakeprovider.Style(preset)
	}
	o.Credentials = map[string]string{app: secret}
	return chainLevel{preset: preset, fields: fields, provider: fakeprovider.New(o)}
}

// presetChains are all of the catalogue.
var presetChains = map[string]func() *presetChain{
	"wechat_open_account that keeps its refresh token":    func() *presetChain { return wechatOpenChain(fakeprovider.Stable) },
	"wechat_open_account that rotates its refresh tokens": func() *presetChain { return wechatOpenChain(fakeprovider.Strict) },
	"wecom_corp":   wecomCorpChain,
	"wechat_jsapi": wechatTicketChain,
	"wecom_jsapi":  wecomTicketChain,
	"feishu_store": feishuStoreChain,
}

func wechatOpenChain(refresh fakeprovider.RefreshSemantics) *presetChain {
	const app = "wxcomponent1"
	preauth := newLevel("wechat_open_preauth", app, "", map[string]any{"component_appid": app}, fakeprovider.Options{})
	account := newLevel("wechat_open_account", app, "", nil, fakeprovider.Options{Refresh: fakeprovider.RefreshRule{Semantics: refresh}})
	account.shared = map[string]any{"component_appid": app}
	inside := http.NewServeMux()
	inside.Handle("/cgi-bin/component/api_create_preauthcode", preauth.provider)
	inside.Handle("/cgi-bin/component/api_query_auth", account.provider)
	inside.Handle("/cgi-bin/component/api_authorizer_token", account.provider)
	inside.HandleFunc("/", okByCode)
	open := newLevel("wechat_open", app, chainSecret, withPushKeys(map[string]any{
		"component_appid": app, "component_appsecret": chainSecret,
	}), fakeprovider.Options{API: inside})
	api := http.NewServeMux()
	api.Handle("/cgi-bin/component/", open.provider)
	api.Handle("/", account.provider)
	return &presetChain{
		levels: []chainLevel{open, preauth, account},
		hosts:  map[string]http.Handler{"api.weixin.qq.com": api, "mp.weixin.qq.com": http.NotFoundHandler()},
		push: func(ticket string) fakeprovider.Push {
			open.provider.SetTicket(app, ticket)
			return pushKeys.Tencent(app, "<xml><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>"+ticket+"</ComponentVerifyTicket></xml>")
		},
		api: "/cgi-bin/menu/get", rootAPI: "/cgi-bin/component/api_get_authorizer_list", account: "wxaccount1",
	}
}

func wecomCorpChain() *presetChain {
	const app, corp = "ww1", "wwcorp1"
	company := newLevel("wecom_corp", corp, chainSecret, map[string]any{"auth_corpid": corp, "permanent_code": chainSecret}, fakeprovider.Options{})
	suite := newLevel("wecom_suite", app, chainSecret, withPushKeys(map[string]any{
		"suite_id": app, "suite_secret": chainSecret,
	}), fakeprovider.Options{API: behind(company.provider, "/cgi-bin/service/get_corp_token")})
	api := http.NewServeMux()
	api.Handle("/cgi-bin/service/", suite.provider)
	api.Handle("/", company.provider)
	return &presetChain{
		levels: []chainLevel{suite, company},
		hosts:  map[string]http.Handler{"qyapi.weixin.qq.com": api},
		push: func(ticket string) fakeprovider.Push {
			suite.provider.SetTicket(app, ticket)
			return pushKeys.Tencent(app, "<xml><SuiteId>"+app+"</SuiteId><InfoType>suite_ticket</InfoType><SuiteTicket>"+ticket+"</SuiteTicket></xml>")
		},
		api: "/cgi-bin/get_api_domain_ip", rootAPI: "/cgi-bin/service/get_pre_auth_code",
	}
}

func wechatTicketChain() *presetChain {
	ticket := newLevel("wechat_jsapi", "jsapi", "", nil, fakeprovider.Options{})
	root := newLevel("wechat", "wx1", chainSecret, map[string]any{"appid": "wx1", "appsecret": chainSecret}, fakeprovider.Options{
		API: behind(ticket.provider, "/cgi-bin/ticket/getticket"),
	})
	return &presetChain{
		levels: []chainLevel{root, ticket}, hosts: map[string]http.Handler{"api.weixin.qq.com": root.provider},
		rootAPI: "/cgi-bin/get_api_domain_ip",
	}
}

func wecomTicketChain() *presetChain {
	ticket := newLevel("wecom_jsapi", "jsapi", "", nil, fakeprovider.Options{})
	root := newLevel("wecom", "ww1", chainSecret, map[string]any{"corpid": "ww1", "corpsecret": chainSecret}, fakeprovider.Options{
		API: behind(ticket.provider, "/cgi-bin/get_jsapi_ticket"),
	})
	return &presetChain{
		levels: []chainLevel{root, ticket}, hosts: map[string]http.Handler{"qyapi.weixin.qq.com": root.provider},
		rootAPI: "/cgi-bin/get_api_domain_ip",
	}
}

func feishuStoreChain() *presetChain {
	const app, tenant = "cli_1", "tenant1"
	store := newLevel("feishu_store", tenant, "", map[string]any{"tenant_key": tenant}, fakeprovider.Options{})
	root := newLevel("feishu_store_app", app, chainSecret, withPushKeys(map[string]any{
		"app_id": app, "app_secret": chainSecret,
	}), fakeprovider.Options{API: behind(store.provider, "/open-apis/auth/v3/tenant_access_token")})
	api := http.NewServeMux()
	api.Handle("/open-apis/auth/", root.provider)
	api.Handle("/open-apis/authen/", root.provider)
	api.Handle("/", store.provider)
	return &presetChain{
		levels: []chainLevel{root, store},
		hosts:  map[string]http.Handler{"open.feishu.cn": api},
		push: func(ticket string) fakeprovider.Push {
			root.provider.SetTicket(app, ticket)
			return pushKeys.Feishu(`{"token":"` + pushKeys.Token + `","type":"event_callback","event":{"type":"app_ticket","app_id":"` + app + `","app_ticket":"` + ticket + `"}}`)
		},
		api: "/open-apis/bot/v3/info", rootAPI: "/open-apis/authen/v1/oidc/access_token",
	}
}

// behind is the API of a level: the token endpoint of the next one at a path, and
// what is served at all others.
func behind(next http.Handler, path string) http.Handler {
	api := http.NewServeMux()
	api.Handle(path, next)
	api.HandleFunc("/", okByCode)
	return api
}

// okByCode is an answer that WeChat, WeCom and Feishu might give.
func okByCode(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"errcode": 0, "code": 0})
}

// isServed reports whether an answer is the API's own, and not that it refuses a
// token: some providers refuse with HTTP status 200.
func isServed(status int, body []byte) bool {
	return status == http.StatusOK && (strings.Contains(string(body), `"errcode":0`) || strings.Contains(string(body), `"code":0`))
}
