package grant

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ownRealm has recipes of its own, as JD VOP: the server sends user name and
// password, and takes the code out of the redirect.
const ownRealm = `{"unattended":true,"callback_url":"https://tokens.example/cb?x=1","token_path":"access_token","expires_in_path":"expires_in","refresh_token_path":"refresh_token",
	"authorize":{"url":"@/authorize","arguments":[
		{"name":"app_key","place":"url","value":"$client_id"},{"name":"redirect_uri","place":"url","value":"{callback_url}"},
		{"name":"username","place":"url","value":"$username"},{"name":"password","place":"url","expr":"md5(secret.password)"},
		{"name":"state","place":"url","value":"{state}"},{"name":"code_challenge","place":"url","value":"{code_challenge}"}]},
	"exchange":{"url":"@/token","method":"POST","content_type":"form","success":[{"json":"error","values":[""],"absent":true}],"arguments":[
		{"name":"code","place":"body","value":"{code}"},{"name":"v","place":"body","value":"{code_verifier}"},{"name":"s","place":"body","value":"{state}"},
		{"name":"sign","place":"body","expr":"upper(md5(secret.client_secret + code + state + code_verifier + callback_url))"}]},
	"refresh":{"url":"@/refresh?r={refresh_token}"}}`

// account is the secret of these tests, and attempt their authorization.
var (
	account = map[string]string{
		"client_id": "id-1", "client_secret": "SECRET/1", "username": "user@x", "password": "CANARY-PASSWORD/1", "tenant": "acme",
		"redirect_uri": "https://tokens.example/cb?x=1",
	}
	attempt = Authorization{State: "CANARY-STATE-0123456789", Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}
)

const (
	challengeOfAttempt = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	theCode            = "CANARY-CODE/1+2"
	goodCallback       = "https://tokens.example/cb?x=1&code=CANARY-CODE%2F1%2B2&state=CANARY-STATE-0123456789"
)

func redirecting(status int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}
}

// authorizeFrom authorizes once at a provider that gives the answer.
func authorizeFrom(t *testing.T, config string, answer http.HandlerFunc) (*Callback, *Error, seen) {
	t.Helper()
	p := newProvider(t, answer)
	got, err := bind(t, realmOf(t, config, p.URL), account).Authorize(t.Context(), testClient(t), attempt, Request{})
	if len(p.requests) != 1 {
		t.Fatalf("%d requests were sent: %v", len(p.requests), err)
	}
	if err != nil {
		return got, failure(t, err), p.requests[0]
	}
	return got, nil, p.requests[0]
}

func TestAuthorize(t *testing.T) {
	got, failed, r := authorizeFrom(t, ownRealm, redirecting(302, goodCallback))
	if failed != nil {
		t.Fatal(failed)
	}
	if got == nil || got.Code != theCode || got.State != attempt.State {
		t.Errorf("callback %+v", got)
	}
	want := "app_key=id-1&redirect_uri=https%3A%2F%2Ftokens.example%2Fcb%3Fx%3D1&username=user%40x&password=" + md5Of(t, account["password"]) +
		"&state=CANARY-STATE-0123456789&code_challenge=" + challengeOfAttempt
	if r.method != "GET" || r.path != "/authorize" || r.query != want {
		t.Errorf("request %+v", r)
	}
}

func md5Of(t *testing.T, text string) string {
	t.Helper()
	b := bind(t, realmOf(t, `{"url":"https://x.example/","token_path":"t","arguments":[{"name":"a","place":"url","expr":"md5(secret.v)"}]}`, ""), map[string]string{"v": text})
	out, err := b.program.fetch.render(b.values, b.ref)
	if err != nil {
		t.Fatal(err)
	}
	_, sum, _ := strings.Cut(out.url, "=")
	return sum
}

