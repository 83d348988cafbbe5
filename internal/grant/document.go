package grant

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// parseDocument reads an answer as the document that the paths walk. What the
// header says of its type is ignored, as providers do: JSON comes as
// text/plain and text/html, or within a JavaScript call. A recipe in form
// encoding takes an answer in form encoding or JSON. problem is the reason why
// there is no document.
//
// encoding/json judges the syntax, because gjson accepts anything, and
// recursion in it would follow a hostile nesting to its end.
func parseDocument(body []byte, contentType string) (root gjson.Result, problem string) {
	text := bytes.TrimSpace(withoutBOM(body))
	switch {
	case len(text) == 0:
		return root, "the answer is empty"
	case !utf8.Valid(text):
		return root, "the answer is not UTF-8"
	case text[0] == '<':
		return root, "the answer is HTML or XML"
	case json.Valid(text):
		return gjson.ParseBytes(text), ""
	}
	if inner, ok := withoutCallback(text); ok {
		return gjson.ParseBytes(inner), ""
	}
	if contentType == realm.ContentForm && text[0] != '{' && text[0] != '[' {
		return parseForm(string(text))
	}
	return root, "the answer is not valid JSON"
}

// withoutCallback takes an object out of the JavaScript call that some servers
// put around it (JSONP): QQ refuses with callback( {"error":100020,...} ); .
func withoutCallback(text []byte) ([]byte, bool) {
	text = bytes.TrimSpace(bytes.TrimSuffix(text, []byte(";")))
	name, inner, found := bytes.Cut(text, []byte("("))
	inner, closed := bytes.CutSuffix(inner, []byte(")"))
	if !found || !closed || !isMemberName(string(bytes.TrimSpace(name))) {
		return nil, false
	}
	inner = bytes.TrimSpace(inner)
	return inner, bytes.HasPrefix(inner, []byte("{")) && json.Valid(inner)
}

// isScriptCall reports whether a text is such a call.
func isScriptCall(text string) bool {
	_, ok := withoutCallback([]byte(text))
	return ok
}

// parseForm turns a form into the JSON object that says the same, so that
// everything after it is one case. A doubled name stays doubled.
func parseForm(text string) (root gjson.Result, problem string) {
	form, err := url.ParseQuery(text)
	if err != nil || !strings.Contains(text, "=") { // a sentence, or a token alone, would be a name
		return root, "the answer is neither JSON nor a form"
	}
	object := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			if len(object) > 1 {
				object = append(object, ',')
			}
			object = appendString(append(appendString(object, name), ':'), value)
		}
	}
	return gjson.ParseBytes(append(object, '}')), ""
}

// bodyDigest identifies an answer in a log without showing its content, which
// may be a token.
func bodyDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf("%d bytes, sha256 %x", len(body), sum[:4])
}

// maxMemberName bounds the names that are shown, in bytes: what is longer is
// data.
const maxMemberName = 64

// memberNames are the names of an object's members, to be shown: at most so
// many, redacted, and without those that look like data.
func memberNames(object gjson.Result, redact *redactor, most int) []string {
	// Each search takes its time, and an object may have a hundred thousand
	// members, or names that are made to take long.
	const mostSearched, longestSearched = 200, 8 * maxMemberName
	var names []string
	if !object.IsObject() {
		return nil
	}
	searched := 0
	object.ForEach(func(key, _ gjson.Result) bool {
		if searched++; searched > mostSearched {
			return false
		}
		name := key.String()
		if len(name) > longestSearched {
			return true
		}
		switch shown := redact.text(name); {
		case strings.Contains(shown, realm.Mask):
			names = append(names, realm.Mask)
		case isMemberName(name):
			names = append(names, shown)
		}
		return len(names) < most
	})
	return names
}

// isMemberName tells a name from data in its place, such as an id, a digest or
// a token: those have digits, and long runs without a mark between words.
func isMemberName(name string) bool {
	const maxDigits, maxRun = 3, 30
	if name == "" || len(name) > maxMemberName {
		return false
	}
	digits, run := 0, 0
	for _, c := range name {
		switch run++; {
		case unicode.IsDigit(c):
			digits++
		case unicode.IsLetter(c):
		case strings.ContainsRune("_-.:$@ ", c):
			run = 0
		default:
			return false
		}
		if digits > maxDigits || run > maxRun {
			return false
		}
	}
	return true
}
