package fakeprovider_test

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

var vopKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func hexMD5(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func newVOPBench(t *testing.T, redirect string, codes fakeprovider.CodeRule) *bench {
	t.Helper()
	return newBench(t, fakeprovider.Options{
		Style: fakeprovider.JDVOP, Codes: codes, Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Stable, Life: 48 * time.Hour},
		Users: map[string]string{"buyer": "jd-password"}, Redirects: map[string]string{"app": redirect},
		Keys: map[string]*rsa.PublicKey{"app": &vopKey().PublicKey},
	})
}

func (b *bench) vop(redirect, password string) answer {
	b.t.Helper()
	signature, err := rsa.SignPKCS1v15(nil, vopKey(), 0, []byte(hexMD5(password)))
	if err != nil {
		b.t.Fatal(err)
	}
	q := url.Values{
		"app_key": {"app"}, "redirect_uri": {redirect}, "username": {"buyer"}, "password": {base64.StdEncoding.EncodeToString(signature)},
		"response_type": {"code"}, "scope": {"snsapi_base"}, "state": {"s1"},
	}
	req := b.request(http.MethodGet, "/oauth2/authorizeForVOP?"+q.Encode(), nil)
	req.Close = true // as our client does: the provider's own call outlives the connection
	return b.send(req)
}

func (b *bench) vopExchange(code string) answer {
	b.t.Helper()
	return b.get("/oauth2/access_token?grant_type=authorization_code&app_key=app&app_secret=s3cret&code=" + code)
}

func TestVOPRedirectsWithACode(t *testing.T) {
	b := newVOPBench(t, callback, fakeprovider.CodeRule{})
	a := b.vop(callback, "jd-password")
	to, err := url.Parse(a.header.Get("Location"))
	if a.status != http.StatusFound || err != nil || to.Query().Get("state") != "s1" || to.Query().Get("tenant") != "1" {
		t.Fatalf("HTTP %d to %s", a.status, to)
	}
	got := b.vopExchange(to.Query().Get("code"))
	now := b.clock.now()
	if got.number("code") != 0 || got.number("expires_in") != 86400 || got.number("time") != int(now.UnixMilli()) ||
		got.number("refresh_token_expires") != int(now.Add(48*time.Hour).UnixMilli()) {
		t.Errorf("got %s", got.raw)
	}
	access, refresh := b.wantSpent(got)
	b.wantCode(b.vopExchange(to.Query().Get("code")), http.StatusOK, "code", 400102)
	b.wantLive(access, false) // a code that comes again ends what it gave
	if b.LiveRefresh(refresh) {
		t.Error("and the refresh token lives")
	}
}

func TestVOPRefreshes(t *testing.T) {
	b := newVOPBench(t, callback, fakeprovider.CodeRule{})
	pair := b.Authorize("app")
	query := "/oauth2/refresh_token?grant_type=refresh_token&app_key=app&app_secret=s3cret&refresh_token=" + pair.Refresh
	b.wantSpent(b.get(query))
	b.wantSpent(b.send(b.request(http.MethodPost, query, nil)))
	b.wantLive(pair.Access, true) // several live at once
}

func TestVOPCodeLivesFiveMinutes(t *testing.T) {
	b := newVOPBench(t, callback, fakeprovider.CodeRule{})
	to, _ := url.Parse(b.vop(callback, "jd-password").header.Get("Location"))
	b.clock.advance(5 * time.Minute)
	b.wantCode(b.vopExchange(to.Query().Get("code")), http.StatusOK, "code", 400102)
}

func TestVOPRefusesAWrongPassword(t *testing.T) {
	b := newVOPBench(t, callback, fakeprovider.CodeRule{})
	if a := b.vop(callback, "x"); a.status != http.StatusOK || !strings.HasPrefix(string(a.raw), "<html>") {
		t.Errorf("HTTP %d %s", a.status, a.raw)
	}
	b = newVOPBench(t, callback, fakeprovider.CodeRule{RefusalRedirects: true})
	if a := b.vop(callback, "x"); a.header.Get("Location") != callback+"&error=access_denied&state=s1" {
		t.Errorf("HTTP %d to %s", a.status, a.header.Get("Location"))
	}
	b.wantCode(b.vop("https://evil.example", "jd-password"), http.StatusOK, "code", 400100)
}

func TestVOPCallsTheRedirectURI(t *testing.T) {
	for _, delivery := range []fakeprovider.Delivery{fakeprovider.CallsFirst, fakeprovider.CallsLater} {
		called := make(chan url.Values, 1)
		answered := make(chan struct{})
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if delivery == fakeprovider.CallsLater {
				<-answered // it would never come if the call came first
			}
			called <- r.URL.Query()
			w.WriteHeader(http.StatusTeapot)
		}))
		t.Cleanup(app.Close)
		b := newVOPBench(t, app.URL+"/callback", fakeprovider.CodeRule{Delivery: delivery})
		if a := b.vop(app.URL+"/callback", "jd-password"); a.status != http.StatusOK || string(a.raw) != "{}" {
			t.Fatalf("%s: HTTP %d %s", delivery, a.status, a.raw)
		}
		if delivery == fakeprovider.CallsFirst && len(called) != 1 {
			t.Errorf("%s: it answered before it called", delivery)
		}
		close(answered)
		q := <-called
		b.wantSpent(b.vopExchange(q.Get("code")))
		if q.Get("state") != "s1" {
			t.Errorf("%s: %v", delivery, q)
		}
		b.waitFor(func(e fakeprovider.Event) bool {
			return e.Kind == fakeprovider.CalledBack && e.Reason == "418" && e.User == "buyer"
		})
	}
}

