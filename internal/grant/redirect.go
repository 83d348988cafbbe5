package grant

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// callbackField is where the callback URL was typed.
const callbackField = "config.callback_url"

// compileCallback compiles the callback URL. What it gives with a secret is
// known only then: a preset's is a field of the secret as a whole.
func (p *Program) compileCallback() (err error) {
	if p.callback, err = parseTemplate(p.realm.Config.CallbackURL, scopeTarget); err != nil {
		return realm.Fieldf(callbackField, "%v", err)
	}
	if text, ok := p.callback.constant(); ok && text != "" {
		_, err = p.parseCallbackURL(text)
	}
	return err
}

// parseCallbackURL reads a redirection URI (RFC 6749 section 3.1.2). Its query
// must leave room for the parameters of a callback.
func (p *Program) parseCallbackURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", !validHost(u.Host):
		return nil, realm.Fieldf(callbackField, "must be an absolute http or https URL")
	case u.User != nil, strings.Contains(s, "#"):
		return nil, realm.Fieldf(callbackField, "must not have a user, a password or a fragment")
	}
	own, err := parseParameters(u.RawQuery)
	if err != nil {
		return nil, realm.Fieldf(callbackField, "has a query that cannot be read: %v", err)
	}
	for _, name := range []string{"code", p.codeName(), "state", "error", "error_description", "iss"} {
		if _, ok := own[name]; ok {
			return nil, realm.Fieldf(callbackField, "must not have %s in its query: the provider adds it", name)
		}
	}
	return u, nil
}

// readRedirect reads the callback out of a redirect. Only one to the callback
// URL itself is believed.
func (c *call) readRedirect(a *answer) (*Callback, *Error) {
	to, err := c.location(a)
	if err != nil {
		return nil, c.redirectElsewhere(a, "its Location cannot be read")
	}
	callback, err := c.bound.program.parseCallbackURL(c.bound.CallbackURL())
	if err != nil {
		return nil, requestFailure(err)
	}
	if difference := redirectDiffers(to, callback); difference != "" {
		return nil, c.redirectElsewhere(a, "it goes to "+c.redactor(a, gjson.Result{}).text(to.Host)+", and "+difference+" not that of config.callback_url")
	}
	cb, err := ParseCallback(to.RawQuery)
	cb = c.bound.ReadCode(cb)
	switch {
	case err != nil:
		return nil, &Error{Class: Retryable, Kind: KindBadResponse, Status: a.status, Detail: err.Error()}
	case c.authorization.isAnsweredBy(&cb):
		return &cb, nil
	case cb.State == "" && cb.Error != "": // the answer to our own request, which brings nothing to believe
		cb.State = c.authorization.State // which its words may quote
		return nil, c.bound.Judge(cb)
	case cb.State == "" && to.Fragment != "":
		return nil, &Error{
			Class: Hopeless, Kind: KindBadResponse, Status: a.status,
			Detail: "the callback is in the fragment of the redirect: response_mode=fragment is not supported",
		}
	}
	return nil, &Error{Class: Retryable, Kind: KindRefused, Status: a.status, Detail: "the state of the callback is not the one that was sent"}
}

// location is where a redirect goes.
func (c *call) location(a *answer) (*url.URL, error) {
	list := a.header.Values("Location")
	if len(list) != 1 {
		return nil, http.ErrNoLocation
	}
	base, err := url.Parse(c.out.url)
	if err != nil {
		return nil, err
	}
	return base.Parse(list[0])
}

// redirectElsewhere is a redirect to anywhere but the callback URL. It is
// hopeless for the reason that loginPage has.
func (c *call) redirectElsewhere(a *answer, why string) *Error {
	return &Error{
		Class: Hopeless, Kind: KindRedirect, Status: a.status,
		Detail: "the redirect is not followed: " + why + " (a login page: a wrong user name or password, or an account that needs a person)",
	}
}

// redirectDiffers says what of a redirect is another than in the callback
// URL, "" for nothing. A fragment does not count.
func redirectDiffers(to, callback *url.URL) string {
	switch {
	case to.Scheme != callback.Scheme:
		return "its scheme is"
	case to.User != nil:
		return "its user is"
	case !strings.EqualFold(to.Hostname(), callback.Hostname()):
		return "its host is"
	case portOf(to) != portOf(callback):
		return "its port is"
	case orDefault(to.EscapedPath(), "/") != orDefault(callback.EscapedPath(), "/"):
		return "its path is"
	case !holdsQuery(to, callback):
		return "its query is"
	}
	return ""
}

// portOf is the port of a URL, or that of its scheme.
func portOf(u *url.URL) string {
	if u.Scheme == "http" {
		return orDefault(u.Port(), "80")
	}
	return orDefault(u.Port(), "443")
}

// holdsQuery reports whether all pairs of the callback URL's own query stand in
// that of the redirect (RFC 6749 section 3.1.2: it must be retained).
func holdsQuery(to, callback *url.URL) bool {
	pairs := strings.Split(to.RawQuery, "&")
	for own := range strings.SplitSeq(callback.RawQuery, "&") {
		if own != "" && !slices.ContainsFunc(pairs, func(pair string) bool { return samePair(pair, own) }) {
			return false
		}
	}
	return true
}

// samePair compares pairs as they are meant: an encoding may differ.
func samePair(a, b string) bool {
	x, err := parseParameters(a)
	if err != nil {
		return false
	}
	y, err := parseParameters(b)
	if err != nil {
		return false
	}
	for name, value := range y {
		if got, ok := x[name]; !ok || got != value {
			return false
		}
	}
	return true
}
