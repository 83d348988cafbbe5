package inject

import (
	"errors"
	"io"
	"net/http"
)

// finish makes the answer the caller's. Redirects are among what passes
// unchanged: whoever follows one with a token sends it where the upstream
// wants.
func (out *outgoing) finish(resp *http.Response, req *http.Request, tokens used) {
	resp.Request = req
	scrubHeader(resp.Header, tokens)
	out.scrubTrailers(resp, tokens)
	out.keepPrivate(resp)
}

// scrubbedBody is an answer's body at whose end the trailers are scrubbed.
// They are in the answer's Trailer map, announced or not, from io.EOF on.
type scrubbedBody struct {
	io.ReadCloser
	resp   *http.Response
	tokens used
}

// Read reads the body. A trailer that net/http cannot read is quoted in its
// error, which the proxy in front logs.
func (b *scrubbedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		scrubHeader(b.resp.Trailer, b.tokens)
	case quotes(err.Error(), b.tokens):
		err = errMalformed
	}
	return n, err
}

// scrubTrailers scrubs trailers where there may be some: behind HTTP/1.1
// bodies of a known length there are none. The body of a 101 is a connection,
// and has to stay one.
func (out *outgoing) scrubTrailers(resp *http.Response, tokens used) {
	known := resp.ContentLength >= 0 && resp.ProtoMajor < 2
	if known || resp.StatusCode == http.StatusSwitchingProtocols || resp.Body == nil {
		return
	}
	out.answer = scrubbedBody{resp.Body, resp, tokens}
	resp.Body = &out.answer
}

// keepPrivate adds "Cache-Control: private" to what a shared cache between
// the caller and us might keep. The upstream saw a credential; the cache sees
// a request without one and would miss the rule of RFC 9111 section 3.5.
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
