package grant

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// injection is a compiled place of the token in a proxied request.
type injection struct {
	field string
	place realm.Place
	value template
	// expr computes the value, in place of the template.
	expr *expression.Expression
	// answers is what expr reads of the answer.
	answers template
	// basic encodes the value as the credentials of RFC 7617; user is empty
	// where the value holds the user itself.
	basic bool
	user  template
}

// compileInject compiles the places of the token. One of them must hold it, or
// requests would go out without any.
func (p *Program) compileInject() error {
	carried, computed := len(p.realm.Config.Inject) == 0, 0
	for i, in := range p.realm.Config.Inject {
		field := "config.inject[" + strconv.Itoa(i) + "]"
		compiled, err := compileInjection(in, field)
		if err != nil {
			return err
		}
		carried = carried || compiled.holdsToken()
		compiled.place.Public = !compiled.holdsToken() && len(compiled.fields(nil)) == 0 && !slices.ContainsFunc(compiled.templates(), template.readsKept)
		if computed += compiled.countExpr(); computed > maxComputed {
			return realm.Fieldf(field+".expr", "is one too many: a request has at most %d computed values", maxComputed)
		}
		if slices.ContainsFunc(p.inject, compiled.clashes) {
			return realm.Fieldf(field+".name", "%s is injected twice", compiled.place.Name)
		}
		p.inject = append(p.inject, compiled)
	}
	if !carried {
		return realm.Fieldf("config.inject", "no value holds {token}")
	}
	return nil
}

// compileInjection compiles one place.
func compileInjection(in realm.Injection, field string) (injection, error) {
	c := injection{field: field, place: realm.Place{In: in.Place, Name: in.Name}}
	var err error
	if in.Expr != "" {
		err = c.compileExpr(in.Expr)
	} else if c.value, err = parseTemplate(orDefault(in.Value, "{token}"), scopeInject); err != nil {
		err = realm.Fieldf(field+".value", "%v", err)
	}
	if err != nil {
		return c, err
	}
	if in.Name == "" && in.Place != realm.PlaceBasic {
		return c, realm.Fieldf(field+".name", "is missing")
	}
	switch in.Place {
	case realm.PlaceURL:
		c.place.Pair = queryEscape(in.Name) + "="
	case realm.PlaceHeader:
		c.place.Name, err = injectedHeader(in.Name, field+".name")
	case realm.PlaceBasic:
		err = c.compileBasic(in.Name)
	case realm.PlaceCookie:
		c.place.Pair = in.Name + "="
	case realm.PlacePath:
		c.place.Pair = "/" + strings.TrimPrefix(in.Name, "/")
	case realm.PlaceBody:
	default:
		err = realm.Fieldf(field+".place", "must be url, header, body, basic, path or cookie")
	}
	return c, err
}

// compileBasic decides what is user and what password: a value with a colon
// of its own is both ("{secret.sid}:{token}"), else the name is the user.
// Colons in the token or the secret do not count.
func (c *injection) compileBasic(name string) error {
	c.basic = true
	c.place = realm.Place{In: realm.PlaceHeader, Name: "Authorization"}
	if _, sep, _ := c.value.cut(":"); sep != 0 {
		return nil
	}
	t, err := parseTemplate(name, scopeInject)
	if err != nil {
		return realm.Fieldf(c.field+".name", "%v", err)
	}
	c.user = t.literal(":")
	return nil
}

// injectedHeader returns the canonical name of a header that may carry a
// token. Those that name the client are the proxy's own.
func injectedHeader(name, field string) (string, error) {
	canonical, err := headerName(name, field)
	if err != nil {
		return "", err
	}
	if canonical == "Forwarded" || canonical == "Via" || strings.HasPrefix(canonical, "X-Forwarded-") {
		return "", realm.Fieldf(field, "%s cannot be set", canonical)
	}
	return canonical, nil
}

// clashes reports whether two injections write the same thing.
func (c injection) clashes(o injection) bool {
	return c.place.In == o.place.In && strings.EqualFold(c.place.Name, o.place.Name)
}

// places are where the values of Place go, in the same order.
func (p *Program) places() []realm.Place {
	places := make([]realm.Place, len(p.inject))
	for i, in := range p.inject {
		places[i] = in.place
	}
	return places
}

// Place fills the injections with a token, one value for each of Target.Inject,
// as realm.Lease.Values wants them; those that PerRequest computes stay empty.
// The returned access token shares its memory with a value, where it can.
func (b *Bound) Place(token realm.Hidden) (placed []string, access realm.Hidden, err error) {
	if err := checkToken(token.Reveal()); err != nil || blank(token.Reveal()) {
		return nil, "", realm.Fieldf("token", "cannot be placed: it is empty, too long or holds control characters")
	}
	if lacking := b.Lacks(b.kept); lacking != "" {
		name, why, _ := strings.Cut(lacking, ": ")
		return nil, "", realm.Fieldf(name, "%s", why)
	}
	v := b.values
	v.token = token.Reveal()
	placed = make([]string, len(b.program.inject))
	for i := range b.program.inject {
		c := &b.program.inject[i]
		if c.isPerRequest() {
			continue
		}
		if placed[i], err = c.fill(&v, realm.Outgoing{}); err != nil {
			return nil, "", err
		}
		if v.overflow {
			return nil, "", tooLarge(c.field+".value", b.program.realm.ID)
		}
	}
	return placed, shared(placed, token), nil
}

// fill makes the value as it goes out.
func (c *injection) fill(v *values, out realm.Outgoing) (string, error) {
	text, err := c.text(v, out)
	switch {
	case err != nil:
		return "", err
	case c.place.In == realm.PlaceURL:
		return queryEscape(text), nil
	case c.place.In == realm.PlaceCookie && !isCookieValue(text):
		return "", realm.Fieldf(c.source(), "gives a value that no cookie can carry")
	case c.place.In == realm.PlacePath && isDots(c.place.Pair, text):
		return "", realm.Fieldf(c.source(), "gives a segment of a path that is . or ..")
	case c.place.In == realm.PlaceBody:
		return text, nil
	case c.place.In == realm.PlacePath:
		return url.PathEscape(text), nil
	case c.basic:
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user.expand(v, nil)+text)), nil
	case !httpguts.ValidHeaderFieldValue(text):
		return "", realm.Fieldf(c.source(), "gives a value that no header can carry")
	}
	return text, nil
}

// isCookieValue reports whether a text can be the value of a cookie (RFC 6265
// section 4.1.1): in visible ASCII without what ends a value, perhaps in quotes.
func isCookieValue(text string) bool {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`",;\`, c) >= 0 {
			return false
		}
	}
	return true
}

// isDots reports whether a segment would not arrive, since it says where in the
// tree of paths it leads (RFC 3986 section 5.2.4), escaped or not.
func isDots(before, text string) bool {
	segment := before[strings.LastIndexByte(before, '/')+1:] + text
	return segment == "." || segment == ".."
}

// shared finds the token inside the values, so that a cached token lies in
// memory once and not twice.
func shared(placed []string, token realm.Hidden) realm.Hidden {
	for _, value := range placed {
		if at := strings.Index(value, token.Reveal()); at >= 0 {
			return realm.Hidden(value[at : at+len(token)])
		}
	}
	return token
}
