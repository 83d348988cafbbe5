package inject

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// destination is where a request goes.
type destination struct {
	scheme    string
	authority string // of the URL
	host      string // the Host header that is sent
}

// chooseDestination returns where the request goes. It is an error unless the
// token may go there: the address that is dialled and the Host header that is
// sent must both be among the realm's hosts. Either alone is not enough. A
// front end that serves many customers (a CDN, a shared gateway) picks the
// customer by the Host header, so an allowed address may lead to anybody; and
// a Host header is only a claim, so it may be sent to any address.
func chooseDestination(req *http.Request, job Job, target *realm.Target) (destination, error) {
	if err := checkRequestTarget(req); err != nil {
		return destination{}, err
	}
	d := destination{scheme: req.URL.Scheme, authority: req.URL.Host}
	d.host = withoutDefaultPort(job.Dial, d.scheme)
	if job.UseAPI {
		if target.Refused != nil {
			return destination{}, target.Refused
		}
		if target.API == nil {
			return destination{}, &realm.Error{
				Code: realm.CodeNotProxyable, Status: http.StatusConflict,
				Detail: "the realm has no api",
			}
		}
		d = destination{target.API.Scheme, target.API.Host, target.API.Host}
		if target.Kept != "" && job.Dial != withPort(d.authority, d.scheme) {
			return destination{}, errOtherAPI
		}
	}
	if job.KeepHost {
		d.host = req.Host
	}
	if reason := d.forbiddenReason(job.Dial, target); reason != "" {
		return destination{}, &realm.Error{
			Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway, Detail: reason,
		}
	}
	return d, nil
}

// checkRequestTarget refuses what cannot stand in a request line (RFC 9112
// section 3.2.1): a "#" would hide the injected query pair in a fragment, a
// blank would end the request target before it, and an opaque URL would replace
// the path and the host.
func checkRequestTarget(req *http.Request) error {
	u := req.URL
	if u.Opaque != "" || u.Path != "" && u.Path[0] != '/' {
		return errRequestTarget
	}
	for i := range len(u.RawQuery) {
		if c := u.RawQuery[i]; c <= ' ' || c == '#' || c == 0x7f {
			return errRequestTarget
		}
	}
	return nil
}

// forbiddenReason returns the reason why no token may go there; "" if it may.
func (d destination) forbiddenReason(dial string, target *realm.Target) string {
	switch {
	case d.scheme == "http":
		if !target.AllowHTTP && !target.Trusted {
			return "the upstream is not https, and the realm does not allow that (allow_http)"
		}
	case d.scheme != "https":
		return "the upstream is neither https nor http"
	}
	if !matchesAny(target.Hosts, dial, d.scheme) {
		return "the upstream is none of the realm's hosts"
	}
	if d.host != dial && !matchesAny(target.Hosts, d.host, d.scheme) {
		return "the Host header is none of the realm's hosts"
	}
	return ""
}

// matchesAny reports whether one of the patterns allows the address.
func matchesAny(hosts []realm.HostPattern, hostport, scheme string) bool {
	if hostport == "" {
		return false
	}
	for i := range hosts {
		if hosts[i].Match(hostport, scheme) {
			return true
		}
	}
	return false
}

// errOtherAPI refuses a request for one host of an API at another: the address was
// chosen by the token before this one, and the provider says another host with
// each token.
var errOtherAPI = &realm.Error{
	Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway,
	Detail: "the API has another host with the new token: the next request goes there",
}

// withPort is host:port, with the port of the scheme where there is none.
func withPort(authority, scheme string) string {
	if u := (url.URL{Host: authority}); u.Port() != "" {
		return authority
	}
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	return authority + port
}

// withoutDefaultPort returns the usual form of a Host header: some providers
// do not recognize themselves by "api.example.com:443".
func withoutDefaultPort(hostport, scheme string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(hostport, ":80")
	case "https":
		return strings.TrimSuffix(hostport, ":443")
	}
	return hostport
}
