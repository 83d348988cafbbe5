package inject

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// answered sends a request to an upstream that answers with these fields.
func answered(t tester, l *realm.Lease, method string, h http.Header) http.Header {
	t.Helper()
	req := get("/")
	req.Method = method
	resp, err := over(&recorder{header: h}, Job{Lease: l, Dial: "api.example.com:443"}).RoundTrip(req)
	noError(t, err)
	noError(t, resp.Body.Close())
	equal(t, true, resp.Request == req, "the answer's request is the caller's")
	return resp.Header
}

// Nobody between the caller and us may keep what a credential opened.
func TestAnswerStaysPrivate(t *testing.T) {
	for _, place := range []realm.Place{inQuery, inHeader} {
		for _, tt := range []struct {
			method     string
			said, want http.Header
		}{
			{"GET", http.Header{}, http.Header{"Cache-Control": {"private"}}},
			{"HEAD", http.Header{}, http.Header{"Cache-Control": {"private"}}},
			{"POST", http.Header{}, http.Header{}},
			{"GET", http.Header{"Cache-Control": {"public, max-age=9"}}, http.Header{"Cache-Control": {"public, max-age=9"}}},
			{"GET", http.Header{"Expires": {"0"}}, http.Header{"Expires": {"0"}}},
			{"GET", http.Header{"Pragma": {"no-cache"}}, http.Header{"Pragma": {"no-cache"}}},
		} {
			equal(t, tt.want, answered(t, apiLease(place), tt.method, tt.said), tt.method)
		}
	}
}

// An upstream that quotes the token in a header does not give it away.
func TestAnswerScrubsHeaders(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("x:" + token))
	l := apiLease(inQuery, inHeader, realm.Place{In: realm.PlaceHeader, Name: "X-Basic"})
	l.Values[2] = "Basic " + basic
	h := http.Header{
		"Location":     {"https://api.example.com/next?a=1&access_token=" + tokenEscaped + "&b=2"},
		"Link":         {"</x?t=" + token + ">; rel=next, </y?t=" + tokenEscaped + ">; rel=prev"},
		"X-Lower":      {"canary%2fT0ken%2b4f9c2e71%3d%3d"},
		"X-Nested":     {"/login?to=" + url.QueryEscape("/a?t="+tokenEscaped)},
		"X-Twice":      {"/login?to=" + url.QueryEscape(url.QueryEscape("/a?t="+tokenEscaped))},
		"X-Everything": {everyByteEscaped(token)},
		"X-Error":      {"bad authorization: Bearer " + token, "fine", "basic " + basic},
		"X-Part":       {"canary/T0ken", "4f9c2e71==", token[:len(token)-1]},
		"X-Safe":       {"a=1&b=%2F"},
	}
	got := answered(t, l, "POST", h.Clone())
	for name, values := range got {
		if text := strings.Join(values, " "); name != "X-Part" && (strings.Contains(text, "4f9c2e71") || strings.Contains(text, basic)) {
			t.Errorf("%s: %s", name, text)
		}
	}
	equal(t, "https://api.example.com/next?a=1&access_token="+realm.Mask+"&b=2", got.Get("Location"), "Location")
	equal(t, "</x?t="+realm.Mask+">; rel=next, </y?t="+realm.Mask+">; rel=prev", got.Get("Link"), "Link")
	equal(t, []string{"bad authorization: Bearer " + realm.Mask, "fine", "basic " + realm.Mask}, got["X-Error"], "X-Error")
	equal(t, realm.Mask, got.Get("X-Everything"), "X-Everything")
	equal(t, h["X-Part"], got["X-Part"], "a part of the token is left alone")
	equal(t, h["X-Safe"], got["X-Safe"], "X-Safe")
	if _, err := url.Parse(got.Get("Location")); err != nil {
		t.Error(err)
	}
}

func everyByteEscaped(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + string(digits[s[i]>>4]) + string(digits[s[i]&15]))
	}
	return b.String()
}

// A token is found wherever it stands, in any of its encodings, and the text
// around it stays.
func TestAnswerScrubProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9_./+=~-][ A-Za-z0-9_./+=~-]{5,40}9`).Draw(t, "secret") // nothing around ends so
		around := rapid.StringMatching(`[ a-z?&=]{0,20}`)
		before, after := around.Draw(t, "before"), around.Draw(t, "after")
		form := secret
		for range rapid.IntRange(0, 3).Draw(t, "times encoded") {
			form = url.QueryEscape(form)
		}
		if rapid.Bool().Draw(t, "every byte") {
			form = everyByteEscaped(secret)
		}
		l := apiLease(inHeader)
		l.Access, l.Values = realm.Hidden(secret), []string{"Bearer " + secret}
		secrets, _ := appendSecrets(nil, sentTokens{l})
		text, found := mask(before+form+after, secrets)
		if !matches(before+form+after, appendProbes(nil, secrets)) {
			t.Fatalf("%q may not hold %q", before+form+after, secret)
		}
		if !found || strings.Contains(text, form) || !strings.Contains(text, realm.Mask) {
			t.Fatalf("%q became %q", before+form+after, text)
		}
		if !strings.HasSuffix(text, after) {
			t.Fatalf("%q lost its end %q", text, after)
		}
	})
}

func TestAnswerShortTokensAreNotScrubbed(t *testing.T) {
	l := apiLease(inHeader)
	l.Access, l.Values = "gzip", []string{"gzip"}
	got := answered(t, l, "POST", http.Header{"Content-Encoding": {"gzip"}})
	equal(t, "gzip", got.Get("Content-Encoding"), "Content-Encoding")
}

// Trailers are header fields that come late: a log prints them as such.
func TestAnswerScrubsTrailers(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, length := range []string{"", "4"} {
			p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Trailer", "X-Announced")
				if length != "" && h2 { // HTTP/1.1 has no trailers behind a known length
					w.Header().Set("Content-Length", length)
				}
				_, _ = w.Write([]byte("body"))
				w.Header().Set("X-Announced", "fine, "+r.URL.String())
				w.Header().Set(http.TrailerPrefix+"X-Late", r.URL.String())
			}, inQuery)
			got := p.do(t, p.request(t, http.MethodGet, "/x", nil))
			equal(t, "body", got.body, "the body")
			equal(t, "fine, /x?access_token="+realm.Mask, got.trailer.Get("X-Announced"), "announced")
			equal(t, "/x?access_token="+realm.Mask, got.trailer.Get("X-Late"), "unannounced")
		}
	}
}
