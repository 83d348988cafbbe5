package inject

import (
	"errors"
	"io"
	"net/http"
	"slices"
)

// finishAnswer makes the answer one for the caller: without a token in a header
// or trailer, without a cookie of the session that the provider has with us, and
// for private caches only. Redirects pass unchanged and are
// never followed here, since whoever follows one with a token sends the token
// to where the upstream wants it.
func (out *outgoing) finishAnswer(resp *http.Response, req *http.Request, tokens sentTokens) {
	resp.Request = req
	if !slices.Contains(tokens[0].Target.Pass, "Set-Cookie") {
		delete(resp.Header, "Set-Cookie")
	}
	delete(resp.Header, "Set-Cookie2") // RFC 2965, long obsolete
	scrubHeader(resp.Header, tokens)
	out.scrubTrailers(resp, tokens)
	out.keepPrivate(resp)
}

// scrubbedBody is an answer's body at whose end the trailers are scrubbed.
// They are in the answer's Trailer map, announced or not, from io.EOF on.
type scrubbedBody struct {
	io.ReadCloser
	resp    *http.Response
	tokens  sentTokens
	awaited *awaited // nil where the trailer is not judged
}

// Read reads the body. The error of net/http for a malformed trailer quotes it,
// and the proxy in front logs the error; so an error that quotes a token is
// replaced.
func (b *scrubbedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if b.awaited != nil {
			if n > 0 { // the caller need not wait for what is there
				return n, nil
			}
			b.awaited.judgeTrailer(b.resp.Trailer)
			b.awaited = nil
		}
		b.tokens.stripTrailers(b.resp)
		scrubHeader(b.resp.Trailer, b.tokens)
	case quotes(err.Error(), b.tokens):
		err = errMalformed
	}
	return n, err
}

// scrubTrailers has the trailers scrubbed at the end of the body, where there
// may be some. The body of a 101 must not be wrapped, or the proxy in front could
// not write to it.
func (out *outgoing) scrubTrailers(resp *http.Response, tokens sentTokens) {
	if !mayHaveTrailers(resp) {
		return
	}
	tokens.stripTrailers(resp) // those that are announced
	out.answer = scrubbedBody{ReadCloser: resp.Body, resp: resp, tokens: tokens, awaited: out.awaited}
	resp.Body = &out.answer
}

// stripTrailers removes the trailers of an answer that a caller must not get.
func (tokens sentTokens) stripTrailers(resp *http.Response) {
	strip(resp.Trailer, isHarmfulTrailer)
	if tokens.wantScrubbed() {
		strip(resp.Trailer, isDigest)
	}
}

// keepPrivate adds "Cache-Control: private" to an answer that a shared cache
// between the caller and us might store otherwise. RFC 9111 section 3.5 keeps
// shared caches from storing the answer to a request with credentials; but such
// a cache sees the caller's request, which has none.
func (out *outgoing) keepPrivate(resp *http.Response) {
	if out.Method != http.MethodGet && out.Method != http.MethodHead && out.Method != "" {
		return
	}
	for _, name := range [...]string{"Cache-Control", "Expires", "Pragma"} {
		if len(resp.Header[name]) > 0 {
			return
		}
	}
	if resp.StatusCode == http.StatusSwitchingProtocols || resp.Header == nil {
		return
	}
	out.cache[0] = "private"
	resp.Header["Cache-Control"] = out.cache[:]
}
