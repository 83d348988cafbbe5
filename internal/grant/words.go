package grant

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// refusalWords are the provider's own words for why it refused.
type refusalWords struct {
	code, message string
	// codes are all that the object says in place of a code, code among them:
	// some providers send their own number beside the word of RFC 6749.
	codes []codeAt
}

// codeAt is a code and where it stood: "data.error_code".
type codeAt struct{ at, code string }

// wordOf are the words of a code alone.
func wordOf(code string) refusalWords { return refusalWords{code: code, codes: []codeAt{{code: code}}} }

// none reports whether the provider gave no reason.
func (w refusalWords) none() bool { return w.code == "" && w.message == "" }

// codeName is a member that holds a code, in plain spelling: see plainName.
type codeName struct {
	name string
	// is reports whether a value there is a code. nil: it always is one.
	is func(code, message string) bool
}

// codeNames are in the order of how much they tell.
var codeNames = []codeName{
	{"subcode", nil},     // DingTalk, Taobao, Alipay: the reason, beside a code of its class
	{"errcode", nil},     // WeChat, WeCom, DingTalk, Youzan
	{"code", ownNumber},  // Feishu: beside a word of RFC 6749
	{"error", nil},       // RFC 6749 section 5.2
	{"errorcode", nil},   // Baidu, Douyin, Pinduoduo, Suning, Kingdee, Okta, Salesforce
	{"errno", nil},       // Doudian
	{"code", nil},        // JD, Alipay, Aliyun, Tencent Cloud, Tencent Ads, Google, X
	{"resultcode", nil},  // JD
	{"result", isNumber}, // Kuaishou, vivo
	{"ret", isNumber},    // Tencent
	{"name", isConstant}, // PayPal
}

// messageNames are the members that hold the message, the better ones first.
var messageNames = []string{
	"submsg", "errmsg", "errormsg", "errordescription", "errordesc", "errormessage",
	"message", "msg", "zhdesc", "desc", "description", "errorsummary", "resultmessage", "detail", "endesc", "error",
}

// Bounds of the search for words. Providers wrap them at most twice
// (Response.Error of Tencent Cloud).
const (
	maxWordsDepth   = 3
	maxWordsObjects = 50
)

// wordsOf reads why a provider refused: from the outermost object that has a
// code, as each provider has a wrapping of its own. The words may quote a
// credential: they must be redacted before anybody sees them.
func wordsOf(root gjson.Result) refusalWords {
	var spoken string // the message of an answer without a code
	for _, o := range objectsOf(root) {
		w := o.words()
		switch {
		case w.code != "":
			return w
		case spoken == "" && o.mayExplain():
			spoken = w.message
		}
	}
	return refusalWords{message: spoken}
}

// object is an object of a document, and the path that leads to it.
type object struct {
	at      []string
	members map[string]gjson.Result // by plain name
	names   map[string]string       // as they are spelled, by plain name
}

// objectsOf are the objects of a document, the outer ones first. Of an array,
// the first entry counts.
func objectsOf(root gjson.Result) []object {
	type place struct {
		at    []string
		value gjson.Result
	}
	var objects []object
	queue := []place{{nil, root}}
	for len(queue) > 0 && len(objects) < maxWordsObjects {
		p := queue[0]
		queue = queue[1:]
		deeper := func(name string, value gjson.Result) {
			if value.Type == gjson.JSON && len(p.at) < maxWordsDepth && len(queue) < maxWordsObjects {
				queue = append(queue, place{append(slices.Clone(p.at), name), value})
			}
		}
		if p.value.IsArray() {
			deeper("0", p.value.Get("0"))
			continue
		}
		o := object{at: p.at, members: make(map[string]gjson.Result), names: make(map[string]string)}
		p.value.ForEach(func(key, value gjson.Result) bool {
			plain := plainName(key.String())
			if _, twice := o.members[plain]; twice { // neither is believed, see errDoubled
				value = gjson.Result{}
			}
			o.members[plain], o.names[plain] = value, key.String()
			deeper(key.String(), value)
			return true
		})
		objects = append(objects, o)
	}
	return objects
}

// plainName is a name without the spelling that differs between providers.
func plainName(name string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(name))
}

// words are what the object itself says.
func (o object) words() refusalWords {
	w := refusalWords{message: o.message()}
	if w.message != "" && meansSuccess(w.message) {
		return refusalWords{}
	}
	// Inside of what was asked for, a code may be an authorization code, unless
	// its name tells of an error.
	data := len(o.at) > 0 && w.message == "" && !o.inError()
	for _, c := range codeNames {
		code, ok := scalarText(o.members[c.name])
		if !ok || meansSuccess(code) || c.is != nil && !c.is(code, w.message) || data && !strings.HasPrefix(c.name, "err") {
			continue
		}
		w.code = orDefault(w.code, code)
		w.codes = append(w.codes, codeAt{strings.Join(append(slices.Clone(o.at), o.names[c.name]), "."), code})
	}
	if w.message == w.code {
		w.message = "" // the same member was read as both
	}
	return w
}

// ownNumber reports whether a code is a number of the provider's own list, and
// no HTTP status.
func ownNumber(code, _ string) bool {
	n, err := strconv.Atoi(code)
	return err == nil && n >= 1000
}

func isNumber(code, _ string) bool { return strings.Trim(code, "-0123456789") == "" }

// isConstant reports whether a name is one such as AUTHENTICATION_FAILURE, and
// not that of a person or thing.
func isConstant(name, message string) bool {
	return message != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// message is the first message of the object.
func (o object) message() string {
	for _, name := range messageNames {
		if value := o.members[name]; value.Type == gjson.String && value.Str != "" {
			return value.Str
		}
	}
	return ""
}

// inError reports whether a name on the way to the object tells of an error.
func (o object) inError() bool {
	return strings.Contains(strings.ToLower(strings.Join(o.at, ".")), "err")
}

// mayExplain reports whether a message of the object, without a code, is the
// reason of a refusal, and not a part of what was asked for.
func (o object) mayExplain() bool { return len(o.at) == 0 || o.inError() }

// meansSuccess reports whether a code or a message tells of none: many
// providers send both with every answer.
func meansSuccess(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	switch text {
	case "", "0", "false", "true", "ok", "success", "successful", "succeeded":
		return true
	}
	return strings.HasSuffix(text, "成功") && !strings.ContainsAny(text, "不未没")
}

// mentionsRefreshToken reports whether a message is about the refresh token.
func mentionsRefreshToken(message string) bool {
	return strings.Contains(strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || c == '_' || c == '-' {
			return -1
		}
		return unicode.ToLower(c)
	}, message), "refreshtoken")
}

// scalarAt is the scalar that a path leads to.
func scalarAt(root gjson.Result, p path) (string, bool) {
	value, err := p.in(root)
	if err != nil {
		return "", false
	}
	return scalarText(value)
}

// scalarText is the text of a string, number or boolean.
func scalarText(value gjson.Result) (string, bool) {
	if value.Type == gjson.String {
		return value.String(), true
	}
	return value.Raw, value.Exists() && value.Type != gjson.Null && value.Type != gjson.JSON
}
