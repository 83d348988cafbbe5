package inject

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Some APIs take their token from any of the query, a header and a cookie. So a
// caller's own one is removed from all three, wherever the realm puts the token.
func TestOwnTokenIsRemovedEverywhere(t *testing.T) {
	for _, place := range []realm.Place{
		{In: realm.PlaceURL, Name: "x-access-token", Pair: "x-access-token="}, inCustom,
	} {
		req := get("/?a=1&x-access-token=evil&X-Access-Token=evil&b=2;x%2daccess%2Dtoken=evil&c")
		req.Header = http.Header{
			"X-Access-Token": {"evil"}, "X_access_token": {"evil"}, "X-Other": {"1"},
			"Cookie": {"a=1; x-access-token=evil; b=2", "X-ACCESS-TOKEN=evil", "c=3"},
		}
		l := apiLease(place)
		l.Target.Pass = []string{"Cookie"}
		out, _ := send(t, l, req)
		query := "a=1&b=2&c"
		if place.In == realm.PlaceURL {
			query += "&x-access-token=" + tokenEscaped
		} else {
			checkHeader(t, out.Header, "X-Access-Token", token)
			delete(out.Header, "X-Access-Token")
		}
		equal(t, query, out.URL.RawQuery, place.In)
		equal(t, http.Header{"X-Other": {"1"}, "Cookie": {"a=1; b=2", "c=3"}}, out.Header, place.In)
	}
}

// Credentials in a query of the name of the header are no credentials that we
// were given, but may be some that the provider takes.
func TestOwnTokenOfBasic(t *testing.T) {
	out, _ := send(t, apiLease(inHeader), get("/?a=1&authorization=Bearer+evil"))
	equal(t, "a=1", out.URL.RawQuery, "query")
}

// The other cookies stay byte for byte. Parsers split at ";", older ones at ","
// too (RFC 2965 section 3.3.4), and some decode names.
func TestOwnTokenInCookies(t *testing.T) {
	for in, want := range map[string]string{
		"a=1;b=2":                           "a=1;b=2",
		"a=1;  b = 2 ;":                     "a=1;  b = 2 ;",
		"access_token=evil":                 "",
		"access_token":                      "",
		" access_token = evil ; a=1":        " a=1",
		"a=1; ACCESS_TOKEN=evil":            "a=1",
		"a=1;access%5Ftoken=evil;b=2":       "a=1;b=2",
		"a=1, access_token=evil; b=2":       "a=1; b=2",
		"a=1; access.token=evil, b=2":       "a=1; b=2",
		"access_token[0]=evil; b=2":         " b=2",
		"a=access_token; access_tokens=1":   "a=access_token; access_tokens=1",
		`a="1; access_token=evil"; b="2,3"`: `a="1; b="2,3"`,
		"access_token=evil;access_token=x,": "",
	} {
		req := get("/")
		req.Header = http.Header{"Cookie": {in}}
		l := apiLease(inQuery)
		l.Target.Pass = []string{"Cookie"}
		out, _ := send(t, l, req)
		equal(t, want, strings.Join(out.Header["Cookie"], "|"), in)
		equal(t, want != "", len(out.Header["Cookie"]) > 0, "a field without a cookie")
	}
}

// A body is not read, so what a caller puts there passes.
func TestOwnTokenInTheBodyPasses(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		noError(t, r.ParseForm())
		equal(t, []string{"own"}, r.PostForm["access_token"], "form")
		equal(t, []string{token}, r.URL.Query()["access_token"], "query")
		w.WriteHeader(http.StatusNoContent)
	}, inQuery)
	req := p.request(t, http.MethodPost, "/", strings.NewReader("access_token=own"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	equal(t, http.StatusNoContent, p.do(t, req).status, "status")
}
