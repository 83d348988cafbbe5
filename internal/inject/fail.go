package inject

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

var errForbiddenAddress = &realm.Error{
	Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway,
	Detail: "the upstream's " + netguard.ErrForbidden.Error(),
}

// upstreamError stands for an error of the base transport whose own text or
// chain must not be handed on.
type upstreamError struct{ text string }

func (e upstreamError) Error() string { return e.text }

// errMalformed stands for an error that quotes the token.
var errMalformed = upstreamError{"the upstream's answer is malformed"}

// fail hands an error of the base transport on: as it is wherever possible,
// since the proxy in front looks at its type (a dial error may be retried, a
// timeout is a 504).
func (t *Transport) fail(req *http.Request, job Job, tokens used, err error) (*http.Response, error) {
	if errors.Is(err, netguard.ErrForbidden) {
		return t.refuse(req, job, errForbiddenAddress)
	}
	if own := req.Context().Err(); own != nil {
		return nil, own
	}
	return nil, clean(err, tokens)
}

// clean returns err without what must not leave: a *url.Error (it prints the
// whole URL, with the token in its query), any other quotation of the token
// (net/http quotes malformed answers), and a cancellation, which the proxy in
// front would take for the caller's own (status 499).
func clean(err error, tokens used) error {
	for outer := (*url.Error)(nil); errors.As(err, &outer); {
		if err = outer.Err; err == nil {
			return upstreamError{"the upstream cannot be reached"}
		}
	}
	text := err.Error()
	switch {
	case quotes(text, tokens):
		return errMalformed
	case errors.Is(err, context.Canceled), strings.Contains(text, "operation was canceled"):
		return upstreamError{"the connection to the upstream was given up"}
	}
	return err
}
