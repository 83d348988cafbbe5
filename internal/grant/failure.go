package grant

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
)

// badAnswer is an answer that cannot be read. Its content is not in the error,
// only its size and digest.
func badAnswer(a *answer, why string) *Error {
	return &Error{Class: Retryable, Kind: KindBadResponse, Status: a.status, Detail: why + " (" + bodyDigest(a.body) + ")"}
}

// redirected is a redirect: to follow it would carry the credentials to
// wherever it points. A permanent one lasts until the realm is corrected.
func redirected(a *answer) *Error {
	e := &Error{Class: Retryable, Kind: KindRedirect, Status: a.status, Detail: "a redirect is not followed"}
	if a.status == http.StatusMovedPermanently || a.status == http.StatusPermanentRedirect {
		e.Class = Hopeless
	}
	return e
}

// refused is a provider that said no, in its own words. unmet is the rule of
// success that did not match, nil where it was the status, the token or a rule
// about refusals. A rule is named only where it may be the mistake: the
// provider gave no reason, or a token.
func (c *call) refused(a *answer, root gjson.Result, unmet *rule) *Error {
	said, redact := wordsOf(root), c.redactor(a, root)
	match, holdsToken := c.recipe.reading.refusals.match(a.status, root), c.holdsToken(a, root)
	mistakable := said.none() || holdsToken
	said.code = orDefault(said.code, match.code(root))
	class, builtIn := classify(a.status, said)
	c.reportRule(a.status, match, unmet, builtIn)
	e := &Error{
		Class: class, Kind: KindRefused, Status: a.status,
		ProviderCode: redact.text(said.code), ProviderMessage: redact.text(said.message),
		RetryAfter: retryAfter(a.header, c.client.now()),
		doubtful:   said.broken() || a.status < http.StatusBadRequest && said.code == "",
	}
	isInvalidGrant := said.invalidGrant()
	if match.found() { // the realm knows better what its provider means
		e.Class, e.doubtful = match.class, false
		isInvalidGrant = match.list == reauthOn
	}
	e.doubtful = e.doubtful || a.status < http.StatusBadRequest && holdsToken
	switch {
	case !isInvalidGrant:
	case c.refreshing && !e.doubtful && (match.found() || !e.Uncertain()):
		e.Class, e.Kind = Hopeless, KindInvalidGrant
		c.reportRule(a.status, match, unmet, "invalid_grant")
	case c.exchanging:
		e.Class = Retryable // the next code may be good
	}
	switch {
	case !mistakable:
	case unmet != nil:
		e.Detail = "the success rule for " + orDefault(unmet.name, "the status") + " does not match"
	case match.found():
		e.Detail = match.describe()
	}
	return e
}

// holdsToken reports whether there is a token in an answer that counts as a
// refusal: what the realm takes for one may be none.
func (c *call) holdsToken(a *answer, root gjson.Result) bool {
	r := &c.recipe.reading
	switch {
	case r.tokenHeader != "":
		return !blank(a.header.Get(r.tokenHeader))
	case r.tokenCookie != "":
		cookie, err := r.cookie(a.header, c.sent)
		return cookie != nil || err != nil
	}
	token, ok := scalarAt(root, r.token)
	return ok && !blank(token)
}

// noToken tells of an answer without a token, in the names of its members, for
// whoever wrote the token_path.
func (c *call) noToken(a *answer, root gjson.Result) string {
	r := &c.recipe.reading
	if r.token == nil {
		return "the answer has no " + r.tokenName
	}
	at, name := root, strings.TrimPrefix(r.tokenName, "token_path ")
	if value, err := r.token.in(root); err == nil && value.Exists() {
		return "no token at " + name + ": it is empty"
	}
	prefix := ""
	for _, name := range r.token { // as far as the path leads
		next, err := child(at, name)
		if err != nil || !next.IsObject() {
			break
		}
		at, prefix = next, prefix+name+"."
	}
	const most = 20
	names := memberNames(at, c.redactor(a, root), most)
	if len(names) == 0 {
		return "no token at " + name
	}
	return "no token at " + name + "; the answer has: " + prefix + strings.Join(names, ", "+prefix)
}

// transportFailure says why there is no complete answer, with the host and
// nothing else of the URL. Errors of net/http are not quoted: some hold the
// first bytes of the answer.
func (c *call) transportFailure(ctx context.Context, err error) *Error {
	reached := c.wire.stop()
	e := &Error{Class: Retryable, Kind: KindConnection, NotSent: reached != sending}
	var (
		timeout net.Error
		proxy   *outbound.Error
	)
	switch {
	case reached == late:
		e.Kind = KindTimeout
	case errors.Is(err, netguard.ErrForbidden), errors.Is(err, outbound.ErrClear):
		e.Class, e.Kind = Hopeless, KindForbidden
	case errors.As(err, &proxy):
		if proxy.Fault == outbound.ProxyPrivate {
			e.Class, e.Kind = Hopeless, KindForbidden
		}
	case errors.Is(err, errTooLarge):
		e.Kind = KindTooLarge
	case errors.Is(err, errEncoding), errors.Is(err, errGzip):
		e.Kind = KindBadResponse
	case ranOut(ctx), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind = KindTimeout
	}
	why, fault := reason(ctx, err), FaultOf(ctx, err)
	if reached == late {
		why, fault = errLate.Error(), FaultTimeout
	}
	c.report.Fault = fault
	e.Detail = c.redactor(nil, gjson.Result{}).text(c.host() + ": " + why)
	return e
}

// host is the host of the request, which may hold a field.
func (c *call) host() string {
	u, err := url.Parse(c.out.url)
	if err != nil {
		return "the token endpoint"
	}
	return u.Host
}

// reason describes the errors that are known to hold nothing confidential.
func reason(ctx context.Context, err error) string {
	for _, known := range []error{errTooLarge, errEncoding, errGzip} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return outbound.Reason(ctx, err)
}
