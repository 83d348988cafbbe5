package inject

import (
	"net/http"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// SessionCookie is the name of the cookie by which somebody is signed in to the
// console. A browser sends it to every port of the host that set it, so also to a
// proxy beside the console. It goes no further.
const SessionCookie = "tokens_session"

// sessionPlaces has the cookie as a pair that is ours, however it is spelled.
var sessionPlaces = []realm.Place{{In: realm.PlaceCookie, Name: SessionCookie}}

// HasSessionCookie reports whether a request has such a cookie.
func HasSessionCookie(h http.Header) bool {
	return slices.ContainsFunc(h["Cookie"], func(line string) bool { return cookiePairs.withoutOurs(line, sessionPlaces) != line })
}

// RemoveSessionCookie cuts such cookies out, and leaves all others as they are.
func RemoveSessionCookie(h http.Header) {
	cutCookies(h, func(line string) string { return cookiePairs.withoutOurs(line, sessionPlaces) })
}