// A refused code is one that comes back in the callback: it is for Judge.
func TestAuthorizeIsDenied(t *testing.T) {
	got, failed, _ := authorizeFrom(t, ownRealm, redirecting(303, "https://tokens.example/cb?x=1&error=access_denied&state=CANARY-STATE-0123456789"))
	if failed != nil || got == nil || got.Error != "access_denied" {
		t.Errorf("callback %+v, %v", got, failed)
	}
}

// A refusal says why also where the provider leaves the state out of it (RFC
// 6749 section 4.1.2.1 requires it): it was told to be an unknown state, and
// the password was tried again.
func TestDeniedWithoutAState(t *testing.T) {
	got, failed, _ := authorizeFrom(t, ownRealm, redirecting(302, "https://tokens.example/cb?x=1&error=access_denied&error_description=CANARY-PASSWORD%2F1+is+wrong"))
	if got != nil || failed == nil || failed.Kind != KindDenied || failed.Class != Hopeless || failed.ProviderCode != "access_denied" || failed.ProviderMessage != realm.Mask+" is wrong" {
		t.Errorf("callback %+v, %+v", got, failed)
	}
	_, failed, _ = authorizeFrom(t, ownRealm, redirecting(302, "https://tokens.example/cb?x=1&error=access_denied&error_description=no+"+attempt.State.Reveal()))
	if failed == nil || failed.ProviderMessage != "no "+realm.Mask {
		t.Errorf("the words quote the state: %+v", failed)
	}
	got, failed, _ = authorizeFrom(t, ownRealm, redirecting(302, "https://tokens.example/cb?x=1&error=access_denied&state=another"))
	if got != nil || failed == nil || failed.Kind != KindRefused || !strings.Contains(failed.Detail, "the state") {
		t.Errorf("of another state: %+v, %+v", got, failed)
	}
}

// TestLocations compares where a redirect goes with the callback URL.
func TestLocations(t *testing.T) {
	const state = "state=CANARY-STATE-0123456789"
	for _, c := range []struct{ callback, location, why string }{
		{"https://t.example/cb", "https://t.example/cb?" + state, ""},
		{"https://t.example/cb", "HTTPS://T.EXAMPLE/cb?" + state, ""},
		{"https://t.example/cb", "https://t.example:443/cb?" + state, ""},
		{"https://t.example:443/cb", "https://t.example/cb?" + state, ""},
		{"http://t.example/cb", "http://t.example:80/cb?" + state, ""},
		{"https://t.example/cb", "https://t.example/cb?" + state + "#code=x", ""},
		{"https://t.example", "https://t.example/?" + state, ""},
		{"https://t.example/a%2Fb", "https://t.example/a%2Fb?" + state, ""},
		{"https://t.example/cb?a=b%20c", "https://t.example/cb?" + state + "&a=b+c", ""},
		{"@/cb", "/cb?" + state, ""},
		{"@/x/cb", "cb?" + state, ""},
		{"@/cb", "../cb?" + state, ""},
		{"https://[::1]:8443/cb", "https://[::1]:8443/cb?" + state, ""},

		{"https://t.example/cb", "http://t.example/cb?" + state, "its scheme"},
		{"http://t.example/cb", "https://t.example/cb?" + state, "its scheme"},
		{"https://t.example/cb", "https://u@t.example/cb?" + state, "its user"},
		{"https://t.example/cb", "https://t.example.evil.example/cb?" + state, "its host"},
		{"https://t.example/cb", "https://evil.example\\@t.example/cb?" + state, "cannot be read"},
		{"https://t.example/cb", "/cb?" + state, "its scheme"},
		{"https://t.example/cb", "https://t.example:8443/cb?" + state, "its port"},
		{"https://t.example/cb", "https://t.example/cb/?" + state, "its path"},
		{"https://t.example/cb", "https://t.example/CB?" + state, "its path"},
		{"https://t.example/a/b", "https://t.example/a%2Fb?" + state, "its path"},
		{"https://t.example/cb?a=b", "https://t.example/cb?" + state, "its query"},
		{"https://t.example/cb?a=b", "https://t.example/cb?a=c&" + state, "its query"},
		{"https://t.example/cb?a=b&c=d", "https://t.example/cb?a=b&" + state, "its query"},
		{"https://t.example/cb", "https://t.example:x/cb?" + state, "cannot be read"},
		{"https://t.example/cb", "", "cannot be read"},
		{"https://t.example/cb", "myapp:cb?" + state, "its scheme"},
	} {
		config := strings.Replace(ownRealm, `"https://tokens.example/cb?x=1"`, fmt.Sprintf("%q", c.callback), 1)
		config = strings.Replace(config, "@/authorize", "@/x/authorize", 1)
		answer := func(w http.ResponseWriter, _ *http.Request) {
			if c.location != "" {
				w.Header().Set("Location", c.location)
			}
			w.WriteHeader(http.StatusFound)
		}
		got, failed, _ := authorizeFrom(t, config, answer)
		switch {
		case c.why == "":
			if failed != nil || got == nil || got.State != attempt.State {
				t.Errorf("%s to %s: %+v, %v", c.location, c.callback, got, failed)
			}
		case failed == nil, failed.Kind != KindRedirect, failed.Class != Hopeless, !strings.Contains(failed.Detail, c.why), got != nil:
			t.Errorf("%s to %s: %+v, %+v", c.location, c.callback, got, failed)
		}
	}
}

