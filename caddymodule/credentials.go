package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// credentialHeaders are the headers in which a key or the admin token may come.
// Caddy masks these in its logs, and no other that would do.
var credentialHeaders = [...]string{"Authorization", "Proxy-Authorization"}

// credentials are what a caller sent that may be a key or the admin token: at
// most one for each header; "" for none.
type credentials struct {
	values [len(credentialHeaders)]string
	// bearer: at least one of them came as Bearer, or as token.
	bearer bool
}

// keysTakenOff is the place in a request's context of the keys of clients that
// token_admin took off its headers.
type keysTakenOff struct{}

// credentialsOf reads the headers of a request, and what stood there before
// token_admin took it off: it hides keys from handlers that would forward them, and
// not from the proxies of its site, which have to know who calls.
func credentialsOf(r *http.Request) (c credentials) {
	taken, _ := r.Context().Value(keysTakenOff{}).(http.Header)
	for i, name := range credentialHeaders {
		header := r.Header.Get(name)
		if header == "" {
			header = taken.Get(name)
		}
		value, isBearer := credentialOf(header)
		c.values[i] = value
		c.bearer = c.bearer || isBearer
	}
	return c
}

// given reports whether there is any.
func (c credentials) given() bool { return c != credentials{} }

// keys are those that may be a client's key: the first of the form of ours alone,
// if there is one, since whoever sends it means it.
func (c credentials) keys() [len(credentialHeaders)]string {
	for _, value := range c.values {
		if access.IsKey(value) {
			return [len(credentialHeaders)]string{value}
		}
	}
	return c.values
}

// credentialOf is what the value of a header holds: the token of Bearer (RFC
// 6750 section 2.1) or the password of Basic (RFC 7617), so that whatever a
// client calls its credential can carry one. GitHub's SDK for JavaScript, and
// those of APIs that are made with Django, write "token" for "Bearer". Other
// schemes hold none.
func credentialOf(header string) (credential string, isBearer bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "token"):
		return rest, true
	case strings.EqualFold(scheme, "Basic"):
		_, password, _ := strings.Cut(decodeBasic(rest), ":")
		return password, false
	}
	return "", false
}

// decodeBasic is what the credentials of Basic say, also without the padding,
// which some clients leave out; "" for what is no base64.
func decodeBasic(credentials string) string {
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(credentials, "="))
	if err != nil {
		return ""
	}
	return string(decoded)
}

// isKeyMisplaced reports whether a key of ours stands where none may: in the
// URL, in another header, or in one of credentialHeaders where it is no
// credential, such as the user name of Basic or behind another scheme. There it
// would go to the API, and into logs.
func isKeyMisplaced(r *http.Request) bool {
	if access.HoldsKey(r.URL.RawQuery) || access.HoldsKey(r.URL.Path) {
		return true
	}
	for name, values := range r.Header {
		for _, value := range values {
			if slices.Contains(credentialHeaders[:], name) {
				credential, _ := credentialOf(value)
				if access.IsKey(credential) {
					continue
				}
				if scheme, rest, _ := strings.Cut(value, " "); strings.EqualFold(scheme, "Basic") {
					value = decodeBasic(strings.TrimSpace(rest))
				}
			}
			if access.HoldsKey(value) {
				return true
			}
		}
	}
	return false
}

// refuseMisplacedKey refuses a request with a misplaced key, which is left out of
// the access log.
func refuseMisplacedKey(r *http.Request) *realm.Error {
	if !isKeyMisplaced(r) {
		return nil
	}
	skipAccessLog(r)
	return errMisplacedKey
}

var errMisplacedKey = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: "an API key stands in the URL or in another header than Authorization and Proxy-Authorization, where it would get into logs; " +
		"send it as Bearer, as token or as the password of Basic, and replace it: it may be in a log already",
}

// adminToken is a token that opens the admin API, as its digest.
type adminToken [sha256.Size]byte

func newAdminToken(token realm.Hidden) *adminToken {
	t := adminToken(sha256.Sum256([]byte(token.Reveal())))
	return &t
}

// equals reports whether a credential is the token. Digests are compared in
// constant time, so that the time tells nothing about the token, not even its
// length. A nil token equals nothing.
func (t *adminToken) equals(credential string) bool {
	if t == nil || credential == "" {
		return false
	}
	digest := access.Digest(credential)
	return subtle.ConstantTimeCompare(digest[:], t[:]) == 1
}

// isAmong reports whether one of the credentials is the token.
func (t *adminToken) isAmong(c credentials) bool {
	matches := false
	for _, value := range c.values {
		matches = t.equals(value) || matches
	}
	return matches
}
