package adminapi

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refuseOtherSites refuses requests that a browser sends on behalf of another site.
// Callers that are no browsers send neither header and pass.
//
// It is stricter than http.CrossOriginProtection: GET is checked as well,
// because GET /api/token?flush=true spends the provider's budget, and so is
// "same-site", because another port of localhost is the same site.
//
// host is the name of the site where it is not the Host of the request: a proxy in
// front that the operator trusts may have put another one there.
func refuseOtherSites(r *http.Request, host string) error {
	if SaysSiteTwice(r) {
		return errForeign("Sec-Fetch-Site or Origin, sent twice")
	}
	switch r.Header.Get("Sec-Fetch-Site") { // W3C Fetch Metadata, section 2.4
	case "", "same-origin", "none":
	default:
		return errForeign("Sec-Fetch-Site")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, cmp.Or(host, r.Host)) {
			return errForeign("Origin")
		}
	}
	return nil
}

// SaysSiteTwice reports whether a request says more than once which site it is for.
// No browser does, and which of them is right is not known.
func SaysSiteTwice(r *http.Request) bool {
	return len(r.Header["Sec-Fetch-Site"]) > 1 || len(r.Header["Origin"]) > 1
}

func errForeign(header string) error {
	return &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "the request was made by another site (" + header + ")",
	}
}
