package inject

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What is computed sees the request as it goes out, and is asked for each attempt.
func TestComputedValues(t *testing.T) {
	l := apiLease(inCustom, inPath, inQuery)
	l.Target.API = &url.URL{Scheme: "https", Host: "api.example.com", Path: "/v1"}
	l.Values = []string{"", "T", tokenEscaped}
	var asked []realm.Outgoing
	l.Computed = func(out realm.Outgoing) ([]string, error) {
		asked = append(asked, out)
		return []string{"for " + out.Method + " " + out.Path, "T", tokenEscaped}, nil
	}
	before := time.Now()
	req := get("/botX/a%2Fb?x=1")
	out, a := sendJob(t, Job{Lease: l, Dial: "api.example.com:443", UseAPI: true}, req)
	equal(t, http.StatusOK, a.status, "status")
	equal(t, []string{"for GET /v1/a%2Fb"}, out.Header["X-Access-Token"], "header")
	equal(t, "/v1/botT/a%2Fb", out.URL.EscapedPath(), "path")
	equal(t, []string{"", "T", tokenEscaped}, l.Values, "the lease that all requests share")
	if len(asked) != 1 || asked[0].Now.Before(before) {
		t.Errorf("asked %v", asked)
	}
}

// A value that cannot be computed is an answer, and nothing is sent.
func TestComputedValuesFail(t *testing.T) {
	l := apiLease(inHeader)
	l.Computed = func(realm.Outgoing) ([]string, error) {
		return nil, realm.Fieldf("config.inject[0].expr", "cannot be computed: it costs too much")
	}
	out, a := send(t, l, get("/"))
	if out != nil || a.status != http.StatusBadGateway || !strings.Contains(a.body, `"token_unavailable"`) || !strings.Contains(a.body, "config.inject[0].expr") {
		t.Errorf("%v, %d %s", out, a.status, a.body)
	}
}

// A value that was computed of the secret is masked in the answer, and one that is
// no secret is not.
func TestComputedValuesAreMasked(t *testing.T) {
	public := realm.Place{In: realm.PlaceHeader, Name: "X-Path", Public: true}
	l := apiLease(inQuery, inCustom, public)
	l.Computed = func(realm.Outgoing) ([]string, error) {
		return []string{tokenEscaped, "signature-0815", "/cgi-bin/menu"}, nil
	}
	rec := &recorder{header: http.Header{"X-Echo": {"signature-0815 and " + token}, "Location": {"/cgi-bin/menu"}}}
	resp, err := over(rec, Job{Lease: l, Dial: "api.example.com:443"}).RoundTrip(get("/"))
	noError(t, err)
	a := read(t, resp)
	if echo := a.header.Get("X-Echo"); strings.Contains(echo, "0815") || strings.Contains(echo, token) {
		t.Errorf("quoted: %s", echo)
	}
	equal(t, "/cgi-bin/menu", a.header.Get("Location"), "Location")
}