// TestCallbacksNotTaken: a redirect to the callback URL that is not the answer
// to what was sent.
func TestCallbacksNotTaken(t *testing.T) {
	const head = "https://tokens.example/cb?x=1"
	for location, want := range map[string]struct {
		kind   Kind
		class  Class
		detail string
	}{
		head + "&code=CANARY-CODE":                                          {KindRefused, Retryable, "the state"},
		head + "&code=CANARY-CODE&state=CANARY-STATE-0123456780":            {KindRefused, Retryable, "the state"},
		head + "&code=CANARY-CODE&state=":                                   {KindRefused, Retryable, "the state"},
		head + "&code=CANARY-CODE&state=" + attempt.State.Reveal() + "x":    {KindRefused, Retryable, "the state"},
		head + "&code=CANARY-CODE&code=CANARY-CODE&state=a":                 {KindBadResponse, Retryable, "twice"},
		head + "#code=CANARY-CODE&state=" + attempt.State.Reveal():          {KindBadResponse, Hopeless, "fragment"},
		head + "&state=" + attempt.State.Reveal() + "&code=%zz-CANARY-CODE": {KindBadResponse, Retryable, "encoded"},
	} {
		got, failed, _ := authorizeFrom(t, ownRealm, redirecting(302, location))
		if got != nil || failed == nil || failed.Kind != want.kind || failed.Class != want.class || !strings.Contains(failed.Detail, want.detail) || strings.Contains(failed.Error(), "CANARY") {
			t.Errorf("%s: %+v, %+v", location, got, failed)
		}
	}
}

