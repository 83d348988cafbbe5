package grant

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// urlTemplate is a URL whose host, path and query may hold names. A value is
// escaped according to where it stands, so that none can change the
// structure of the URL.
type urlTemplate struct {
	field  string // that the URL was typed in
	isAPI  bool   // it is the base of the API
	base   part   // scheme, host and the beginning of the path, as the provider says; none if they are written
	scheme string
	host   template // with a port, perhaps
	path   template // with the leading slash, or empty
	query  template // without the question mark
}

// parseURL reads an absolute http or https URL without user information and
// fragment.
func parseURL(field, s string, sc scope) (urlTemplate, error) {
	u := urlTemplate{field: field, isAPI: sc.api}
	t, err := parseTemplate(s, sc)
	if err == nil {
		err = u.split(t)
	}
	if err == nil {
		err = u.check()
	}
	if err != nil {
		return u, realm.Fieldf(field, "%v", err)
	}
	return u, nil
}

// split takes the template apart at the delimiters of its literal text.
func (u *urlTemplate) split(t template) error {
	if u.isAPI && len(t) > 0 && t[0].isKept() {
		return u.splitBase(t)
	}
	t = u.cutScheme(t)
	if u.scheme == "" {
		return errors.New("must begin with https:// (or http://)")
	}
	t, sep, _ := t.cut("#")
	if sep != 0 {
		return errors.New("must not have a fragment (#)")
	}
	t, _, u.query = t.cut("?")
	host, sep, rest := t.cut("/")
	if sep != 0 {
		u.path = template{}.literal("/").join(rest)
	}
	u.host = host
	return nil
}

// cutScheme takes the scheme off. It must be written out: a secret that chose it
// could turn https into http.
func (u *urlTemplate) cutScheme(t template) template {
	if len(t) == 0 {
		return t
	}
	for _, scheme := range []string{"https", "http"} {
		n := len(scheme + "://")
		if len(t[0].text) >= n && strings.EqualFold(t[0].text[:n], scheme+"://") {
			u.scheme = scheme
			return template{}.literal(t[0].text[n:]).join(t[1:])
		}
	}
	return t
}

// check parses the URL with a sample in place of every name: "1" is good in a
// label, a port, a path and a query.
func (u *urlTemplate) check() error {
	for _, t := range []template{u.host, u.path, u.query} {
		if !printable(t) {
			return errors.New("must be percent-encoded ASCII without blanks")
		}
	}
	for _, p := range u.host {
		if p.name != "" && !p.isField() && (!u.isAPI || !p.isKept()) {
			return errors.New("only {secret.x} may stand in the host")
		}
	}
	if u.base.name != "" {
		return nil
	}
	if strings.Contains(sample(u.host), "@") {
		return errors.New("must not hold a user or password; use an argument with place basic")
	}
	if !validHost(sample(u.host)) {
		return errors.New("has no valid host")
	}
	if _, err := url.Parse(u.scheme + "://" + sample(u.host) + sample(u.path) + "?" + sample(u.query)); err != nil {
		return errors.New("is not a valid URL")
	}
	return nil
}

// printable reports whether the literal text can stand in a request line as it
// is (RFC 3986 section 2).
func printable(t template) bool {
	for _, p := range t {
		if strings.ContainsFunc(p.text, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"<>\\^`", c) }) {
			return false
		}
	}
	return true
}

// sample is the template with "1" in place of every name.
func sample(t template) string {
	var b strings.Builder
	for _, p := range t {
		if p.name != "" {
			b.WriteByte('1')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// expand fills the names in. An error is a *realm.FieldError that names the
// secret's field which cannot stand where it should.
func (u *urlTemplate) expand(v *values) (string, error) {
	if u.base.name != "" {
		return u.expandBase(v)
	}
	host, err := expandHost(u.host, v, u.field)
	if err != nil {
		return "", err
	}
	path := u.path.expand(v, url.PathEscape)
	if _, constant := u.path.constant(); !constant && hasDotSegment(path) {
		return "", realm.Fieldf(u.field, "a value of the secret makes \".\" or \"..\" a segment of the path")
	}
	s := u.scheme + "://" + host + path
	if len(u.query) > 0 { // also where it is empty: no value changes the structure
		s += "?" + u.query.expand(v, queryEscape)
	}
	return s, nil
}

// expandHost fills a host, or host and port, in.
func expandHost(t template, v *values, field string) (string, error) {
	host := t.expand(v, nil)
	if _, constant := t.constant(); constant || v.masked {
		return host, nil
	}
	for _, p := range t {
		if p.name != "" && !hostPart(v.get(p)) {
			return "", realm.Fieldf(p.name, "cannot stand in the host of %s: it must be a host name or a part of one", field)
		}
	}
	if !validHost(host) {
		return "", realm.Fieldf(field, "does not give a valid host with the fields of this secret")
	}
	return host, nil
}

// hostPart reports whether a value may stand in a host: labels, and nothing that
// could end the host or move its boundary.
func hostPart(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) || strings.Contains(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// validHost judges "host", "host:port" and "[v6]:port".
func validHost(s string) bool {
	u := url.URL{Host: s}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	} else if strings.HasSuffix(s, ":") {
		return false
	}
	_, err := realm.ParseHostPattern(s)
	return err == nil && !strings.HasPrefix(s, "*")
}

// hasDotSegment finds "." and "..", which servers resolve: a value of the secret
// would choose another path.
func hasDotSegment(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// queryEscape escapes a name or value of a query. A blank becomes %20, which
// every parser understands; "+" is for forms only.
func queryEscape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
