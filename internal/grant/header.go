package grant

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const userAgent = "caddy-tokens"

// hopHeaders frame a message or belong to one hop (RFC 9110 section 7.6.1).
// Whoever could set one could smuggle a request.
var hopHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
	"Upgrade", "Te", "Trailer", "Expect", "Http2-Settings",
}

// headerName returns the canonical form of a header's name that a realm may
// set.
func headerName(name, field string) (string, error) {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return "", realm.Fieldf(field, "is not a valid header name")
	case slices.Contains(hopHeaders, canonical), strings.HasPrefix(canonical, "Proxy-"):
		return "", realm.Fieldf(field, "%s cannot be set", canonical)
	}
	return canonical, nil
}

// addHeader checks a header argument. A constant value is judged now, one with
// a secret when it is bound.
func (r *recipe) addHeader(a argument) error {
	name, err := headerName(a.name, a.at(".name"))
	if err != nil {
		return err
	}
	if name == "Accept-Encoding" {
		return realm.Fieldf(a.at(".name"), "Accept-Encoding is set by the proxy")
	}
	if r.hasHeader(name) {
		return realm.Fieldf(a.at(".name"), "%s is set twice", name)
	}
	if text, ok := a.value.constant(); ok && !httpguts.ValidHeaderFieldValue(text) {
		return realm.Fieldf(a.at(".value"), "is not a valid header value")
	}
	a.name = name
	r.header = append(r.header, a)
	return nil
}

// addBasic checks the argument that becomes the header Authorization.
func (r *recipe) addBasic(a argument, sc scope) error {
	if r.hasHeader("Authorization") {
		return realm.Fieldf(a.at(".place"), "Authorization is set twice")
	}
	var err error
	if a.user, err = parseTemplate(a.name, sc); err != nil {
		return realm.Fieldf(a.at(".name"), "%v", err)
	}
	r.basic = &a
	return nil
}

// hasHeader reports whether the recipe sets the header already. name is in
// canonical form.
func (r *recipe) hasHeader(name string) bool {
	return name == "Authorization" && r.basic != nil ||
		slices.ContainsFunc(r.header, func(a argument) bool { return a.name == name })
}

// renderHeader makes the header of the request.
func (r *recipe) renderHeader(v *values) (http.Header, error) {
	h := http.Header{
		"User-Agent":      {userAgent},
		"Accept":          {r.body.accept()},
		"Accept-Encoding": {"gzip"},
	}
	if mediaType := r.body.mediaType(); mediaType != "" {
		h.Set("Content-Type", mediaType)
	}
	for _, a := range r.header {
		value := a.expand(v)
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, realm.Fieldf(a.source(), "gives a value that no header can carry with the fields of this secret")
		}
		h.Set(a.name, value)
	}
	if r.basic != nil {
		value, err := r.renderBasic(v)
		if err != nil {
			return nil, err
		}
		h.Set("Authorization", value)
	}
	return h, nil
}

// renderBasic makes the credentials of RFC 7617.
func (r *recipe) renderBasic(v *values) (string, error) {
	if v.masked {
		return "Basic " + realm.Mask, nil
	}
	user, password := r.basic.user.expand(v, nil), r.basic.expand(v)
	if !r.plain {
		user, password = formEscape(user), formEscape(password)
	}
	if strings.Contains(user, ":") {
		return "", realm.Fieldf(r.basic.at(".name"), "gives a user with a colon, which basic authentication cannot carry")
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)), nil
}