func TestAnswersToAuthorize(t *testing.T) {
	ruled := strings.Replace(ownRealm, `"authorize":{`, `"authorize":{"success":[{"json":"code","values":[200]}],`, 1)
	for _, c := range []struct {
		name, config, contentType, body string
		status                          int
		kind                            Kind // "" for the callback that comes from elsewhere
		class                           Class
		code                            string
	}{
		{"nothing", ownRealm, "", "", 200, "", 0, ""},
		{"204", ownRealm, "", "", 204, "", 0, ""},
		{"a text", ownRealm, "text/plain", "success", 200, "", 0, ""},
		{"a text in the usual type", ownRealm, "text/html;charset=GBK", "success", 200, "", 0, ""},
		{"JSON", ownRealm, "", `{"code":0,"msg":"ok"}`, 200, "", 0, ""},
		{"JSON without a code", ownRealm, "text/html", `{"message":"a < b"}`, 200, "", 0, ""},
		{"a rule that is met", ruled, "", `{"code":"200"}`, 200, "", 0, ""},

		{"a rule that is not met", ruled, "", `{"code":500,"msg":"x"}`, 200, KindRefused, Retryable, "500"},
		{"a rule without JSON", ruled, "", `ok`, 200, KindRefused, Retryable, ""},
		{"a wrong password in JSON", ownRealm, "", `{"error":"access_denied","error_description":"CANARY-PASSWORD/1 is wrong"}`, 200, KindRefused, Hopeless, "access_denied"},
		{"a wrong client", ownRealm, "", `{"error":"invalid_client"}`, 401, KindRefused, Hopeless, "invalid_client"},
		{"an unknown code", ownRealm, "", `{"code":8011,"msg":"x"}`, 200, KindRefused, Retryable, "8011"},
		{"400 and a page", ownRealm, "text/html", "<html>CANARY", 400, KindRefused, Hopeless, ""},
		{"429", ownRealm, "", "", 429, KindRefused, Throttled, ""},
		{"500 and a page", ownRealm, "text/html", "<html>CANARY", 500, KindRefused, Retryable, ""},
		{"a login page", ownRealm, "text/html", "\n <!DOCTYPE html><title>CANARY-PASSWORD/1</title>", 200, KindBadResponse, Hopeless, ""},
		{"a login page without a type", ruled, "application/json", "<form>CANARY", 200, KindBadResponse, Hopeless, ""},
		{"a login page in GBK", ownRealm, "text/html;charset=GBK", "<html>\xb5\xc7\xc2\xbc", 200, KindBadResponse, Hopeless, ""},
		{"a page that begins with a text", ownRealm, "text/HTML", "CANARY <form>", 200, KindBadResponse, Hopeless, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed, _ := authorizeFrom(t, c.config, answering(c.status, c.contentType, c.body))
			if got != nil {
				t.Errorf("callback %+v", got)
			}
			switch {
			case failed == nil && c.kind == "":
			case failed == nil, failed.Kind != c.kind, failed.Class != c.class, failed.ProviderCode != c.code, strings.Contains(failed.Error(), "CANARY"):
				t.Errorf("error %+v", failed)
			case c.kind == KindBadResponse && !strings.Contains(failed.Detail, "user name or password"):
				t.Errorf("detail %q", failed.Detail)
			}
		})
	}
}