// waitFor polls the ledger until an event is there.
func (b *bench) waitFor(fits func(fakeprovider.Event) bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); ; {
		for _, e := range b.Events() {
			if fits(e) {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("it never happened: %s", b.story())
		}
	}
}

func TestVOPCallThatNobodyTakesIsWrittenDown(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	b := newVOPBench(t, gone.URL, fakeprovider.CodeRule{Delivery: fakeprovider.CallsFirst})
	b.vop(gone.URL, "jd-password")
	if last := b.Events()[len(b.Events())-1]; last.Kind != fakeprovider.CalledBack || last.Reason != "no answer" {
		t.Errorf("the ledger ends with %+v", last)
	}
}

// A call that nobody took is made once more, and not a third time; one that was
// taken is not.
func TestVOPCallsAgain(t *testing.T) {
	for _, delivery := range []fakeprovider.Delivery{fakeprovider.CallsFirst, fakeprovider.CallsLater} {
		for _, statuses := range [][]int{{502, 503}, {502, 400}, {400}, {200}} {
			var visits atomic.Int64
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(statuses[min(int(visits.Add(1)), len(statuses))-1])
			}))
			b := newVOPBench(t, app.URL, fakeprovider.CodeRule{Delivery: delivery, CallsAgain: time.Millisecond})
			srv := httptest.NewServer(b.Provider)
			b.url = srv.URL
			b.vop(app.URL, "jd-password")
			srv.Close() // waits for all that the provider still does
			app.Close()
			if n := int(visits.Load()); n != len(statuses) {
				t.Errorf("%s, %v: %d calls", delivery, statuses, n)
			}
		}
	}
}

func TestJDLetsAPersonIn(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{Style: fakeprovider.JD})
	q := url.Values{"app_key": {"app"}, "response_type": {"code"}, "redirect_uri": {callback}, "state": {"s"}, "scope": {"snsapi_base"}}
	code := b.open(anna, b.url+"/oauth2/to_login?"+q.Encode()).Get("code")
	access, _ := b.wantSpent(b.vopExchange(code))
	if a := b.get("/routerjson?access_token=" + access); a.text("code") != "0" || b.Calls() != 1 {
		t.Errorf("the API does not know the token: %s", a.raw)
	}
	q.Set("scope", "read")
	if q := b.open(anna, b.url+"/oauth2/to_login?"+q.Encode()); q.Get("error") != "invalid_request" {
		t.Errorf("another scope: %v", q)
	}
}

