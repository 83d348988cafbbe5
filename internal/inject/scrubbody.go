package inject

import (
	"io"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// errCoding answers for an upstream that ignores Accept-Encoding.
var errCoding = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusBadGateway,
	Detail: "the upstream's answer has a content coding other than gzip or zstd, so that the token cannot be removed from it (scrub: true)",
}

// wantScrubbed reports whether the bodies of answers are to be scrubbed. Where the
// realm was changed between two attempts, one of them is enough.
func (tokens sentTokens) wantScrubbed() bool {
	return tokens[0].Target.Scrub || tokens[1] != nil && tokens[1].Target.Scrub
}

// isUnscrubbable reports whether an answer has a body that cannot be read here.
func isUnscrubbable(resp *http.Response, method string) bool {
	coding := contentCoding(resp.Header)
	return hasAnswerBody(resp, method) && isPacked(coding) && !canUnpack(coding)
}

// contentCoding returns the content coding of an answer, or a list where it has
// several.
func contentCoding(h http.Header) string {
	return strings.Trim(strings.Join(h["Content-Encoding"], ","), " \t")
}

// hasAnswerBody reports whether an answer may have a body (RFC 9110 section 6.4.1).
func hasAnswerBody(resp *http.Response, method string) bool {
	switch {
	case method == http.MethodHead, resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return false
	}
	return resp.Body != nil && resp.Body != http.NoBody && resp.ContentLength != 0
}

// scrubBody has the tokens masked in the body of an answer while it is read. A body
// without a content coding keeps its length; with one, nobody knows the length before
// its end.
//
// The header is that of a body that may have been changed, also where there is no
// body, or no token in it: that is not known before the end, and the answers to HEAD
// and to a conditional request speak of the same body as the one to GET.
func (t *Transport) scrubBody(resp *http.Response, method string, tokens sentTokens) {
	h, coding := resp.Header, contentCoding(resp.Header)
	strip(h, isDigest)
	delete(h, "Accept-Ranges")
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h["Etag"] = []string{"W/" + tag}
	}
	if isPacked(coding) {
		delete(h, "Content-Length")
	}
	trie := t.tries.get(tokens)
	if trie == nil || !hasAnswerBody(resp, method) {
		return
	}
	var masked io.Reader = newMaskedBody(trie, resp.Body)
	if isPacked(coding) {
		masked = &recodedBody{coding: coding, trie: trie, source: resp.Body}
		resp.ContentLength = -1
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{masked, resp.Body}
}

// isDigest reports whether a field has a digest of the body: it would be wrong where
// something is masked. (RFC 9530, and RFC 3230 and RFC 1864 before it)
func isDigest(name string) bool {
	for _, digest := range [...]string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if isAlias(name, digest) {
			return true
		}
	}
	return false
}
