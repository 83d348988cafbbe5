package grant

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Request is what a caller says about one call.
type Request struct {
	// RefreshToken is what Refresh sends; Fetch does not look at it.
	RefreshToken realm.Hidden
	// Kept is what was kept with the token that Refresh refreshes, or what KeptOf
	// gives for the callback that Exchange answers.
	Kept realm.Kept
	// Known are tokens of this credential from before. They are not sent, but
	// the provider's words may quote them, and are cleaned of them.
	Known []realm.Hidden
	// SendBy is the latest moment at which the request may begin to be sent,
	// by the process's own clock (time.Now, with its monotonic reading);
	// zero for no bound. It is checked immediately before the first byte, so
	// that a process that was stopped between a claim and the request does
	// not send it late: the call then fails with NotSent.
	SendBy time.Time
	// EndBy is when the call ends at the latest, by the same clock, whatever
	// is left of its timeout; zero for no bound.
	EndBy time.Time
	// Force asks the provider for a new token even where it would give the
	// old one again ({force} in the recipe).
	Force bool
	// DefaultTimeout of the call, where the realm says none; 0:
	// DefaultTimeout of the package.
	DefaultTimeout time.Duration
	// Parents are the tokens of other credentials that the recipe sends, by the
	// names that it has for them (ParentUse.Parent).
	Parents map[realm.Ref]Parent
	// Report, when set, is filled with what happened, redacted.
	Report *Report
}

// Result is what a provider gave.
type Result struct {
	// Token has Access, ExpiresAt, IssuedAt (the moment at which the request
	// was sent), Refresh, RefreshExpiresAt and Fingerprint; not Lineage. An
	// empty Refresh after a refresh: the one that was sent stays good, and
	// RefreshExpiresAt may tell a new end of it.
	Token realm.Token
	// Once: the provider gave a life of zero or less. The token serves the
	// callers that wait for it, and the next fetch is not before a second
	// has passed. Its ExpiresAt is the moment of sending.
	Once bool
	// Took is how long the call lasted.
	Took time.Duration
	// Warnings are for the log: an expiry that was absent or clamped. They
	// hold nothing confidential.
	Warnings []string
}

// call is one token request under way. It is made once and never used again:
// what it was given, what it sent and what came back belong together, because
// the answer is redacted with the values that were sent.
type call struct {
	bound   *Bound
	client  *Client
	request Request
	report  *Report
	recipe  *recipe
	// refreshing: the recipe is that of a refresh; exchanging: of a code.
	refreshing, exchanging bool
	// authorization and code are what those recipes send.
	authorization Authorization
	code          realm.Hidden
	// whyNot is why there is no such call to make; "" where there is one.
	whyNot string
	out    *outgoing
	wire   wire
	sent   time.Time
}

// Fetch asks the provider for a token: one HTTP call, bounded by ctx, the
// realm's timeout and 1 MiB, without redirects and without a retry. Where the
// realm computes its tokens, nobody is asked. Errors are *Error.
func (b *Bound) Fetch(ctx context.Context, c *Client, req Request) (Result, error) {
	call := &call{bound: b, client: c, request: req, recipe: b.program.fetch, whyNot: b.program.noFetch}
	if b.program.ComputesToken() {
		return call.compute()
	}
	return call.obtain(ctx)
}

// obtain makes the call, reads the token out of the answer and reports.
func (c *call) obtain(ctx context.Context) (Result, error) {
	c.beginReport()
	var result Result
	a, took, failed := c.roundTrip(ctx)
	if failed == nil {
		result, failed = c.read(a)
		failed = c.withParents(a, failed)
	}
	result.Took = took
	c.report.Warnings = result.Warnings
	if failed != nil {
		return result, c.reportFailure(failed)
	}
	c.report.Token = reportToken(result, c.client.now())
	return result, nil
}

// roundTrip sends the request and takes the answer, which need not be a success.
func (c *call) roundTrip(ctx context.Context) (*answer, time.Duration, *Error) {
	if c.whyNot != "" {
		return nil, 0, notPossible(c.whyNot)
	}
	if failed := c.bound.unpushed(c.recipe); failed != nil {
		return nil, 0, failed
	}
	if err := c.render(); err != nil {
		return nil, 0, requestFailure(err)
	}
	c.wire.sendBy = c.request.SendBy
	ctx, cancel := withDeadline(ctx, c.timeout())
	defer cancel()
	// The life of a token counts from here: what comes later only makes it
	// shorter.
	c.sent = c.client.now()
	a, err := c.client.send(ctx, c.out, c.bound.target.Way, c.bound.program.trustsHost(c.recipe.url), &c.wire)
	took := c.client.now().Sub(c.sent)
	if a != nil {
		c.describe(a, took)
	}
	// A refusal is one by its status, also where its body is broken.
	if err == nil || a != nil && a.status >= http.StatusBadRequest {
		return a, took, nil
	}
	return nil, took, c.transportFailure(ctx, err)
}

// render makes the request, and the masked one for the report.
func (c *call) render() (err error) {
	v := c.bound.values
	v.force, v.now = c.request.Force, c.client.now()
	v.authorization, v.code = c.authorization, c.code
	if c.refreshing {
		v.refresh = c.request.RefreshToken
	}
	if c.refreshing || c.exchanging {
		v.kept = c.request.Kept.Reveal()
	}
	if err := c.recipe.checkParents(c.request.Parents, &v); err != nil {
		return err
	}
	v.written, v.parents = 0, c.request.Parents
	if c.out, err = c.recipe.render(v, c.bound.ref); err != nil || c.request.Report == nil {
		return err
	}
	v.masked = true
	masked, err := c.recipe.render(v, c.bound.ref)
	if err == nil {
		c.report.Request = masked.report()
	}
	return err
}

