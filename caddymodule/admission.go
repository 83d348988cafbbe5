package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// authNone is the word with which an operator opens a handler to everybody.
	authNone = "none"
	// authLocal is the word with which an operator opens the admin API to
	// callers on its machine. Proxies serve them by default.
	authLocal = "local"
)

// admission decides whom a handler serves. The zero value serves users that an
// authentication directive accepted.
type admission struct {
	// local: callers on this machine that use a loopback name are served.
	local bool
	// none: callers without a credential are served, wherever they are.
	none bool
	// hosts are further names that the Host of such callers may have, in lower
	// case.
	hosts []string
	// placeholder, without its braces, names the result of another
	// authenticator; "" for none.
	placeholder string
	// isProxy: local ends as soon as clients are required.
	isProxy bool
	// clients are who may use what; nil where there are none.
	clients *access.View
	// failures counts wrong keys.
	failures *failures
}

// onePlaceholder matches a text that is one placeholder.
var onePlaceholder = regexp.MustCompile(`^\{([^{}\s]+)\}$`)

// parseAdmission reads the setting auth of the admin API:
//
//	local
//	none [<hosts...>]
//	{<placeholder>}
func parseAdmission(text string) (admission, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return admission{}, nil
	}
	if m := onePlaceholder.FindStringSubmatch(text); m != nil {
		if isEnvironment(m[1]) {
			return admission{}, fmt.Errorf("auth '%s': the environment is the same for every caller", text)
		}
		return admission{placeholder: m[1]}, nil
	}
	switch words[0] {
	case authLocal:
		if len(words) > 1 {
			return admission{}, fmt.Errorf("auth local: surplus argument '%s'", words[1])
		}
		return admission{local: true}, nil
	case authNone:
		a := admission{none: true}
		for _, host := range words[1:] {
			if strings.ContainsAny(host, "/:*{}") {
				return admission{}, fmt.Errorf("auth none: '%s' is not the name of a host", host)
			}
			a.hosts = append(a.hosts, hostName(host))
		}
		return a, nil
	}
	return admission{}, fmt.Errorf("auth '%s': write local (token_admin only), none, perhaps with names of hosts, or one placeholder "+
		"such as {http.auth.user.id}", text)
}

// parseProxyAdmission is parseAdmission for proxies. They serve callers on this
// machine unless everybody is served.
func parseProxyAdmission(text string) (admission, error) {
	a, err := parseAdmission(text)
	if a.local {
		return admission{}, errors.New("auth local is for token_admin only: a proxy serves callers on this machine by default")
	}
	a.local, a.isProxy = !a.none, true
	return a, err
}

// user is who an authenticator says that the caller is; "" for nobody.
func (a *admission) user(repl *caddy.Replacer) string {
	if repl == nil {
		return ""
	}
	for _, name := range []string{a.placeholder, "http.auth.user.id"} {
		if id, ok := repl.GetString(name); ok && id != "" {
			return id
		}
	}
	return ""
}

// connect tells the admission who the clients of the configuration are.
func (a *admission) connect(app *App) { a.clients, a.failures = app.clients, app.keyFailures }

// admit returns who is let in, else why not.
//
// A browser adds what it knows of its user to the requests of every page: a
// password of basic_auth, a client certificate, the way to this machine. So a
// page of another site is refused whatever else lets its visitor in.
func (a *admission) admit(r *http.Request, repl *caddy.Replacer) (caller, *realm.Error) {
	if crossSite(r) {
		return caller{}, errCrossSite
	}
	if refused := refuseMisplacedKey(r); refused != nil {
		return caller{}, refused
	}
	if given := credentialsOf(r); given.given() && a.clients != nil {
		if who, refused := a.admitKey(r, given); who.client != nil || refused != nil {
			return who, refused
		}
	}
	return a.admitKeyless(r, repl)
}

// mayHaveHost reports whether a caller without a credential may use the Host
// that it sent.
//
// The owner of a name can point it at any address (DNS rebinding). A browser
// then takes our answers for those of its page and hands them over, and sees no
// other site in it. Such a name has a dot, and is none of ours; addresses, and
// names of a local network without a dot, cannot be pointed anywhere.
func (a *admission) mayHaveHost(r *http.Request) bool {
	name := hostName(r.Host)
	if !strings.Contains(name, ".") || slices.Contains(a.hosts, name) {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return isSiteName(r)
}

// isSiteName reports whether a site of the server is written with the name of
// the request. Where one is, requests of other names do not come to it.
func isSiteName(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return false
	}
	for _, site := range server.Routes {
		for _, set := range site.MatcherSets {
			for _, matcher := range set {
				hosts, ok := matcher.(*caddyhttp.MatchHost)
				if !ok {
					continue
				}
				if matches, err := hosts.MatchWithError(r); err == nil && matches {
					return true
				}
			}
		}
	}
	return false
}

// hostName is the name in a Host header: without its port, the dot at its end
// and the brackets of an IPv6 address, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

var (
	// errLocalOnly tells a caller of a proxy that was refused what the operator
	// can do.
	errLocalOnly = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "only callers on this machine that use a loopback name are served, unless an authentication directive " +
			"(such as basic_auth) stands in front, 'auth {placeholder}' names the result of another one, or 'auth none' is written",
	}
	errCrossSite = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "the request was made by a page of another site (Sec-Fetch-Site, Origin)",
	}
	errForeignHost = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "the Host of the request is no name of this site; write it behind 'auth none' if it is meant",
	}
)
