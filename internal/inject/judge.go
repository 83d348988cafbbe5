package inject

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// judge says what an answer tells about the token. It reads ahead where the
// rule has to see the body; the answer that it returns is the caller's, with
// every byte of it.
//
// realm.AskBody is the verdict on an answer that could not be looked into.
func (t *Transport) judge(resp *http.Response, method string, rule realm.DeadRule) (*http.Response, realm.Verdict) {
	verdict := rule.Status(resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // the body is a connection
		return resp, realm.Alive
	case method == http.MethodHead:
		return resp, verdict
	case verdict == realm.Dead:
		// Nobody may want it: read, it gives its connection back. What does
		// not come is not waited for.
		if resp.Body != nil && resp.ContentLength <= peekMost {
			resp, _, _ = t.peekInTime(resp, anything)
		}
		return resp, verdict
	case verdict == realm.AskBody && !isDocument(resp):
		return resp, realm.Alive
	case verdict == realm.AskBody:
		return t.judgeBody(resp, rule)
	}
	return resp, verdict
}

// judgeBody looks into an answer that may be a document.
func (t *Transport) judgeBody(resp *http.Response, rule realm.DeadRule) (*http.Response, realm.Verdict) {
	coding, goOn := resp.Header.Get("Content-Encoding"), beginsJSON
	if isPacked(coding) {
		if !canUnpack(coding) {
			return resp, realm.AskBody
		}
		goOn = anything
	}
	resp, head, whole := t.peek(resp, goOn)
	dead := false
	judge := func(document []byte) { dead = rule.Body(resp.StatusCode, document) }
	switch {
	case len(head) > peekMost, !isPacked(coding) && !beginsJSON(head):
		return resp, realm.Alive // it is no document of the kind that refuses a token
	case !whole:
		return resp, realm.AskBody
	case !isPacked(coding):
		judge(head)
	case !unpacked(coding, head, judge):
		return resp, realm.AskBody
	}
	if dead {
		return resp, realm.Dead
	}
	return resp, realm.Alive
}

// isDocument says whether the answer may be one that refuses a token: a whole
// JSON document, and a small one. A download is none, even of JSON: what
// stands in a file is not the API's word.
func isDocument(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusPartialContent, http.StatusNotModified:
		return false
	}
	if resp.Body == nil || resp.ContentLength == 0 || resp.ContentLength > peekMost {
		return false
	}
	if word, _, _ := strings.Cut(resp.Header.Get("Content-Disposition"), ";"); strings.EqualFold(strings.TrimSpace(word), "attachment") {
		return false
	}
	return isJSON(resp.Header.Get("Content-Type"))
}

// isJSON says whether a media type may be that of a JSON document. WeChat and
// QQ send theirs as text/plain, and an answer may have no type at all; then
// the first byte tells more, see beginsJSON. text/html is left out, although
// PHP sends it unasked: a packed page would have to be held back to know.
func isJSON(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	mediaType = strings.TrimSpace(mediaType)
	for _, known := range [...]string{"application/json", "text/json", "text/plain", ""} {
		if strings.EqualFold(mediaType, known) {
			return true
		}
	}
	const suffix = "+json"
	n := len(mediaType) - len(suffix)
	return n > 0 && strings.EqualFold(mediaType[n:], suffix)
}

// beginsJSON says whether text may be the beginning of a JSON object or array,
// perhaps behind a byte order mark: only those have paths.
func beginsJSON(text []byte) bool {
	const mark = "\xef\xbb\xbf"
	if len(text) < len(mark) && strings.HasPrefix(mark, string(text)) {
		return true
	}
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte(mark)), " \t\r\n")
	return len(text) == 0 || text[0] == '{' || text[0] == '['
}

// anything is worth waiting for.
func anything([]byte) bool { return true }

// accepted says whether an answer that no rule took for dead shows that the
// API accepted the token. One that could not be looked into does not, nor does
// one from an API that is down, too busy to look, or refuses in a way that the
// realm does not know: a provider that refuses every token must not pass for
// one whose tokens work now and then. A stream or download that began does.
func accepted(verdict realm.Verdict, status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusTooManyRequests:
		return false
	}
	return verdict == realm.Alive && status < http.StatusInternalServerError
}
