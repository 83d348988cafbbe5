package doctor

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
)

// refusal is a kind of refusal that many providers have.
type refusal struct {
	code string
	// codes are the providers' own, in lower case. words match a message, for
	// providers whose codes are not known.
	codes []string
	words *regexp.Regexp
	text  string
}

// refusals are in the order in which they are tried: what is certain comes first.
var refusals = []refusal{
	{
		code:  "quota_spent",
		codes: []string{"45009", "45011", "10020", "quota_exceeded", "rate_limit_exceeded", "too_many_requests", "toomanyrequests", "requestlimitexceeded", "throttling"},
		words: regexp.MustCompile(`(?i)quota|rate ?limit|too (many|frequent)|reach max|频率|次数|限流`),
		text: "The provider's quota is spent, or it was asked too often. It counts the calls of all programs that use this credential: does another one fetch tokens too? " +
			"The proxy waits by itself.",
	},
	{
		code:  "missing_scope",
		codes: []string{"invalid_scope", "insufficient_scope", "48001", "60011", "99991672"},
		words: regexp.MustCompile(`(?i)scope|权限`),
		text:  "The app lacks a right (scope). Apply for it on the provider's page, and request only scopes that the app has.",
	},
	{
		code:  "wrong_id",
		codes: []string{"40013", "41002", "invalid_client_id", "100200100"},
		words: regexp.MustCompile(`(?i)(invalid|unknown|wrong|illegal|not exist|not found|unregistered).{0,20}(app_?(id|key)|client_?(id|key)|corp_?id)|(app_?(id|key)|client_?(id|key)|corp_?id).{0,20}(invalid|unknown|wrong|illegal|not exist|not found|错误|不存在|无效)`),
		text:  "The provider does not know the id (app id, client id). Copy it again, and check that it belongs to this kind of account and to this system (sandbox or real).",
	},
	{
		code: "wrong_secret",
		// RFC 6749; WeChat and WeCom; Douyin; Kuaishou; Slack; GitHub; Feishu.
		codes: []string{"invalid_client", "40001", "40125", "41004", "10013", "100200101", "bad_client_secret", "incorrect_client_credentials", "10014"},
		words: regexp.MustCompile(`(?i)(invalid|wrong|bad|incorrect|illegal|mismatch).{0,20}(secret|credential|password|sign)|(secret|credential|password|signature).{0,20}(invalid|wrong|incorrect|illegal|mismatch|not match|error|错误|无效)|签名错误|密钥错误`),
		text:  "The secret is wrong. Copy it again, or create a new one. Some providers show it only once, and a reset makes the old one useless.",
	},
}

// lookAtRefusal says what the provider's refusal means: in the words of the
// preset, which knows its provider, else by what many providers have in common.
func (f *findings) lookAtRefusal() {
	said := f.response()
	if f.Report.Kind == grant.KindInvalidGrant {
		which, text := f.authorizeText()
		f.addCase("refresh_token_dead", which, nil, "The provider no longer accepts the refresh token. ", text)
	}
	if !f.isRefused() || said.ProviderCode == "" && said.ProviderMessage == "" {
		return
	}
	known := f.isKnownToPreset(said)
	if u, ok := grant.UnlistedAddressOf(said.ProviderCode, said.ProviderMessage); ok && !isKnownCode(strings.ToLower(said.ProviderCode)) {
		f.adviseAddress(u)
		return
	}
	for _, r := range refusals {
		if !r.fits(said) {
			continue
		}
		if !known {
			f.add(r.code, r.text)
		}
		if r.code == "wrong_secret" && len(f.Report.Fields) == 0 {
			f.add("other_app", "If it was copied correctly, it belongs to another app. The id and the secret must come from the same app, and from the same system (sandbox or real).")
		}
		return
	}
	if f.Report.Class == grant.Throttled.String() && !known {
		f.add("quota_spent", refusals[0].text)
	}
}

// isKnownToPreset adds what the realm's preset says about the provider's code.
func (f *findings) isKnownToPreset(said grant.ReportResponse) bool {
	for _, e := range f.Errors {
		if said.ProviderCode != "" && strings.EqualFold(e.Code, said.ProviderCode) {
			f.addCase("preset", "", values{"code": e.Code}, e.En)
			return true
		}
	}
	return false
}

// fits reports whether an answer is such a refusal. A status of many meanings is
// none.
func (r *refusal) fits(said grant.ReportResponse) bool {
	code := strings.ToLower(said.ProviderCode)
	class, _, _ := strings.Cut(code, ".")
	if slices.Contains(r.codes, code) || slices.Contains(r.codes, class) {
		return true
	}
	return !isKnownCode(code) && r.words.MatchString(said.ProviderMessage)
}

// isKnownCode reports whether one of the kinds names the code: its words then do
// not make another kind of it.
func isKnownCode(code string) bool {
	return slices.ContainsFunc(refusals, func(r refusal) bool { return slices.Contains(r.codes, code) })
}

// adviseAddress says which address is missing on which list.
func (f *findings) adviseAddress(u grant.UnlistedAddress) {
	v, which := values{"list": u.List}, "unseen"
	if u.Seen != "" {
		v["address"], which = u.Seen, "seen"
	}
	f.addCase("address_not_listed", which, v, "The provider takes calls from listed addresses only. ", u.Advice(), ".")
}

// missingParameter is a provider that did not find in the body what was sent in it.
var missingParameter = regexp.MustCompile(`(?i)(miss(ing|ed)?|required|lack|empty|not (be )?(null|blank|found|present)|must (have|contain)|缺少|不能为空|为空).{0,30}(grant_?type|param|client_id|client_secret|app_?id|app_?key|secret|corp_?id|参数)|` +
	`(grant_?type|param\w*|client_id|client_secret|app_?id|app_?key|secret|corp_?id|参数).{0,30}(miss(ing|ed)?|required|lack|empty|not (be )?(null|blank|found|present)|缺少|不能为空|为空)`)

// lookAtForm finds a body in another form than the provider reads.
func (f *findings) lookAtForm() {
	said, body := f.response(), f.Report.Request.Body
	if !f.isRefused() || body == "" {
		return
	}
	if said.Status != http.StatusUnsupportedMediaType && !missingParameter.MatchString(said.ProviderMessage) && said.ProviderCode != "unsupported_grant_type" {
		return
	}
	switch sent := f.Report.Request.Header["Content-Type"]; {
	case strings.Contains(sent, "json"):
		f.add("form_expected", "The provider does not see what was sent as JSON. It probably expects a form: write content_type form.")
	case strings.Contains(sent, "form"):
		f.add("json_expected", "The provider does not see what was sent as a form. It probably expects JSON: write content_type json.")
	}
}
