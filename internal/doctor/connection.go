package doctor

import (
	"net/url"
	"regexp"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
)

// faultTexts say what a fault of the connection means, behind the host's name.
var faultTexts = map[grant.Fault]string{
	grant.FaultName: "cannot be found in the DNS. Is the name spelled right in the realm, and does this machine resolve names? (nslookup shows it.)",
	grant.FaultPrivate: "has an address that is not public, which realms of the API must not reach. Is the name right? " +
		"An own service is allowed in the Caddyfile: `allow_private` in the tokens block.",
	grant.FaultUnreachable: "cannot be reached. Is the port right, and may this machine connect to it? A firewall or a missing route has this effect.",
	grant.FaultClosed:      "closed the connection without an answer. A firewall, or a port that is not for HTTP, looks so.",
	grant.FaultTimeout: "gave no complete answer in time. Is it reachable from this machine (a firewall that drops packets has this effect)? " +
		"A provider that is slow by nature needs a longer `timeout` in the realm's limits.",
	grant.FaultNoTLS:       "speaks plain HTTP where HTTPS is expected. Is the port right, or is the URL one with http://, which needs allow_http?",
	grant.FaultTLS:         "ended the TLS handshake. It may want a client certificate (`client_certificate`), or another TLS version.",
	grant.FaultUntrusted:   "has a certificate whose issuer this machine does not know: its own authority, or a proxy that opens connections. Write the authority into the realm (`ca`), or add it to the system's trust store.",
	grant.FaultOtherHost:   "has a certificate for another name. Is the host in the URL the one that the provider documents?",
	grant.FaultExpired:     "has a certificate that has expired, or is not valid yet. Check the clock of this machine first.",
	grant.FaultCertificate: "has a certificate that is not valid.",
	grant.FaultClear:       "is not https, and would be asked by a proxy, which would see the token. Write `proxy off` in the realm to go without it.",
	grant.FaultProxyUnreachable: "was not asked, because the proxy of the realm or of the tokens block cannot be used. Are its host, its port and its scheme (http, https, socks5) right, " +
		"and may this machine connect to it?",
	grant.FaultProxyPrivate: "was not asked, because the proxy of the realm has an address that is not public. One inside of your network is allowed in the Caddyfile: " +
		"`allow_private` in the tokens block.",
	grant.FaultProxyCredentials: "was not asked, because the proxy wants a user and a password, or others. They stand in its URL, percent-encoded.",
	grant.FaultProxyRefused:     "was not asked, because the proxy does not let the connection through. Have its owner allow the host's address and port, not only its name: the proxy is asked for the address.",
	grant.FaultProxyNotReached:  "was not reached by the proxy. Does the proxy's network lead there? A proxy that must look names up itself needs `resolve` behind its URL in the Caddyfile.",
}

// lookAtConnection says why there was no answer.
func (f *findings) lookAtConnection() {
	if text, ok := faultTexts[f.Report.Fault]; ok {
		host := hostOf(f.Report.Request.URL)
		if host == "" {
			host = "The host"
		}
		f.addCase(string(f.Report.Fault), "", values{"host": host}, host, " ", text)
	}
}

// hostOf is the host of a URL, with its port; "" if there is none. The URLs of
// reports have masked values in them, which no parser has to like.
func hostOf(text string) string {
	if m := authority.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

var authority = regexp.MustCompile(`^https?://([^/?#]*)`)

// sandboxLabel is how test systems are named.
var sandboxLabel = regexp.MustCompile(`(?i)sandbox|(^|[.-])(test|testing|uat|staging|stage|mock)[0-9]*([.-]|$)`)

// lookAtHosts compares the hosts of the token request and of the API: a credential
// of a sandbox is good in the sandbox alone.
func (f *findings) lookAtHosts() {
	from, api := hostOf(f.Report.Request.URL), ""
	if u, err := url.Parse(f.Config.API); err == nil {
		api = u.Host
	}
	isTestFrom, isTestAPI := sandboxLabel.MatchString(from), sandboxLabel.MatchString(api)
	switch {
	case from != "" && api != "" && isTestFrom != isTestAPI:
		f.addCase("sandbox_host", "differ", values{"from": from, "api": api}, "One of ", from, " and ", api, " is a sandbox or test system by its name, and the other is not: a token of the one is refused by the other.")
	case f.isRefused() && isTestFrom:
		f.addCase("sandbox_host", "of_sandbox", values{"from": from}, from, " is a sandbox or test system by its name. It refuses the credentials of the real one.")
	case f.isRefused() && sandboxLabel.MatchString(f.response().ProviderMessage):
		f.addCase("sandbox_host", "of_real", values{"from": from}, "The provider speaks of a sandbox or test system. Credentials of a sandbox are refused by ", from, ", which is the real one by its name.")
	}
}
