package inject

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

var errForbiddenAddress = &realm.Error{
	Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway,
	Detail: "the upstream's " + netguard.ErrForbidden.Error(),
}

// errClear is of a realm that was saved before the configuration had a proxy, or of
// an API that the provider says.
var errClear = &realm.Error{
	Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway,
	Detail: outbound.ErrClear.Error() + "; proxy off in the realm goes without it",
}

// upstreamError replaces an error of the base transport whose own text or chain
// must not be returned.
type upstreamError struct{ text string }

func (e upstreamError) Error() string { return e.text }

// errMalformed replaces an error that quotes the token.
var errMalformed = upstreamError{"the upstream's answer is malformed"}

// fail returns an error of the base transport: as it is wherever possible, since
// the proxy in front looks at its type (a dial error may be retried, a timeout
// becomes a 504). An address that the guard forbids is our refusal, and so an
// answer.
func (t *Transport) fail(req *http.Request, job Job, tokens sentTokens, err error) (*http.Response, error) {
	switch {
	case errors.Is(err, netguard.ErrForbidden):
		return t.refuse(req, job, errForbiddenAddress)
	case errors.Is(err, outbound.ErrClear):
		return t.refuse(req, job, errClear)
	}
	if own := req.Context().Err(); own != nil {
		return nil, own
	}
	var refused *realm.Error
	if errors.As(err, &refused) { // of a body that turned out to be malformed while it was sent
		return t.refuse(req, job, refused)
	}
	return nil, sanitize(err, tokens)
}

// sanitize returns err without what must not get into a log or an answer: a
// *url.Error, which prints the whole URL with the token in its query; any other
// text that quotes the token, as net/http does with malformed answers; and a
// cancellation, which the proxy in front would take for the caller's own (status
// 499).
func sanitize(err error, tokens sentTokens) error {
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
