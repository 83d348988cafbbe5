package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// aim is where a request goes.
type aim struct {
	scheme    string
	authority string // of the URL
	host      string // the Host that is sent
}

// take takes aim, and refuses unless the token may go there: the address that
// is dialled and the Host that is sent are both the realm's. Either alone is
// not enough, since a dialled front end (a CDN, a shared gateway) chooses the
// customer by Host, and a Host is only a word.
func take(req *http.Request, job Job, target *realm.Target) (aim, error) {
	if err := checkTarget(req); err != nil {
		return aim{}, err
	}
	a := aim{scheme: req.URL.Scheme, authority: req.URL.Host}
	a.host = withoutDefaultPort(job.Dial, a.scheme)
	if job.UseAPI {
		if target.API == nil {
			return aim{}, &realm.Error{
				Code: realm.CodeNotProxyable, Status: http.StatusConflict,
				Detail: "the realm has no api",
			}
		}
		a = aim{target.API.Scheme, target.API.Host, target.API.Host}
	}
	if job.KeepHost {
		a.host = req.Host
	}
	if reason := a.forbidden(job.Dial, target); reason != "" {
		return aim{}, &realm.Error{
			Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway, Detail: reason,
		}
	}
	return a, nil
}

// checkTarget refuses what cannot stand in a request line (RFC 9112 section
// 3.2.1). A "#" would hide the injected pair in a fragment, a blank would end
// the target in front of it, an opaque URL would replace path and host.
func checkTarget(req *http.Request) error {
	u := req.URL
	if u.Opaque != "" || u.Path != "" && u.Path[0] != '/' {
		return errTarget
	}
	for i := range len(u.RawQuery) {
		if c := u.RawQuery[i]; c <= ' ' || c == '#' || c == 0x7f {
			return errTarget
		}
	}
	return nil
}

// forbidden says why no token may go there, or nothing.
func (a aim) forbidden(dial string, target *realm.Target) string {
	switch {
	case a.scheme == "http":
		if !target.AllowHTTP && !target.Trusted {
			return "the upstream is not https, and the realm does not allow that (allow_http)"
		}
	case a.scheme != "https":
		return "the upstream is neither https nor http"
	}
	if !matches(target.Hosts, dial, a.scheme) {
		return "the upstream is none of the realm's hosts"
	}
	if a.host != dial && !matches(target.Hosts, a.host, a.scheme) {
		return "the Host header is none of the realm's hosts"
	}
	return ""
}

func matches(hosts []realm.HostPattern, hostport, scheme string) bool {
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

// withoutDefaultPort is the usual form of a Host: some providers do not know
// themselves by "api.example.com:443".
func withoutDefaultPort(hostport, scheme string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(hostport, ":80")
	case "https":
		return strings.TrimSuffix(hostport, ":443")
	}
	return hostport
}
