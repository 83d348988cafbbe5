package grant

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// splitBase takes a URL apart whose beginning comes from the provider:
// {answer.instance_url}, with a path behind it perhaps.
func (u *urlTemplate) splitBase(t template) error {
	u.base, u.path = t[0], slices.Clone(t[1:])
	if path, sep, _ := u.path.cut("?#"); sep != 0 {
		return errors.New("must not have a query or a fragment: it is the base of URLs")
	} else if len(path) > 0 && !strings.HasPrefix(path[0].text, "/") {
		return errors.New("must go on with a path, or end, behind {" + u.base.name + "}")
	}
	return nil
}

// isHostKept reports whether the host of the URL comes from the provider.
func (u *urlTemplate) isHostKept() bool { return u.base.name != "" || u.host.readsKept() }

// isAPIKept reports whether the base of the API differs from token to token.
func (t *target) isAPIKept() bool {
	return t.api != nil && (t.api.isHostKept() || t.api.path.readsKept())
}

// checkKeptAPI wants the hosts written down of an API whose host comes from the
// provider: they are the fence that keeps the token, and the values that
// it was got with, at the hosts that a person named.
func (t *target) checkKeptAPI(hosts []string) error {
	if t.api.isHostKept() && len(hosts) == 0 {
		return realm.Fieldf("config.hosts", "is missing: the host of api comes from the provider, and hosts says which ones may get the token")
	}
	return nil
}

// bindAPI fills in what was kept with a token. An error is for callers, and shows
// nothing of the provider's answer.
func (t *target) bindAPI(v *values, hosts []realm.HostPattern) (*url.URL, *realm.Error) {
	refuse := func(why string) (*url.URL, *realm.Error) {
		return nil, &realm.Error{Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway, Detail: "config.api: " + why}
	}
	const invalid = "what the provider sent with the token gives no valid URL"
	text, err := t.api.expand(v)
	if err != nil || v.overflow {
		return refuse(invalid)
	}
	api, err := url.Parse(text)
	if err != nil {
		return refuse(invalid)
	}
	host, err := realm.ParseHostPattern(api.Host)
	if err != nil {
		return refuse(invalid)
	}
	api.Host = host.String() // its one spelling, to be compared with what is dialled
	switch {
	case api.Scheme == "http" && !t.allowHTTP && t.api.base.name != "":
		return refuse("what the provider sent with the token is not https, and the realm does not allow that (allow_http)")
	case !slices.ContainsFunc(hosts, func(h realm.HostPattern) bool { return h.Match(api.Host, api.Scheme) }):
		return refuse("the host that the provider sent with the token is none of config.hosts")
	}
	return api, nil
}

// expandBase fills in a URL whose beginning comes from the provider. It decides
// about scheme, host and path, and about nothing else.
func (u *urlTemplate) expandBase(v *values) (string, error) {
	text := v.get(u.base)
	base, err := url.Parse(text)
	switch {
	case err != nil, base.Scheme != "https" && base.Scheme != "http", base.Opaque != "", !validHost(base.Host):
		return "", realm.Fieldf(u.base.name, "is no absolute http or https URL")
	case base.User != nil, strings.ContainsAny(text, "?#"):
		return "", realm.Fieldf(u.base.name, "must not have a user, a query or a fragment")
	}
	path := strings.TrimSuffix(base.EscapedPath(), "/") + u.path.expand(v, url.PathEscape)
	if hasDotSegment(path) || hasDotSegment(base.Path) {
		return "", realm.Fieldf(u.base.name, "has a path with \".\" or \"..\"")
	}
	return base.Scheme + "://" + base.Host + path, nil
}
