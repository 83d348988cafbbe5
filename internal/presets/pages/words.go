package main

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// language is one in which the pages are written.
type language struct {
	code   string // of presets.Text
	folder string
	// docs leads from the folder to the documents in this language, other to the
	// page in the other language, without its name.
	docs, other string
	w           words
}

var languages = []language{
	{code: "en", folder: "docs/providers", docs: "..", other: "../zh-CN/providers", w: english},
	{code: "zh", folder: "docs/zh-CN/providers", docs: "..", other: "../../providers", w: chinese},
}

// words are what a page says in a language. %s and %d are filled in.
type words struct {
	inOther string

	indexTitle, indexIntro, indexHow, indexHeader string
	indexMissing                                  string
	categories                                    map[string]string

	setUp, setUpTokens, setUpSite, setUpRead, setUpPerson string
	setUpPushed, setUpPush                                string
	fields, fieldsHeader, fieldsShared                    string
	isConfidential, isShared, isPushed, defaultIs         string

	token, injected, notInjected, hosts, dead string
	semantics                                 map[string]string
	overlap                                   map[string]string
	warm                                      string
	refresh                                   map[string]string
	window, minInterval                       string
	places                                    map[string]string

	errors, errorsIntro, errorsHeader string
	unverified, unverifiedIntro       string
	links                             string

	and, or, also, stop, comma string
	isOneOf                    string
	units                      map[string][2]string
}

// join writes a list: "a, b or c".
func (w words) join(items []string, last string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	n := len(items) - 1
	list := strings.Join(items[:n], w.comma) + last + items[n]
	// Chinese has a blank between its own text and code.
	return strings.NewReplacer("`和`", "` 和 `", "`和", "` 和", "和`", "和 `").Replace(list)
}

var english = words{
	inOther: "简体中文",

	indexTitle:   "Providers",
	indexIntro:   "These providers ship with caddy-tokens. A *preset* is a realm that is written already: you write its name and the fields of your secret.",
	indexHow:     "`caddy tokens presets` lists them, and `caddy tokens presets <name>` shows what to write. What no page of the provider confirms is listed on each page under \"Not verified\".",
	indexHeader:  "| preset | provider | fields of a secret |",
	indexMissing: "Your provider is missing? A realm is data: [write it yourself](%s/realms.md), and then [add it here](%s/../CONTRIBUTING.md#add-a-provider).",
	categories: map[string]string{
		presets.CategoryMessaging: "Messaging", presets.CategoryCommerce: "Commerce", presets.CategoryCloud: "Cloud", presets.CategoryAI: "AI",
		presets.CategoryDeveloper: "Developer tools", presets.CategoryBusiness: "Business applications", presets.CategorySocial: "Social media",
	},

	setUp:       "Set it up",
	setUpTokens: "In the [`tokens` block](%s/caddyfile.md) of the Caddyfile:",
	setUpSite:   "A site with [`token_gateway`](%s/caddyfile.md#token_gateway) then serves the API at `/%s/main/`:",
	setUpRead:   "Your program reads the token from the [HTTP API](%s/api.md#get-apitoken):",
	setUpPushed: "`%[2]s` is not written here, because the provider sends another one again and again. A public site takes it with [`token_push`](%[1]s/caddyfile.md#token_push), at the URL that you register with the provider. If another program receives it, it [pushes](%[1]s/realms.md#fields-that-somebody-brings) it, and the secret needs no `push_token` and `push_aes_key`.",
	setUpPush:   "`%[2]s` is not written here, because the provider sends another one again and again. The program that receives it [pushes](%[1]s/realms.md#fields-that-somebody-brings) it each time:",
	setUpPerson: "First, a person authorizes the account once, with the [link](%s/accounts.md) that this returns:",

	fields: "Fields", fieldsHeader: "| field | what it is |",
	fieldsShared:   "The fields under `shared` belong to your app; each account has a secret with the others.",
	isConfidential: "Confidential.", isShared: "The same for all accounts.", isPushed: "Arrives by push.", defaultIs: "`%s` by default.",

	token:       "The token",
	injected:    "The proxy puts the token into %s.",
	notInjected: "The proxy does not put the token into requests: your program reads it.",
	hosts:       "The token goes only to %s.",
	dead:        "A dead token shows in the answer: %s. The proxy then gets another one and sends the request again.",
	semantics: map[string]string{
		"same":     "The proxy expects a further token request to return the same token.",
		"rotate":   "The proxy expects a further token request to return a new token and to end the old one.",
		"parallel": "The proxy expects a further token request to return a new token and to leave the old one alone.",
	},
	overlap: map[string]string{
		"same":   "The next token is requested in the last %s of the current one.",
		"rotate": "The old token is expected to work for another %s.",
	},
	warm: "The token is renewed even if nobody uses it.",
	refresh: map[string]string{
		"stable": "The same refresh token is used again and again.",
		"grace":  "Each refresh is expected to return a new refresh token, and the old one to stay good for a while.",
		"strict": "A refresh token is used once, and each refresh is expected to return the next one.",
		"family": "A refresh token is used once. The proxy takes care that no second use ends the authorization.",
	},
	window:      "At most %s token requests in %s, for all nodes together.",
	minInterval: "At least %s between two token requests.",
	places: map[string]string{
		"url": "the query parameter `%s`", "header": "the header `%s`", "body": "the body field `%s`", "cookie": "the cookie `%s`",
		"path": "the path, behind `/%s`", "basic": "the header `Authorization` as Basic credentials",
	},

	errors: "Errors", errorsIntro: "The provider refuses with these codes:", errorsHeader: "| code | what to do |",
	unverified: "Not verified", unverifiedIntro: "No page of the provider confirms the following:",
	links: "The provider's pages",

	and: " and ", or: " or ", also: " and ", stop: ".", comma: ", ", isOneOf: "%s is %s",
	units: map[string][2]string{"s": {"1 second", "%d seconds"}, "m": {"1 minute", "%d minutes"}, "h": {"1 hour", "%d hours"}, "d": {"1 day", "%d days"}},
}

