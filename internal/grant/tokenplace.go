package grant

import (
	"errors"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Why a token is not read from a header field or a cookie.
var (
	errHeaderTwice = errors.New("the header field stands twice with different values")
	errCookieTwice = errors.New("the cookie is set twice with different values, for other paths or domains")
)

// saysToken reports whether a recipe says where the token stands.
func saysToken(r *realm.Recipe) bool {
	return r.TokenPath != "" || r.TokenHeader != "" || r.TokenCookie != ""
}

// compileTokenPlace checks where the plan says that the token stands: at one of
// the three places, or, in a text, nowhere.
func (p *plan) compileTokenPlace(r *reading) (err error) {
	said := &p.recipe
	if said.TokenHeader != "" {
		r.tokenHeader = textproto.CanonicalMIMEHeaderKey(said.TokenHeader)
		r.tokenName = "token_header " + said.TokenHeader
	}
	if said.TokenCookie != "" {
		if r.tokenName != "" {
			return realm.Fieldf(p.field+".token_cookie", "cannot stand beside %s: the token is at one place", r.tokenName)
		}
		r.tokenCookie = said.TokenCookie
		r.tokenName = "token_cookie " + said.TokenCookie
	}
	if said.TokenPath != "" {
		if r.tokenName != "" {
			return realm.Fieldf(p.field+".token_path", "cannot stand beside %s: the token is at one place", r.tokenName)
		}
		r.tokenName = "token_path " + said.TokenPath
		if r.token, err = parseTokenPath(said.TokenPath); err != nil {
			return realm.Fieldf(p.field+".token_path", "%v", err)
		}
	}
	if r.tokenName == "" && r.contentType != realm.ContentText {
		return realm.Fieldf(p.field+".token_path", "is missing; only with content_type text the whole answer is the token")
	}
	return nil
}

// needsDocument reports whether something is read from the body. A token in a
// header field or a cookie may come with any body, or none.
func (r *reading) needsDocument() bool {
	if r.text() {
		return false
	}
	return r.token != nil || r.expiry.path != nil || r.refresh != nil || r.refreshEnd.path != nil
}

// headerToken reads the token out of a header field; "" where it is absent.
func (r *reading) headerToken(h http.Header) (realm.Hidden, error) {
	values := slices.Compact(slices.Clone(h.Values(r.tokenHeader)))
	switch {
	case len(values) == 0 || len(values) == 1 && blank(values[0]):
		return "", nil
	case len(values) > 1:
		return "", errHeaderTwice
	}
	return realm.Hidden(values[0]), checkToken(values[0])
}

// cookieToken reads the token out of the cookie; "" where it is absent.
func (r *reading) cookieToken(h http.Header, sent time.Time) (realm.Hidden, error) {
	cookie, err := r.cookie(h, sent)
	if err != nil || cookie == nil {
		return "", err
	}
	return realm.Hidden(cookie.Value), checkToken(cookie.Value)
}

// cookie is the cookie that holds the token; nil where none does. Its value has
// no quotes around it.
//
// As in a browser, a cookie takes the place of an earlier one of the same domain
// and path (RFC 6265 section 5.3), and one that deletes is none: it is empty,
// or ends at once, as the cookies that servers clear before they set another.
func (r *reading) cookie(h http.Header, sent time.Time) (*http.Cookie, error) {
	var kept []*http.Cookie
	for _, c := range setCookies(h) {
		if c.Name != r.tokenCookie {
			continue
		}
		kept = slices.DeleteFunc(kept, func(o *http.Cookie) bool { return strings.EqualFold(o.Domain, c.Domain) && o.Path == c.Path })
		if !deletes(c, sent) {
			kept = append(kept, c)
		}
	}
	for _, c := range kept {
		if c.Value != kept[0].Value {
			return nil, errCookieTwice
		}
	}
	if len(kept) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	return kept[0], nil
}

// setCookies are the cookies of an answer, as net/http reads them.
func setCookies(h http.Header) []*http.Cookie {
	return (&http.Response{Header: h}).Cookies()
}

// deletes reports whether a cookie takes one away. A date counts only where it
// is long gone, because clocks differ.
func deletes(c *http.Cookie, sent time.Time) bool {
	const day = 24 * time.Hour
	return blank(c.Value) || c.MaxAge < 0 || c.MaxAge == 0 && !c.Expires.IsZero() && c.Expires.Before(sent.Add(-day))
}

// cookieEnd is the end of the token's own cookie, where that names one: Max-Age
// counts before Expires (RFC 6265 section 5.3).
func (r *reading) cookieEnd(h http.Header, sent time.Time) (life time.Duration, ok bool) {
	if r.tokenCookie == "" {
		return 0, false
	}
	switch cookie, err := r.cookie(h, sent); {
	case err != nil || cookie == nil:
		return 0, false
	case cookie.MaxAge > 0:
		return duration(float64(cookie.MaxAge)), true
	case !cookie.Expires.IsZero():
		return cookie.Expires.Sub(sent), true
	}
	return 0, false
}

// headerValue is a header field as a value of a document: text. What stands
// twice with different values cannot be read.
func headerValue(h http.Header, name string) gjson.Result {
	values := slices.Compact(slices.Clone(h.Values(name)))
	switch len(values) {
	case 0:
		return gjson.Result{}
	case 1:
		return gjson.Result{Type: gjson.String, Str: values[0]}
	}
	return gjson.Result{Type: gjson.JSON, Raw: "[]"}
}

// confidentialIn lists the tokens that stand in an answer's header fields, for
// the redactor, and the values of its other cookies, which are sessions if they
// are long.
func (r *reading) confidentialIn(h http.Header) []string {
	var list []string
	if r.tokenHeader != "" {
		list = append(list, h.Values(r.tokenHeader)...)
	}
	const session = 8
	for _, c := range setCookies(h) {
		if c.Name == r.tokenCookie || len(c.Value) >= session {
			list = append(list, c.Value)
		}
	}
	return list
}
