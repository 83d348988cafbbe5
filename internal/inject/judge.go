package inject

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// judgement is what an answer tells about the token of its request.
type judgement struct {
	// verdict is realm.AskBody where the rule would have to see the body, and
	// the body could not be looked into.
	verdict realm.Verdict
	// code is the error code of a refusal; "" where it has none.
	code string
}

// judge judges an answer. It reads ahead where the rule has to see the body;
// the answer that it returns is the caller's, with every byte of it.
func (t *Transport) judge(resp *http.Response, method string, rule realm.DeadRule) (*http.Response, judgement) {
	verdict := rule.Status(resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // the body is a connection
		return resp, judgement{verdict: realm.Alive}
	case method == http.MethodHead && verdict == realm.Dead:
		return resp, judgement{verdict, errorCode(resp.Header, nil)}
	case method == http.MethodHead:
		return resp, judgement{verdict: verdict}
	case verdict == realm.Dead:
		return t.judgeRefusal(resp)
	case verdict == realm.AskBody && !isDocument(resp):
		return resp, judgement{verdict: realm.Alive}
	case verdict == realm.AskBody:
		return t.judgeBody(resp, rule)
	}
	return resp, judgement{verdict: verdict}
}

// judgeRefusal reads the error code of an answer whose status refuses the
// token. Nobody may want that answer, and one that was read to its end gives
// its connection back. What does not come in time is not waited for.
func (t *Transport) judgeRefusal(resp *http.Response) (*http.Response, judgement) {
	if resp.Body == nil || resp.ContentLength > maxPeek {
		return resp, judgement{realm.Dead, errorCode(resp.Header, nil)}
	}
	resp, head, whole := t.peekInTime(resp, always)
	coding := resp.Header.Get("Content-Encoding")
	code := errorCode(resp.Header, nil)
	read := func(document []byte) { code = errorCode(resp.Header, document) }
	switch {
	case !whole:
	case !isPacked(coding):
		read(head)
	case canUnpack(coding):
		unpacked(coding, head, read)
	}
	return resp, judgement{realm.Dead, code}
}

// judgeBody looks into an answer that may be a document.
func (t *Transport) judgeBody(resp *http.Response, rule realm.DeadRule) (*http.Response, judgement) {
	coding, isPromising := resp.Header.Get("Content-Encoding"), beginsJSON
	if isPacked(coding) {
		if !canUnpack(coding) {
			return resp, judgement{verdict: realm.AskBody}
		}
		isPromising = always // only the whole of it can be unpacked
	}
	resp, head, whole := t.peek(resp, isPromising)
	j := judgement{verdict: realm.Alive}
	judge := func(document []byte) {
		if rule.Body(resp.StatusCode, document) {
			j = judgement{realm.Dead, errorCode(resp.Header, document)}
		}
	}
	switch {
	case len(head) > maxPeek, !isPacked(coding) && !beginsJSON(head):
		// It is no document of the kind that refuses a token.
	case !whole:
		j.verdict = realm.AskBody
	case !isPacked(coding):
		judge(head)
	case !unpacked(coding, head, judge):
		j.verdict = realm.AskBody
	}
	return resp, j
}

// isDocument reports whether the answer may be one that refuses a token: a
// whole JSON document, and a small one. A download is none, even of JSON: what
// stands in a file does not tell what the API thinks of the token.
func isDocument(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusPartialContent, http.StatusNotModified:
		return false
	}
	if resp.Body == nil || resp.ContentLength == 0 || resp.ContentLength > maxPeek {
		return false
	}
	if word, _, _ := strings.Cut(resp.Header.Get("Content-Disposition"), ";"); strings.EqualFold(strings.TrimSpace(word), "attachment") {
		return false
	}
	return isJSON(resp.Header.Get("Content-Type"))
}

// isJSON reports whether a media type may be that of a JSON document. WeChat and
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

// beginsJSON reports whether text may be the beginning of a JSON object or array,
// perhaps behind a byte order mark: only those have paths.
func beginsJSON(text []byte) bool {
	const mark = "\xef\xbb\xbf"
	if len(text) < len(mark) && strings.HasPrefix(mark, string(text)) {
		return true
	}
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte(mark)), " \t\r\n")
	return len(text) == 0 || text[0] == '{' || text[0] == '['
}

// always is the isPromising of an answer that is read whatever it begins with.
func always([]byte) bool { return true }

// showsAccepted reports whether an answer that no rule took for dead shows that
// the API accepted the token. One that could not be looked into does not, nor
// does one from an API that is down, is too busy to look, or refuses in a way
// that the realm does not know: a provider that refuses every token must not
// pass for one whose tokens work now and then. A stream or download that has
// begun does show it.
func showsAccepted(verdict realm.Verdict, status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusTooManyRequests:
		return false
	}
	return verdict == realm.Alive && status < http.StatusInternalServerError
}