var chinese = words{
	inOther: "English",

	indexTitle:   "服务商",
	indexIntro:   "caddy-tokens 自带以下服务商的接入配置。*preset* 是已经写好的 realm：只需写上它的名字和你的 secret 字段。",
	indexHow:     "`caddy tokens presets` 列出全部 preset，`caddy tokens presets <name>` 显示要写的内容。没有服务商官方文档佐证的内容，都列在各页的“未经核实”一节。",
	indexHeader:  "| preset | 服务商 | secret 字段 |",
	indexMissing: "没有你要的服务商？realm 只是数据：可以[自己编写](%s/realms.md)，也欢迎[添加到这里](%s/../../CONTRIBUTING.md#add-a-provider)（英文）。",
	categories: map[string]string{
		presets.CategoryMessaging: "消息与协作", presets.CategoryCommerce: "电商", presets.CategoryCloud: "云服务", presets.CategoryAI: "人工智能",
		presets.CategoryDeveloper: "开发工具", presets.CategoryBusiness: "企业应用", presets.CategorySocial: "社交媒体",
	},

	setUp:       "配置",
	setUpTokens: "在 Caddyfile 的 [`tokens` 块](%s/caddyfile.md)里写上：",
	setUpSite:   "站点里写上 [`token_gateway`](%s/caddyfile.md#token_gateway) 之后，API 就在 `/%s/main/` 之下：",
	setUpRead:   "程序通过 [HTTP API](%s/../api.md#get-apitoken) 读取 token：",
	setUpPushed: "`%[2]s` 不写在这里，因为服务商会定期推送新值。公网站点用 [`token_push`](%[1]s/caddyfile.md#token_push) 接收，URL 须在服务商后台登记。如果由其他程序接收，则由该程序[推送](%[1]s/realms.md#由别处送来的字段)，secret 中无需 `push_token` 和 `push_aes_key`。",
	setUpPush:   "`%[2]s` 不写在这里，因为服务商会定期推送新值。接收它的程序每次都要[推送](%[1]s/realms.md#由别处送来的字段)给代理：",
	setUpPerson: "先由人工授权一次，打开下面的命令返回的[链接](%s/accounts.md)：",

	fields: "字段", fieldsHeader: "| 字段 | 说明 |",
	fieldsShared:   "`shared` 里的字段属于应用，其余字段每个账号一份，写在各自的 secret 里。",
	isConfidential: "保密。", isShared: "所有账号共用。", isPushed: "由推送更新。", defaultIs: "默认为 `%s`。",

	token:       "token",
	injected:    "代理把 token 放进%s。",
	notInjected: "代理不会把 token 放进请求，由你的程序读取后自行使用。",
	hosts:       "token 只会发给 %s。",
	dead:        "token 失效的标志：%s。代理会换一个 token 并重发请求。",
	semantics: map[string]string{
		"same":     "代理按“再次请求会得到同一个 token”处理。",
		"rotate":   "代理按“再次请求会得到新的 token，旧的随之失效”处理。",
		"parallel": "代理按“再次请求会得到新的 token，旧的在到期前仍然有效”处理。",
	},
	overlap: map[string]string{
		"same":   "代理在 token 到期前的 %s内请求下一个 token。",
		"rotate": "代理按“旧 token 还能使用 %s”处理。",
	},
	warm: "即使无人使用，token 也会自动续期。",
	refresh: map[string]string{
		"stable": "同一个 refresh_token 会重复使用。",
		"grace":  "代理按“每次刷新都会得到新的 refresh_token，旧的在一段时间内仍可使用”处理。",
		"strict": "每个 refresh_token 只使用一次，代理按“每次刷新都会得到下一个”处理。",
		"family": "每个 refresh_token 只使用一次；代理确保不会重复使用，以免授权失效。",
	},
	window:      "所有节点合计，%[2]s内最多请求 %[1]s 次 token。",
	minInterval: "两次 token 请求至少间隔 %s。",
	places: map[string]string{
		"url": "查询参数 `%s`", "header": "请求头 `%s`", "body": "请求体字段 `%s`", "cookie": " cookie `%s`",
		"path": "路径中 `/%s` 的后面", "basic": "请求头 `Authorization`（Basic 认证）",
	},

	errors: "错误码", errorsIntro: "服务商可能返回以下错误码：", errorsHeader: "| 错误码 | 处理办法 |",
	unverified: "未经核实", unverifiedIntro: "以下内容没有服务商官方文档佐证：",
	links: "服务商文档",

	and: "和", or: " 或 ", also: "，且 ", stop: "。", comma: "、", isOneOf: "%s 为 %s",
	units: map[string][2]string{"s": {"1 秒", "%d 秒"}, "m": {"1 分钟", "%d 分钟"}, "h": {"1 小时", "%d 小时"}, "d": {"1 天", "%d 天"}},
}