func TestSuningLetsAPersonIn(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{Style: fakeprovider.Suning, Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict, Life: time.Hour}})
	q := url.Values{"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {callback}, "state": {"s"}}
	open := func() url.Values { return b.open(anna, b.url+"/api/oauth/authorize?"+q.Encode()) }
	if q := open(); q.Get("error") != "invalid_request" {
		t.Errorf("without an item code: %v", q)
	}
	q.Set("itemcode", "1001")
	args := url.Values{"client_id": {"app"}, "client_secret": {"s3cret"}, "grant_type": {"authorization_code"}, "code": {open().Get("code")}}
	b.wantInvalidGrant(b.get("/api/oauth/token?" + args.Encode())) // without the redirect URI
	args.Set("redirect_uri", callback)
	a := b.get("/api/oauth/token?" + args.Encode())
	access, refresh := b.wantSpent(a)
	if a.number("re_expires_in") != 3600 {
		t.Errorf("got %s", a.raw)
	}
	req := b.request(http.MethodGet, "/api/http/sopRequest", nil)
	req.Header.Set("Access_token", access)
	if b.send(req); b.Calls() != 1 {
		t.Error("the API does not know the token")
	}
	args = url.Values{"client_id": {"app"}, "client_secret": {"s3cret"}, "grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	b.wantSpent(b.get("/api/oauth/token?" + args.Encode()))
}

// bill is a signed request at the given time; change may spoil it before or
// after it is signed.
func (b *bench) bill(at time.Time, before, after func(url.Values)) answer {
	b.t.Helper()
	args := url.Values{
		"grant_type": {"access_token"}, "client_id": {"app"}, "username": {"采购"}, "password": {hexMD5("jd-password")},
		"timestamp": {at.In(time.FixedZone("", 8*3600)).Format(time.DateTime)},
	}
	before(args)
	text := "s3cret"
	for _, name := range []string{"timestamp", "client_id", "username", "password", "grant_type", "scope"} {
		text += args.Get(name)
	}
	args.Set("sign", strings.ToUpper(hexMD5(text+"s3cret")))
	after(args)
	return b.postForm("/oauth2/accessToken", args)
}

func (b *bench) postForm(path string, args url.Values) answer {
	b.t.Helper()
	req := b.request(http.MethodPost, path, []byte(args.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.send(req)
}

func keep(url.Values) {}

func set(name, value string) func(url.Values) {
	return func(args url.Values) { args.Set(name, value) }
}

func newBillBench(t *testing.T) *bench {
	t.Helper()
	return newBench(t, fakeprovider.Options{
		Style: fakeprovider.JDBill, Users: map[string]string{"采购": "jd-password"},
		Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Stable, Life: 48 * time.Hour},
	})
}

// result is the object in which JD's bill says everything.
func (a answer) result() answer {
	inner, _ := a.json["result"].(map[string]any)
	return answer{status: a.status, raw: a.raw, json: inner}
}

func TestJDBillWantsASignedRequest(t *testing.T) {
	b := newBillBench(t)
	now := b.clock.now()
	for name, c := range map[string]struct {
		at            time.Time
		before, after func(url.Values)
		want          string
	}{
		"as documented":     {now, keep, keep, "0000"},
		"an empty scope":    {now, set("scope", ""), keep, "0000"},
		"a scope":           {now, set("scope", "order"), keep, "0000"},
		"unsigned scope":    {now, keep, set("scope", "order"), "1007"},
		"with the secret":   {now, keep, set("client_secret", "s3cret"), "0000"},
		"another secret":    {now, keep, set("client_secret", "x"), "1005"},
		"half an hour late": {now.Add(-30 * time.Minute), keep, keep, "0000"},
		"later":             {now.Add(-31 * time.Minute), keep, keep, "1008"},
		"not Beijing time":  {now.Add(-8 * time.Hour), keep, keep, "1008"},
		"wrong password":    {now, set("password", hexMD5("x")), keep, "1006"},
		"unknown user":      {now, set("username", "x"), keep, "1006"},
		"unknown app":       {now, set("client_id", "x"), keep, "1005"},
	} {
		a := b.bill(c.at, c.before, c.after)
		if granted, _ := a.json["success"].(bool); a.text("resultCode") != c.want || granted != (c.want == "0000") {
			t.Errorf("%s: HTTP %d %s", name, a.status, a.raw)
		}
	}
	if b.Fetches("采购") != 11 || b.Fetches("app") != 11 {
		t.Errorf("%d fetches of the user, %d of the app", b.Fetches("采购"), b.Fetches("app"))
	}
}

func TestJDBillAnswersInItsResult(t *testing.T) {
	b := newBillBench(t)
	a := b.bill(b.clock.now(), keep, keep).result()
	access, refresh := b.wantSpent(a)
	if now := b.clock.now(); a.number("time") != int(now.UnixMilli()) || a.number("expires_in") != 86400 ||
		a.number("refresh_token_expires") != int(now.Add(48*time.Hour).UnixMilli()) {
		t.Errorf("got %s", a.raw)
	}
	args := url.Values{"client_id": {"app"}, "client_secret": {"s3cret"}, "refresh_token": {refresh}}
	b.wantSpent(b.postForm("/oauth2/refreshToken", args).result())
	if a := b.postForm("/api/product/getPageNum", url.Values{"token": {access}}); a.text("resultCode") != "0000" {
		t.Errorf("got %s", a.raw)
	}
	if a := b.postForm("/api/product/getPageNum", url.Values{"token": {"x"}}); a.text("resultCode") != "1003" {
		t.Errorf("got %s", a.raw)
	}
}

func TestTheEndOfARefreshTokenCanBeToldInSeconds(t *testing.T) {
	b := newBench(t, fakeprovider.Options{
		Style:   fakeprovider.JDVOP,
		Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Stable, Life: time.Hour, Seconds: true},
	})
	pair := b.Authorize("app")
	a := b.get("/oauth2/refresh_token?grant_type=refresh_token&app_key=app&app_secret=s3cret&refresh_token=" + pair.Refresh)
	if a.number("refresh_token_expires") != 3600 {
		t.Errorf("got %s", a.raw)
	}
}

func TestTheRequestOfAnAppCanBeHeld(t *testing.T) {
	b := newVOPBench(t, callback, fakeprovider.CodeRule{})
	release := b.Hold()
	done := make(chan answer)
	go func() { done <- b.vop(callback, "jd-password") }()
	b.waitFor(func(e fakeprovider.Event) bool { return e.Kind == fakeprovider.Opened && e.User == "buyer" })
	if len(b.Codes()) != 0 || b.Peak("app") != 1 {
		t.Error("it did not wait")
	}
	release()
	if a := <-done; a.status != http.StatusFound {
		t.Errorf("HTTP %d", a.status)
	}
}
