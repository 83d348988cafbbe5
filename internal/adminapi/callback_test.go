package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// html expects one of the constant pages.
func (a answer) html(status int, want string) {
	a.t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "text/html; charset=utf-8" || a.body != want {
		a.t.Errorf("want %d, got %d, type %s: %s", status, a.status, a.header.Get("Content-Type"), a.body)
	}
	for name, want := range map[string]string{
		"Referrer-Policy":         "no-referrer",
		"Content-Security-Policy": pagePolicy,
	} {
		if got := a.header.Get(name); got != want {
			a.t.Errorf("%s: %q", name, got)
		}
	}
}

func TestCallbackPages(t *testing.T) {
	const query = "?code=canary-code&state=canary-state"
	for _, tt := range []struct {
		err    error
		status int
		page   string
	}{
		{nil, 200, workedPage(realm.Ref{Realm: "jd", Key: `<b>&"main"`})},
		{&realm.Error{Code: realm.CodeBadCallback, Status: 400, Detail: "unknown state"}, 400, pageWrong},
		{&realm.Error{Code: realm.CodeBadCallback, Status: 400, Detail: "denied"}, 400, pageWrong},
		{&realm.Error{Code: realm.CodeRealmNotFound, Status: 404}, 400, pageWrong},
		{&realm.Error{Code: realm.CodeSecretNotFound, Status: 404}, 400, pageWrong},
		{&realm.Error{Code: realm.CodeNotAuthorizable, Status: 409}, 400, pageWrong},
		{realm.Fieldf("state", "canary-state"), 400, pageWrong},
		{&realm.Error{Code: realm.CodeTokenUnavailable, Status: 502}, 502, pageFailed},
		{&realm.Error{Code: realm.CodeTokenUnavailable, Status: 503}, 503, pageFailed},
		{&realm.Error{Code: realm.CodeTokenUnavailable, Status: 504}, 504, pageFailed},
		{&realm.Error{Code: realm.CodeUnavailable, Status: 503}, 503, pageFailed},
		{errors.New("disk on fire"), 500, pageFailed},
	} {
		for name, h := range map[string]func(Broker, Catalog, Options) http.Handler{"all": New, "alone": NewCallback} {
			core, logs := observer.New(zap.DebugLevel)
			p, _ := newPuppet(t)
			p.err = tt.err
			c := caller{t, h(p, p, Options{Log: zap.New(core)})}
			c.send(http.MethodGet, "/jd-account/callback-token"+query, nil, "Sec-Fetch-Site", "cross-site", "Referer", "https://provider.example/").
				html(tt.status, tt.page)
			if p.cb.Code != "canary-code" || p.cb.State != "canary-state" || p.ref.Realm != "jd" {
				t.Errorf("%s: the broker got %v of %v", name, p.cb, p.ref)
			}
			// Whoever looks for the request in an access log finds it here.
			lines := logs.FilterMessage("handled a confidential request").All()
			if len(lines) != 1 || lines[0].ContextMap()["realm"] != "jd" || lines[0].ContextMap()["status"] != int64(tt.status) {
				t.Errorf("log: %v", logs.All())
			}
			if text := fmt.Sprint(logs.All()); strings.Contains(text, "canary-code") {
				t.Errorf("log: %s", text)
			}
		}
	}
}

// The page says what the consent was for, and what a name may hold is no HTML.
func TestWorkedPageNamesTheAccount(t *testing.T) {
	page := workedPage(realm.Ref{Realm: "jd<script>", Key: `"><img>&`})
	for _, want := range []string{"<b>jd&lt;script&gt;</b>", "<b>&#34;&gt;&lt;img&gt;&amp;</b>"} {
		if strings.Count(page, want) != 2 { // in English and Chinese
			t.Errorf("%s is not in %s", want, page)
		}
	}
	_, c := newPuppet(t)
	a := c.get("/jd-account/callback-token?code=canary-code&state=canary-state")
	if !strings.Contains(a.body, "<b>jd</b>") || !strings.Contains(a.body, "main") || strings.Contains(a.body, "canary") {
		t.Errorf("%s", a.body)
	}
}

// Pages look the same whatever is wrong, and no matter how.
func TestBrokenCallbacks(t *testing.T) {
	p, c := newPuppet(t)
	for _, query := range []string{
		"code=a&code=a&state=b", "code=%zz&state=b", "code=" + strings.Repeat("canary", 2000) + "&state=b",
	} {
		c.get("/jd-account/callback-token?"+query).html(http.StatusBadRequest, pageWrong)
	}
	if p.ref.Realm != "" {
		t.Errorf("the broker got %v", p.cb)
	}
}

