package grant

import (
	"strings"

	"github.com/tidwall/gjson"
)

// words are a provider's own: why it refused.
type words struct {
	code, message string
	at            string // where the code stood: "data.error_code"
}

// wordings are the places where providers say why, the more telling first.
var wordings = []struct {
	code     path
	messages []path
}{
	{at("sub_code"), all("sub_msg")},                                          // DingTalk: errcode 88, and the reason here
	{at("errcode"), all("errmsg")},                                            // WeChat, WeCom, DingTalk
	{at("error"), all("error_description", "error_msg", "message", "errmsg")}, // RFC 6749 section 5.2
	{at("error.code"), all("error.message")},                                  // Google, Microsoft
	{at("data.error_code"), all("data.description")},                          // Douyin
	{at("error_response.error_code"), all("error_response.error_msg")},        // Pinduoduo
	{at("error_code"), all("error_msg", "error_description", "message")},      // Baidu
	{at("errorCode"), all("errorMessage", "message", "errorSummary")},         // Okta
	{at("0.errorCode"), all("0.message")},                                     // Salesforce: an array
	{at("errors.0.code"), all("errors.0.message", "errors.0.detail")},         // X
	{at("Errors.0.Code"), all("Errors.0.Message")},
	{at("resultCode"), all("resultMessage")},         // JD
	{at("code"), all("msg", "message", "errorMsg")},  // Feishu, DingTalk
	{at("result"), all("error_msg", "error", "msg")}, // Kuaishou
	{at("name"), all("message")},                     // PayPal
}

func at(name string) path { return strings.Split(name, ".") }

func all(names ...string) []path {
	paths := make([]path, len(names))
	for i, name := range names {
		paths[i] = at(name)
	}
	return paths
}

// wordsOf reads why a provider refused. The words may quote a credential:
// they are to be redacted before anybody sees them.
func wordsOf(root gjson.Result) words {
	for _, w := range wordings {
		code, ok := scalarAt(root, w.code)
		if ok && !meansSuccess(code) {
			return words{code: code, message: firstText(root, w.messages), at: strings.Join(w.code, ".")}
		}
	}
	return words{message: firstText(root, all("message", "errmsg", "msg"))}
}

func firstText(root gjson.Result, paths []path) string {
	for _, p := range paths {
		if text, ok := scalarAt(root, p); ok && text != "" {
			return text
		}
	}
	return ""
}

// meansSuccess: many providers send a code with every answer.
func meansSuccess(code string) bool {
	switch strings.ToLower(code) {
	case "", "0", "false", "true", "ok", "success":
		return true
	}
	return false
}

func scalarAt(root gjson.Result, p path) (string, bool) {
	value, err := p.in(root)
	if err != nil {
		return "", false
	}
	if value.Type == gjson.String {
		return value.String(), true
	}
	// The rest are numbers and booleans.
	return value.Raw, value.Exists() && value.Type != gjson.Null && value.Type != gjson.JSON
}