func TestExchange(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"access_token":"T","expires_in":3600,"refresh_token":"R"}`))
	b := bind(t, realmOf(t, ownRealm, p.URL), account)
	got, err := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
	if err != nil {
		t.Fatal(err)
	}
	token := got.Token
	if token.Access != "T" || token.Refresh != "R" || !token.ExpiresAt.Equal(noon.Add(time.Hour)) || token.Fingerprint != b.Fingerprint() {
		t.Errorf("token %+v", token)
	}
	sign := strings.ToUpper(md5Of(t, "SECRET/1"+theCode+attempt.State.Reveal()+attempt.Verifier.Reveal()+account["redirect_uri"]))
	want := "code=CANARY-CODE%2F1%2B2&v=" + attempt.Verifier.Reveal() + "&s=" + attempt.State.Reveal() + "&sign=" + sign
	if r := p.requests[0]; len(p.requests) != 1 || r.method != "POST" || r.path != "/token" || r.body != want {
		t.Errorf("requests %+v", p.requests)
	}
	_, err = b.Exchange(t.Context(), testClient(t), attempt, "", Request{})
	if failed := failure(t, err); failed.Kind != KindInactive || !failed.NotSent || len(p.requests) != 1 {
		t.Errorf("without a code: %+v", failed)
	}
}

// A code that is refused is no refresh token that is refused: the next one may
// be good. A client that is refused stays so.
func TestCodeRefused(t *testing.T) {
	for body, class := range map[string]Class{`{"error":"invalid_grant"}`: Retryable, `{"error":"invalid_client"}`: Hopeless} {
		p := newProvider(t, answering(400, "", body))
		_, err := bind(t, realmOf(t, ownRealm, p.URL), account).Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
		if failed := failure(t, err); failed.Kind != KindRefused || failed.Class != class {
			t.Errorf("%s: %+v", body, failed)
		}
	}
}

// TestNothingOfAnAuthorizationIsShown: the provider quotes everything that it
// got, in its words and in a header.
func TestNothingOfAnAuthorizationIsShown(t *testing.T) {
	secret := []string{account["password"], "SECRET/1"}
	sent := append([]string{attempt.State.Reveal(), attempt.Verifier.Reveal()}, secret...)
	asked := append([]string{md5Of(t, account["password"])}, sent...)
	exchanged := append([]string{theCode, url.QueryEscape(theCode)}, sent...)
	var quoted []string
	p := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/"+strings.Join(quoted, "/"))
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "E " + strings.Join(quoted, " "), "error_description": strings.Join(quoted, ", ")})
	})
	b := bind(t, realmOf(t, ownRealm, p.URL), account)
	for name, c := range map[string]struct {
		canaries []string
		do       func(*Report) error
	}{
		"authorize": {asked, func(r *Report) error {
			_, err := b.Authorize(t.Context(), testClient(t), attempt, Request{Report: r})
			return err
		}},
		"exchange": {exchanged, func(r *Report) error {
			_, err := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{Report: r})
			return err
		}},
		"judge": {append([]string{theCode, attempt.State.Reveal()}, secret...), func(*Report) error {
			return b.Judge(Callback{Code: theCode, State: attempt.State, Error: strings.Join(quoted, " "), Description: strings.Join(quoted, ", ")})
		}},
	} {
		var report Report
		quoted = c.canaries
		err := c.do(&report)
		if failed := failure(t, err); failed.Kind != KindRefused || !strings.Contains(failed.ProviderCode, realm.Mask) || !strings.Contains(failed.ProviderMessage, realm.Mask) {
			t.Errorf("%s: %+v", name, failed)
		}
		shown, wrong := json.Marshal(report)
		if wrong != nil {
			t.Fatal(wrong)
		}
		text := fmt.Sprintf("%v %+v %#v %+v %s", err, err, err, report, shown)
		for _, canary := range append(c.canaries, challengeOfAttempt) {
			if strings.Contains(text, canary) {
				t.Errorf("%s shows %s: %s", name, canary, text)
			}
		}
		if name == "authorize" && !strings.Contains(report.Request.URL, "https://tokens.example/cb?x=1") {
			t.Errorf("the callback URL is not shown: %s", report.Request.URL)
		}
	}
}

// TestAuthorizationIsSentOnce: a connection of its own for each call, and no
// second attempt where the first one breaks.
func TestAuthorizationIsSentOnce(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var connections, requests atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			r := bufio.NewReader(conn)
			if _, err := http.ReadRequest(r); err == nil {
				requests.Add(1)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-")
			_ = conn.Close()
		}
	}()
	b := bind(t, realmOf(t, ownRealm, "http://"+l.Addr().String()), account)
	client := testClient(t)
	for i, do := range []func() error{
		func() error { _, err := b.Authorize(t.Context(), client, attempt, Request{}); return err },
		func() error { _, err := b.Exchange(t.Context(), client, attempt, theCode, Request{}); return err },
		func() error { _, err := b.Exchange(t.Context(), client, attempt, theCode, Request{}); return err },
	} {
		if failed := failure(t, do()); failed.Kind != KindConnection || failed.Class != Retryable || failed.NotSent {
			t.Errorf("error %+v", failed)
		}
		if c, r := int(connections.Load()), int(requests.Load()); c != i+1 || r != i+1 {
			t.Errorf("%d connections and %d requests after %d calls", c, r, i+1)
		}
	}
}

func TestWhatCannotAuthorize(t *testing.T) {
	const rest = `"token_path":"t","authorize":{"url":"https://x/a?s={state}"},"exchange":{"url":"https://x/e?c={code}"}`
	for config, want := range map[string]string{
		`{` + rest + `,"callback_url":"https://y.example/cb"}`: "",
		`{` + rest + `}`: "the realm has no callback_url",
		`{"token_path":"t","callback_url":"https://y.example","exchange":{"url":"https://x/e?c={code}"}}`:   "the realm has no authorize recipe",
		`{"token_path":"t","callback_url":"https://y.example","authorize":{"url":"https://x/a?s={state}"}}`: "the realm has no exchange recipe",
		`{"url":"https://x/t","token_path":"t"}`:                                                            "the realm has no authorize recipe",
		`{}`:                                                                                                "the realm has fixed tokens",
		`{"grant":{"name":"authorization_code","token_url":"https://x/t"}}`:                                 "the realm has no authorize recipe",
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		if p.NoAuthorize() != want || p.CanAuthorize() != (want == "") || p.Unattended() {
			t.Errorf("%s: %q, unattended %v", config, p.NoAuthorize(), p.Unattended())
		}
		b, err := p.Bind(secretOf(map[string]string{"token": "T", "client_id": "a", "client_secret": "b"}))
		if err != nil || want == "" {
			continue
		}
		_, opening := b.AuthorizeURL(attempt, nil)
		_, calling := b.Authorize(t.Context(), testClient(t), attempt, Request{})
		_, exchanging := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
		for _, err := range []error{opening, calling, exchanging} {
			if failed := failure(t, err); failed.Kind != KindInactive || failed.Detail != want || !failed.NotSent {
				t.Errorf("%s: %+v", config, failed)
			}
		}
		if b.CallbackURL() != "" {
			t.Errorf("%s: callback URL %s", config, b.CallbackURL())
		}
	}
}

// An unattended realm can fetch, by two calls that Fetch does not make.
func TestUnattendedFetches(t *testing.T) {
	b := bind(t, realmOf(t, ownRealm, "https://x.example"), account)
	if p := b.program; !p.CanFetch() || !p.Unattended() || !p.Fetches() || p.Inactive() != "" || b.SecretRefreshToken() != "" {
		t.Errorf("fetch %v, unattended %v, inactive %q", p.CanFetch(), p.Unattended(), p.Inactive())
	}
	_, err := b.Fetch(t.Context(), testClient(t), Request{})
	if failed := failure(t, err); failed.Kind != KindInactive || !failed.NotSent || !strings.Contains(failed.Detail, "authorization") {
		t.Errorf("fetch: %+v", failed)
	}
	attended := bind(t, realmOf(t, strings.Replace(ownRealm, `"unattended":true,`, "", 1), "https://x.example"), account).program
	if attended.CanFetch() || attended.Unattended() || !attended.CanAuthorize() || attended.Inactive() != "" {
		t.Errorf("attended: fetch %v, unattended %v, inactive %q", attended.CanFetch(), attended.Unattended(), attended.Inactive())
	}
}

func TestAuthorizeURL(t *testing.T) {
	const exchange = `"callback_url":"{secret.redirect_uri}","token_path":"t","exchange":{"url":"https://x.example/e?c={code}"}`
	for authorize, want := range map[string]string{
		`"url":"https://x.example/{tenant}/a?x=1","arguments":[{"name":"tenant","place":"path","value":"$tenant"},{"name":"s","place":"url","value":"{state}"},{"name":"u","place":"url","value":"{callback_url}"}]`: "https://x.example/acme/a?x=1&s=CANARY-STATE-0123456789&u=https%3A%2F%2Ftokens.example%2Fcb%3Fx%3D1",
		`"url":"https://x.example/a?s={state}","method":"POST"`:                                                      "",
		`"url":"https://x.example/a?s={state}","arguments":[{"name":"X","place":"header","value":"1"}]`:              "",
		`"url":"https://x.example/a?s={state}","arguments":[{"name":"u","place":"basic","value":"1"}]`:               "",
		`"url":"https://x.example/a?s={state}","method":"PUT","arguments":[{"name":"u","place":"body","value":"1"}]`: "",
	} {
		got, err := bind(t, realmOf(t, `{"authorize":{`+authorize+`},`+exchange+`}`, ""), account).AuthorizeURL(attempt, nil)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v", authorize, got, err)
		}
	}
	// The request of an unattended realm holds a password.
	got, err := bind(t, realmOf(t, ownRealm, "https://x.example"), account).AuthorizeURL(attempt, nil)
	if failed := failure(t, err); got != "" || failed.Kind != KindInactive {
		t.Errorf("unattended: %s, %+v", got, failed)
	}
}

// What an authorization needs of a secret is told when the secret is saved.
func TestBindAuthorization(t *testing.T) {
	own := strings.Replace(strings.ReplaceAll(ownRealm, "@", "https://x.example"), `"https://tokens.example/cb?x=1"`, `"{secret.redirect_uri}"`, 1)
	for field, c := range map[string]struct{ name, value string }{
		"username":            {"username", ""},
		"redirect_uri":        {"redirect_uri", ""},
		"config.callback_url": {"redirect_uri", "/cb"},
		"client_secret":       {"client_secret", ""},
	} {
		fields := map[string]realm.Hidden{}
		for name, value := range account {
			fields[name] = realm.Hidden(value)
		}
		if fields[c.name] = realm.Hidden(c.value); c.value == "" {
			delete(fields, c.name)
		}
		p, err := Compile(realmOf(t, own, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Bind(realm.Secret{Fields: fields})
		var wrong *realm.FieldError
		if !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if got := bind(t, realmOf(t, own, ""), account).CallbackURL(); got != account["redirect_uri"] {
		t.Errorf("callback URL %s", got)
	}
}

// The same for the fields of the exchange and of the issuer.
func TestBindExchange(t *testing.T) {
	for name, config := range map[string]string{
		"tenant": codeRealmOf(``, `,"exchange":{"arguments":[{"name":"X-Tenant","place":"header","value":"$tenant"}]}`),
		"issuer": codeRealmOf(`,"issuer":"{secret.issuer}"`, ``),
	} {
		p, err := Compile(realmOf(t, config, "https://x.example"), false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Bind(secretOf(map[string]string{"client_id": "a", "client_secret": "b", "tenant": "acme\r\nX: y"}))
		if wrong := new(realm.FieldError); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A redirect to two places is one to none.
func TestTwoLocations(t *testing.T) {
	got, failed, _ := authorizeFrom(t, ownRealm, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Location"] = []string{goodCallback, "https://evil.example"}
		w.WriteHeader(http.StatusFound)
	})
	if got != nil || failed == nil || failed.Kind != KindRedirect || failed.Class != Hopeless {
		t.Errorf("callback %+v, %+v", got, failed)
	}
}

// TestRefusal: what may be about the password, and what is certainly not.
func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want bool
	}{
		{Error{Kind: KindBadResponse, Class: Hopeless}, true}, // a login page
		{Error{Kind: KindDenied}, true},
		{Error{Kind: KindRefused}, true},
		{Error{Kind: KindRefused, Status: 200, ProviderCode: "8011"}, true},
		{Error{Kind: KindRefused, Status: 302, ProviderCode: "Server_Error"}, false},
		{Error{Kind: KindRefused, Status: 503}, false},
		{Error{Kind: KindRefused, Status: 408}, false},
		{Error{Kind: KindRefused, Status: 429, Class: Throttled}, false},
		{Error{Kind: KindTimeout}, false},
		{Error{Kind: KindBadResponse}, false},
	} {
		if got := c.e.Refusal(); got != c.want {
			t.Errorf("%+v: %t", c.e, got)
		}
	}
}
