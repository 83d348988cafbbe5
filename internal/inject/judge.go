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
	verdict := rule.Head(resp.StatusCode, resp.Header)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols: // the body is a connection
		return resp, judgement{verdict: realm.Alive}
	case method == http.MethodHead && verdict == realm.Dead:
		return resp, judgement{verdict, errorCode(resp.Header, nil)}
	case method == http.MethodHead:
		return resp, judgement{verdict: verdict}
	case verdict == realm.Dead:
		return t.judgeRefusal(resp)
	case verdict == realm.AskBody:
		look := rule.Look(resp.StatusCode, resp.Header)
		if !mayRefuse(resp, look) {
			return resp, judgement{verdict: realm.Alive}
		}
		return t.judgeBody(resp, rule, look)
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

// judgeBody looks into an answer that may refuse the token.
func (t *Transport) judgeBody(resp *http.Response, rule realm.DeadRule, look realm.Look) (*http.Response, judgement) {
	coding := resp.Header.Get("Content-Encoding")
	if isPacked(coding) && !canUnpack(coding) {
		if look == realm.LookAtObject { // hardly a refusal, and nothing could be read of it
			return resp, judgement{verdict: realm.Alive}
		}
		return resp, judgement{verdict: realm.AskBody}
	}
	isPromising := promiseOf(look, coding)
	resp, head, whole := t.peek(resp, isPromising)
	j := judgement{verdict: realm.Alive}
	judge := func(body []byte, whole bool) {
		if rule.Body(resp.StatusCode, resp.Header, body, whole) {
			j = judgement{realm.Dead, errorCode(resp.Header, body)}
		}
	}
	isLong := len(head) > maxPeek
	switch {
	case !isPromising(head), isLong && look != realm.LookAtText:
		// It is no document of the kind that refuses a token.
	case !whole && !isLong:
		j.verdict = realm.AskBody
	case !isPacked(coding):
		judge(head[:min(len(head), maxPeek)], whole)
	case look == realm.LookAtText:
		if !unpackedBeginning(coding, head, judge) {
			j.verdict = realm.AskBody
		}
	case !unpacked(coding, head, func(document []byte) { judge(document, true) }):
		j.verdict = realm.AskBody
	}
	if whole && rule.Trailer(resp.StatusCode, resp.Trailer) { // it is there before the answer has gone out
		j.verdict = realm.Dead
	}
	return resp, j
}

// mayRefuse reports whether an answer may be one that refuses a token: a small one,
// or one of which the beginning is enough. A download is none, even of JSON: what
// stands in a file does not tell what the API thinks of the token.
func mayRefuse(resp *http.Response, look realm.Look) bool {
	switch resp.StatusCode {
	case http.StatusNoContent, http.StatusPartialContent, http.StatusNotModified:
		return false
	}
	if resp.Body == nil || resp.ContentLength == 0 || look == realm.LookNowhere {
		return false
	}
	if resp.ContentLength > maxPeek && look != realm.LookAtText {
		return false
	}
	word, _, _ := strings.Cut(resp.Header.Get("Content-Disposition"), ";")
	return !strings.EqualFold(strings.TrimSpace(word), "attachment")
}

// promiseOf returns what tells whether the beginning of a body is worth waiting for
// more. In gzip, the first bytes can be unpacked as soon as they are there; of zstd,
// and of what is a document by its type, the whole is waited for.
func promiseOf(look realm.Look, coding string) func([]byte) bool {
	switch {
	case look == realm.LookAtText, isPacked(coding) && (look == realm.LookAtJSON || strings.EqualFold(coding, "zstd")):
		return always
	case isPacked(coding):
		return func(packed []byte) bool { return beginsObjectIn(coding, packed) }
	case look == realm.LookAtObject:
		return beginsObject
	}
	return beginsJSON
}

// beginsJSON reports whether text may be the beginning of a JSON object or array,
// perhaps behind a byte order mark: only those have paths.
func beginsJSON(text []byte) bool { return mayBegin(text, "{[") }

// beginsObject reports whether text may be the beginning of a JSON object.
func beginsObject(text []byte) bool { return mayBegin(text, "{") }

// mayBegin reports whether the first character of a text, behind a byte order mark
// and white space, is one of those, or has not come yet.
func mayBegin(text []byte, firsts string) bool {
	const mark = "\xef\xbb\xbf"
	if len(text) < len(mark) && strings.HasPrefix(mark, string(text)) {
		return true
	}
	text = bytes.TrimLeft(bytes.TrimPrefix(text, []byte(mark)), " \t\r\n")
	return len(text) == 0 || strings.IndexByte(firsts, text[0]) >= 0
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
