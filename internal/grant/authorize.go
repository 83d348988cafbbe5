package grant

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// CallbackURL is where the provider sends the code, "" where the realm does
// not authorize.
func (b *Bound) CallbackURL() string {
	if !b.program.CanAuthorize() {
		return ""
	}
	return b.expand(b.program.callback)
}

// AuthorizeURL is what a person opens to authorize. The authorize recipe must
// be a GET of query arguments, and the realm not Unattended: its request holds
// a password, which nobody must see. parents are those of Request. Errors are
// *Error.
func (b *Bound) AuthorizeURL(a Authorization, parents map[realm.Ref]Parent) (string, error) {
	p := b.program
	switch {
	case !p.CanAuthorize():
		return "", notPossible(p.noAuthorize)
	case p.Unattended():
		return "", notPossible("the realm is authorized by the server itself")
	case !p.authorize.opensInBrowser():
		return "", notPossible("the authorize recipe is not a GET with arguments of the query alone: no person can open it")
	}
	if failed := b.unpushed(p.authorize); failed != nil {
		return "", failed
	}
	v := b.values
	v.authorization = a
	if err := p.authorize.checkParents(parents, &v); err != nil {
		return "", requestFailure(err)
	}
	v.written, v.parents = 0, parents
	out, err := p.authorize.render(v, b.ref)
	if err != nil {
		return "", requestFailure(err)
	}
	return out.url, nil
}

// opensInBrowser reports whether a browser can make the request.
func (r *recipe) opensInBrowser() bool {
	return r.method == http.MethodGet && len(r.header) == 0 && r.basic == nil && r.body.empty()
}

// Authorize makes the authorize request itself: one HTTP call, with the bounds
// of Fetch, and no redirect is followed. A redirect to the callback URL is
// read and returned; nothing is sent there. nil and no error: the provider has
// accepted the request, and will call the callback URL itself.
//
// A callback has the state of a, and is still to be judged, see Judge. Errors
// are *Error: a page in place of a redirect, a redirect to anywhere else, and
// a refusal in the provider's words or against the recipe's own success rules.
func (b *Bound) Authorize(ctx context.Context, c *Client, a Authorization, req Request) (*Callback, error) {
	call := &call{bound: b, client: c, request: req, recipe: b.program.authorize, whyNot: b.program.noAuthorize, authorization: a}
	call.beginReport()
	var cb *Callback
	answer, _, failed := call.roundTrip(ctx)
	if failed == nil {
		cb, failed = call.readAuthorization(answer)
		failed = call.withParents(answer, failed)
	}
	if failed != nil {
		return nil, call.reportFailure(failed)
	}
	return cb, nil
}

// Exchange makes a token of a code (RFC 6749 section 4.1.3): one HTTP call,
// with the bounds of Fetch. Errors are *Error. A code that the provider
// refuses is KindRefused: another one may be good.
func (b *Bound) Exchange(ctx context.Context, c *Client, a Authorization, code realm.Hidden, req Request) (Result, error) {
	call := &call{
		bound: b, client: c, request: req, recipe: b.program.exchange, whyNot: b.program.noAuthorize,
		exchanging: true, authorization: a, code: code,
	}
	if call.whyNot == "" && blank(code.Reveal()) {
		call.whyNot = "there is no code"
	}
	return call.obtain(ctx)
}

// readAuthorization reads the answer to the authorize request.
func (c *call) readAuthorization(a *answer) (*Callback, *Error) {
	r := &c.recipe.reading
	root, _ := parseDocument(a.body, r.contentType)
	if r.refusals.match(a.status, root).found() {
		return nil, c.refused(a, root, nil)
	}
	if a.redirect() {
		return c.readRedirect(a)
	}
	ok, unmet, err := succeeded(r.success, a.status, root)
	switch {
	case err != nil:
		return nil, badAnswer(a, unmet.name+": "+err.Error())
	case a.status < http.StatusMultipleChoices && isPage(a):
		return nil, loginPage(a)
	case !ok:
		return nil, c.refused(a, root, unmet)
	case len(r.success) == 0 && wordsOf(root).code != "":
		return nil, c.refused(a, root, nil)
	}
	return nil, nil //nolint:nilnil // the callback comes from elsewhere
}

// isPage reports whether an answer is for a person's eyes, in whatever character
// set.
func isPage(a *answer) bool {
	body := bytes.TrimSpace(withoutBOM(a.body))
	if bytes.HasPrefix(body, []byte("<")) {
		return true
	}
	html := strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html")
	return html && bytes.ContainsRune(body, '<') && !json.Valid(body)
}

// loginPage is the failure of a page that came in place of a redirect. It is
// hopeless: providers lock an account after a few wrong passwords.
func loginPage(a *answer) *Error {
	e := badAnswer(a, "the provider shows a page in place of a redirect, likely its login: "+
		"the user name or password is wrong, or the account needs a person")
	e.Class = Hopeless
	return e
}

// notPossible is the failure of a call that the realm has no recipe for.
func notPossible(why string) *Error {
	return &Error{Class: Hopeless, Kind: KindInactive, Detail: why, NotSent: true}
}

// requestFailure is the failure of a request that cannot be made with the
// fields of the secret.
func requestFailure(err error) *Error {
	return &Error{Class: Hopeless, Kind: KindRequest, Detail: err.Error(), NotSent: true}
}
