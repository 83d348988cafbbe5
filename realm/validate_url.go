package realm

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// urlParts says what a URL may have besides scheme, host and path.
type urlParts uint8

const (
	urlQuery urlParts = 1 << iota
	urlFragment
	urlUser
)

// templates matches what is replaced when the realm is used: {secret.shop}, and
// "{{" for a brace.
var templates = regexp.MustCompile(`\{\{|\{[^{}]*\}`)

// validateTarget checks where API requests may go.
func (c *Config) validateTarget() error {
	if c.API != "" {
		if err := validURL("config.api", withHost(c.API), 0); err != nil {
			return err
		}
	}
	if c.CallbackURL != "" {
		if err := validCallbackURL("config.callback_url", c.CallbackURL); err != nil {
			return err
		}
	}
	seen := make(map[string]int)
	for i, host := range c.Hosts {
		path := indexPath("config.hosts", i)
		if err := validHost(path, host); err != nil {
			return err
		}
		if first, ok := seen[host]; ok {
			return Fieldf(path, "is the same as hosts[%d]", first)
		}
		seen[host] = i
	}
	return nil
}

// withHost is the base of the API with a host in the place of one that the
// provider says, scheme and all: {answer.instance_url}.
func withHost(api string) string {
	name, rest, ok := strings.Cut(api, "}")
	if ok && (strings.HasPrefix(name, "{answer.") || strings.HasPrefix(name, "{callback.")) {
		return "https://api.example" + rest
	}
	return api
}

// validCallbackURL checks a redirection URI, which has no fragment (RFC 6749
// section 3.1.2). One that begins with a template is known only with a secret.
func validCallbackURL(path, s string) error {
	if strings.HasPrefix(s, "{secret.") {
		return validText(path, s)
	}
	return validURL(path, s, urlQuery)
}

// validHost checks an entry of hosts. What templates give is known only with a
// secret; then it is checked again.
func validHost(path, host string) error {
	if err := validText(path, host); err != nil {
		return err
	}
	if filled := fillTemplates(host); filled != host {
		if strings.ContainsAny(filled, "/ \t@?#{}") {
			return Fieldf(path, "must be host or host:port")
		}
		return nil
	}
	if _, err := ParseHostPattern(host); err != nil {
		return Fieldf(path, "%s", err.Error())
	}
	return nil
}

// validURL checks an absolute http or https URL, which may hold templates
// anywhere but in its scheme.
func validURL(path, s string, allowed urlParts) error {
	if err := validText(path, s); err != nil {
		return err
	}
	u, err := url.Parse(fillTemplates(s))
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		return Fieldf(path, "must be an absolute http or https URL")
	case u.User != nil && allowed&urlUser == 0:
		return Fieldf(path, "must not hold a user or password: they belong into a secret")
	case (u.RawQuery != "" || u.ForceQuery) && allowed&urlQuery == 0:
		return Fieldf(path, "must not have a query")
	case strings.Contains(s, "#") && allowed&urlFragment == 0:
		return Fieldf(path, "must not have a fragment")
	}
	return validAuthority(path, s, u)
}

// validAuthority checks the port, and the host where no template is in it.
func validAuthority(path, s string, u *url.URL) error {
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return Fieldf(path, "has a port that is not a number from 1 to 65535")
		}
	}
	_, rest, _ := strings.Cut(s, "://")
	authority, _, _ := strings.Cut(rest, "/")
	if strings.ContainsRune(authority, '{') {
		return nil // the host is known only with a secret
	}
	if _, err := canonicalHost(u.Hostname()); err != nil {
		return Fieldf(path, "has a host that %s", err.Error())
	}
	return nil
}

// fillTemplates makes a string with templates parseable: "1" is good as a
// label, a port, a part of a path and a value.
func fillTemplates(s string) string { return templates.ReplaceAllString(s, "1") }
