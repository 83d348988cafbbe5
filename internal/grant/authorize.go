package grant

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// compileAuthorization compiles the recipes of an authorization: the grant's or
// the realm's own.
func (p *Program) compileAuthorization(c *construction) error {
	c.addOwn(&p.realm.Config)
	for _, o := range []struct {
		plan *plan
		sc   scope
		to   **recipe
	}{{c.authorize, scopeAuthorize, &p.authorize}, {c.exchange, scopeExchange, &p.exchange}} {
		if o.plan == nil {
			continue
		}
		var err error
		if *o.to, err = p.compilePlan(o.plan, o.sc); err != nil {
			return err
		}
		p.decides = append(p.decides, (*o.to).fields()...)
	}
	if err := p.checkAuthorization(c); err != nil {
		return err
	}
	if err := p.compileCallback(); err != nil {
		return err
	}
	if err := p.compileIssuer(); err != nil {
		return err
	}
	p.noAuthorize = p.missing()
	if p.fetch == nil && !p.isFixed && p.recipes() {
		p.noFetch = or(p.noAuthorize, "the realm gets its tokens by an authorization")
	}
	return nil
}

// addOwn adds the realm's own recipes to what a grant has constructed.
func (c *construction) addOwn(cfg *realm.Config) {
	if !c.complete && says(cfg.Authorize) {
		own := planOf(*cfg.Authorize, "config.authorize", cfg.Lifetime)
		c.authorize = &own
	}
	if !c.complete && says(cfg.Exchange) {
		own := planOf(inherit(*cfg.Exchange, c.reads(cfg)), "config.exchange", cfg.Lifetime)
		c.exchange = &own
	}
	if c.authorize != nil {
		c.authorize.unread = true
	}
}

// checkAuthorization looks for the names that make an authorization safe.
func (p *Program) checkAuthorization(c *construction) error {
	switch a, e := p.authorize, p.exchange; {
	case a != nil && !a.holds("state"):
		return realm.Fieldf(c.authorize.field, "no value holds {state}")
	case e != nil && !e.holds("code"):
		return realm.Fieldf(c.exchange.field, "no value holds {code}")
	case a == nil || e == nil:
		return nil
	case a.holds("code_challenge") && !e.holds("code_verifier"):
		return realm.Fieldf(c.exchange.field, "no value holds {code_verifier}, although authorize sends a {code_challenge}")
	case e.holds("code_verifier") && !a.holds("code_challenge"):
		return realm.Fieldf(c.authorize.field, "no value holds {code_challenge}, although exchange sends a {code_verifier}")
	}
	return nil
}

// recipes says whether there is a recipe of an authorization at all.
func (p *Program) recipes() bool { return p.authorize != nil || p.exchange != nil }

// missing is what the realm lacks for an authorization.
func (p *Program) missing() string {
	switch {
	case p.isFixed:
		return "the realm has fixed tokens"
	case p.authorize == nil:
		return "the realm has no authorize recipe"
	case p.exchange == nil:
		return "the realm has no exchange recipe"
	case len(p.callback) == 0:
		return "the realm has no callback_url"
	}
	return ""
}

// CanAuthorize says whether the realm gets tokens by an authorization: by a
// person, or, where it is Unattended, by the server itself.
func (p *Program) CanAuthorize() bool { return p.noAuthorize == "" }

// NoAuthorize is why CanAuthorize is false: there is no authorize recipe, no
// exchange recipe, no callback URL; "" if it is true.
func (p *Program) NoAuthorize() string { return p.noAuthorize }

// Unattended says whether the server itself authorizes, without a person.
func (p *Program) Unattended() bool { return p.realm.Config.Unattended && p.CanAuthorize() }

// CallbackURL is where the provider sends the code, "" where the realm does
// not authorize.
func (b *Bound) CallbackURL() string {
	if !b.program.CanAuthorize() {
		return ""
	}
	return b.program.callback.expand(&b.values, nil)
}

// AuthorizeURL is what a person opens to authorize. The authorize recipe must
// be a GET of query arguments, and the realm not Unattended: its request holds
// a password, which is to be shown to nobody. Errors are *Error.
func (b *Bound) AuthorizeURL(a Authorization) (string, error) {
	p := b.program
	switch {
	case !p.CanAuthorize():
		return "", unable(p.noAuthorize)
	case p.Unattended():
		return "", unable("the realm is authorized by the server itself")
	case !p.authorize.opens():
		return "", unable("the authorize recipe is not a GET with arguments of the query alone: no person can open it")
	}
	v := b.values
	v.authorization = a
	out, err := p.authorize.render(v, b.ref)
	if err != nil {
		return "", badRequest(err)
	}
	return out.url, nil
}

