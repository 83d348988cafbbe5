package grant

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// parseDocument reads an answer as the document that the paths walk. What the
// header says of its type is ignored, as providers do: JSON comes as
// text/plain and text/html. A recipe in form encoding takes an answer in form
// encoding or JSON. problem says why there is none.
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
	case contentType == realm.ContentForm && text[0] != '{' && text[0] != '[':
		return parseForm(string(text))
	}
	return root, "the answer is not valid JSON"
}

// parseForm turns a form into the JSON object that says the same, so that
// everything after it is one case. A doubled name stays doubled.
func parseForm(text string) (root gjson.Result, problem string) {
	form, err := url.ParseQuery(text)
	if err != nil {
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

// digest identifies an answer in a log without its content.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return fmt.Sprintf("%d bytes, sha256 %x", len(body), sum[:4])
}

// topNames are the names at the top level of a document, for a report.
func topNames(root gjson.Result) []string {
	const most = 50
	var names []string
	if root.IsObject() {
		root.ForEach(func(key, _ gjson.Result) bool {
			names = append(names, key.String())
			return len(names) < most
		})
	}
	return names
}