// A preview of a link neither begins nor spends anything, and no log has it.
func TestCallbackMethods(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p, _ := newPuppet(t)
	c := caller{t, newLocal(p, p, Options{Log: zap.New(core)})}
	for n, method := range []string{"HEAD", "POST", "OPTIONS", "DELETE"} {
		a := c.send(method, "/jd-account/callback-token?code=canary&state=canary", nil)
		a.refused(http.StatusMethodNotAllowed, "method_not_allowed", "this path answers only GET")
		if got := a.header.Get("Allow"); got != "GET" {
			t.Errorf("%s: Allow %q", method, got)
		}
		if logs.Len() != n+1 {
			t.Errorf("%s: log %v", method, logs.All())
		}
	}
	c.send(http.MethodHead, "/api/secret/jd/main/authorize", nil).refused(http.StatusMethodNotAllowed, "method_not_allowed", "")
	if p.ref.Realm != "" || strings.Contains(fmt.Sprint(logs.All()), "canary") {
		t.Errorf("%v %v", p.ref, logs.All())
	}
}

// A panic ends in the page that every failure ends in.
func TestCallbackPanics(t *testing.T) {
	p, c := newPuppet(t)
	p.panics = "canary"
	c.get("/jd-account/callback-token?code=a&state=b").html(http.StatusInternalServerError, pageFailed)
}

// What is open to everybody is the callback, and nothing else.
func TestCallbackAlone(t *testing.T) {
	p, _ := newPuppet(t)
	h := NewCallback(p, p, Options{})
	for _, rt := range routes {
		target := strings.NewReplacer("{id}", "a", "{realm}", "b", "{key}", "c", "{taxpayer_id}", "9111").Replace(rt.path)
		w := httptest.NewRecorder()
		p.ref = realm.Ref{Realm: "untouched"}
		h.ServeHTTP(w, httptest.NewRequest(rt.method, target, nil))
		if reached := p.ref.Realm != "untouched"; reached != (rt.kind == kindCallback) {
			t.Errorf("%s %s: reached %v, %d", rt.method, rt.path, reached, w.Code)
		}
		if rt.kind != kindCallback && w.Code != http.StatusNotFound {
			t.Errorf("%s %s: %d", rt.method, rt.path, w.Code)
		}
	}
}

// The pages have no script, and load nothing.
func TestPages(t *testing.T) {
	for _, text := range []string{workedPage(realm.Ref{Realm: "jd", Key: "main"}), pageWrong, pageFailed} {
		if regexp.MustCompile(`(?i)<(script|link|img|form|a|base|iframe)\b|https?:|\son\w+=`).MatchString(text) {
			t.Error(text)
		}
		if strings.Count(text, "<style>"+pageStyle+"</style>") != 1 || strings.Contains(text, "style=") {
			t.Error("the policy knows another style")
		}
	}
}

// Anybody may cause a line of the log: a realm that cannot be one is not in
// it, and who hangs up is no failure of the server.
func TestCallbackLines(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p, _ := newPuppet(t)
	c := caller{t, NewCallback(p, p, Options{Log: zap.New(core)})}
	for _, id := range []string{strings.Repeat("canary", 50), "canary%00", "canary%0A", "canary%ff"} {
		c.get("/" + id + "-account/callback-token")
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	p.err = context.Canceled
	c.do(mustRequest(t, ctx, "/jd-account/callback-token?code=a&state=b"))
	lines := logs.All()
	if len(lines) != 5 {
		t.Fatalf("log: %v", lines)
	}
	for _, line := range lines {
		if line.Level != zap.InfoLevel || strings.Contains(fmt.Sprint(line), "canary") {
			t.Errorf("log: %v", line)
		}
	}
	if status, ok := lines[4].ContextMap()["status"]; ok {
		t.Errorf("nobody got the status %v", status)
	}
}

// stopped is a clock that stands.
type stopped time.Time

func (s stopped) Now() time.Time                       { return time.Time(s) }
func (stopped) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

// Bad callbacks fill no disk, and hide no good one.
func TestManyBadCallbacks(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p, _ := newPuppet(t)
	c := caller{t, NewCallback(p, p, Options{Log: zap.New(core, zap.WithClock(stopped(time.Unix(1, 0))))})}
	for _, err := range []error{
		&realm.Error{Code: realm.CodeBadCallback, Status: http.StatusBadRequest},
		&realm.Error{Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable},
	} {
		p.err = err
		for range sampledThen + sampledFirst {
			c.get("/jd-account/callback-token?code=a&state=b")
			c.send(http.MethodPost, "/jd-account/callback-token", nil)
		}
	}
	p.err = nil
	c.get("/jd-account/callback-token?code=a&state=b")
	lines := logs.All()
	if len(lines) > 3*sampledFirst || lines[len(lines)-1].ContextMap()["status"] != int64(http.StatusOK) {
		t.Errorf("%d lines, the last %v", len(lines), lines[len(lines)-1])
	}
}