// opens says whether a browser can make the request.
func (r *recipe) opens() bool {
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
	call := &call{bound: b, client: c, request: req, recipe: b.program.authorize, unable: b.program.noAuthorize, authorization: a}
	call.beginReport()
	var cb *Callback
	answer, _, failed := call.ask(ctx)
	if failed == nil {
		cb, failed = call.readAuthorization(answer)
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
		bound: b, client: c, request: req, recipe: b.program.exchange, unable: b.program.noAuthorize,
		exchanging: true, authorization: a, code: code,
	}
	if call.unable == "" && code == "" {
		call.unable = "there is no code"
	}
	return call.make(ctx)
}

// readAuthorization reads the answer to the authorize request.
func (c *call) readAuthorization(a *answer) (*Callback, *Error) {
	if a.redirect() {
		return c.readRedirect(a)
	}
	r := &c.recipe.reading
	root, _ := parseDocument(a.body, r.contentType)
	ok, unmet, err := succeeded(r.success, a.status, root)
	switch {
	case err != nil:
		return nil, badAnswer(a, unmet.name+": "+err.Error())
	case a.status < http.StatusMultipleChoices && isPage(a):
		return nil, page(a)
	case !ok:
		return nil, c.refused(a, root, unmet)
	case len(r.success) == 0 && wordsOf(root).code != "":
		return nil, c.refused(a, root, nil)
	}
	return nil, nil //nolint:nilnil // the callback comes from elsewhere
}

// isPage says whether an answer is for a person's eyes, in whatever character
// set.
func isPage(a *answer) bool {
	body := bytes.TrimSpace(withoutBOM(a.body))
	if bytes.HasPrefix(body, []byte("<")) {
		return true
	}
	html := strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html")
	return html && bytes.ContainsRune(body, '<') && !json.Valid(body)
}

// page is hopeless: to send a wrong password again and again locks accounts.
func page(a *answer) *Error {
	e := badAnswer(a, "the provider shows a page in place of a redirect, likely its login: "+
		"the user name or password is wrong, or the account needs a person")
	e.Class = Hopeless
	return e
}

// Judge says why a callback brings no code: nil if it does. The issuer counts
// first: without it nothing else is known to be the provider's word (RFC 9207
// section 2.4).
func (b *Bound) Judge(cb Callback) *Error {
	switch {
	case !b.issued(cb):
		return &Error{Class: Hopeless, Kind: KindRefused, Detail: b.program.wrongIssuer()}
	case cb.Error != "":
		return b.denied(cb)
	case cb.Code == "":
		return &Error{Class: Retryable, Kind: KindRefused, Detail: "the callback has no code"}
	}
	return nil
}

// denied is a callback of RFC 6749 section 4.1.2.1.
func (b *Bound) denied(cb Callback) *Error {
	redact := newRedactor(append(b.sent(cb.State), cb.Code.Reveal()))
	e := &Error{
		Class: classify(0, cb.Error), Kind: KindRefused,
		ProviderCode: redact.text(cb.Error), ProviderMessage: redact.text(cb.Description),
	}
	if strings.EqualFold(cb.Error, "access_denied") {
		e.Kind = KindDenied
	}
	return e
}

// sent is what the words of a callback may quote of the request: the secret,
// the state, and what was computed of them.
func (b *Bound) sent(state realm.Hidden) []string {
	list := append(b.confidential(), state.Reveal())
	v := b.values
	v.authorization.State = state
	if r := b.program.authorize; r == nil || r.compute(&v) != nil {
		return list
	}
	return append(list, v.computedTexts()...)
}

// unable is a call that there is no way to make.
func unable(why string) *Error {
	return &Error{Class: Hopeless, Kind: KindInactive, Detail: why, NotSent: true}
}

// badRequest is a request that cannot be made with the secret.
func badRequest(err error) *Error {
	return &Error{Class: Hopeless, Kind: KindRequest, Detail: err.Error(), NotSent: true}
}