// timeout is the time for the whole call: the realm's, else that of the
// configuration, and never beyond EndBy.
func (c *call) timeout() time.Duration {
	def := DefaultTimeout
	if c.request.DefaultTimeout > 0 {
		def = c.request.DefaultTimeout
	}
	d := c.bound.program.realm.Config.Limits.Timeout.Or(def)
	if end := c.request.EndBy; !end.IsZero() {
		d = min(d, time.Until(end))
	}
	return d
}

// read finds the token in an answer.
func (c *call) read(a *answer) (Result, *Error) {
	r := &c.recipe.reading
	root, problem := parseDocument(a.body, r.contentType)
	if r.refusals.match(a.status, root).found() {
		return Result{}, c.refused(a, root, nil)
	}
	if a.redirect() {
		return Result{}, redirected(a)
	}
	ok, unmet, err := succeeded(r.success, a.status, root)
	success := a.status >= http.StatusOK && a.status < http.StatusMultipleChoices
	switch {
	case err != nil:
		return Result{}, badAnswer(a, unmet.name+": "+err.Error())
	case problem != "" && r.needsDocument() && success:
		return Result{}, badAnswer(a, problem)
	case !ok:
		return Result{}, c.refused(a, root, unmet)
	}
	token, err := r.accessToken(a, root, c.sent)
	if err == nil {
		return c.accept(a, root, token)
	}
	why := err.Error()
	if errors.Is(err, errNoToken) && !r.text() {
		why = c.noToken(a, root)
	}
	said := wordsOf(root)
	var alone Result
	if said.code == "" {
		alone = c.refreshTokenAlone(root)
	}
	if said.none() || !errors.Is(err, errNoToken) && !errors.Is(err, errNotText) && !errors.Is(err, errNotString) {
		return alone, badAnswer(a, why)
	}
	// A refusal in place of a token, with status 200. Words without a code may
	// be those of a success that is read at the wrong place.
	refused := c.refused(a, root, nil)
	if said.code == "" {
		refused.Detail = why
	}
	return alone, refused
}

// accept makes the result of an answer that has a token.
func (c *call) accept(a *answer, root gjson.Result, token realm.Hidden) (Result, *Error) {
	r := &c.recipe.reading
	end, err := r.end(a, root, token, c.sent)
	if err != nil {
		return c.refreshTokenAlone(root), badAnswer(a, r.expiry.name+": "+err.Error())
	}
	c.reportExpiry(a, root, token, end)
	kept, missing := c.keep(root)
	if missing != nil {
		return c.refreshTokenAlone(root), badAnswer(a, missing.Error())
	}
	result := Result{Once: end.once, Token: realm.Token{
		Access: token, ExpiresAt: end.at, IssuedAt: c.sent, Fingerprint: c.bound.Fingerprint(), Kept: kept,
	}}
	var warning string
	result.Token.Refresh, result.Token.RefreshExpiresAt, warning = r.refreshToken(root, c.sent)
	for _, w := range []string{end.warning, warning} {
		if w != "" {
			result.Warnings = append(result.Warnings, w)
		}
	}
	return result, nil
}

// refreshTokenAlone is what is good of an answer that was no refusal and whose
// access token is of no use: its refresh token may be the only one that the
// provider still takes. It is the zero value where there is none.
func (c *call) refreshTokenAlone(root gjson.Result) Result {
	token, end, _ := c.recipe.reading.refreshToken(root, c.sent)
	if token == "" {
		return Result{}
	}
	kept, _ := c.keep(root)
	return Result{Token: realm.Token{
		Refresh: token, RefreshExpiresAt: end, IssuedAt: c.sent, Fingerprint: c.bound.Fingerprint(), Kept: kept,
	}}
}

// redactor hides in an answer's words the secret, what was computed from it
// or made for the call, the tokens that are known and those of the answer,
// which is nil where there is none.
func (c *call) redactor(a *answer, root gjson.Result) *redactor {
	confidential := append(c.bound.confidential(), c.out.computed...)
	for _, sent := range append([]realm.Hidden{c.request.RefreshToken, c.authorization.State, c.authorization.Verifier, c.code}, c.request.Known...) {
		confidential = append(confidential, sent.Reveal())
	}
	for _, parent := range c.request.Parents {
		confidential = append(confidential, parent.Token.Reveal())
	}
	_, credentials, _ := strings.Cut(c.out.header.Get("Authorization"), " ")
	confidential = append(confidential, credentials)
	if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
		confidential = append(confidential, string(pair)) // it may be quoted in another form of base64
	}
	for _, value := range c.request.Kept.Reveal() {
		confidential = append(confidential, value)
	}
	r := &c.recipe.reading
	if a != nil {
		confidential = append(confidential, r.confidentialIn(a.header)...)
	}
	paths := []path{r.token, r.refresh}
	for _, k := range c.bound.program.kept {
		paths = append(paths, k.path)
	}
	for _, p := range paths {
		if p == nil {
			continue
		}
		if token, ok := scalarAt(root, p); ok {
			confidential = append(confidential, token)
		}
	}
	return newRedactor(confidential)
}

// confidential are the values of the secret, and the realm's shared ones.
func (b *Bound) confidential() []string {
	var list []string
	for _, fields := range []map[string]realm.Hidden{b.values.secret, b.values.shared} {
		for _, value := range fields {
			list = append(list, value.Reveal())
		}
	}
	return list
}
