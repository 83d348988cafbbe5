package adminapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// tokenVerbs are the verbs that answer with a token, and what the broker is
// asked by each.
var tokenVerbs = map[string]string{"request-access-token": "authorize", "get-access-token": "token", "refresh-token": "flush"}

// text expects a token as text.
func (a answer) text(want string) {
	a.t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/plain; charset=utf-8" || a.body != want {
		a.t.Errorf("status %d, type %s: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
}

// The earlier service's clients send a POST with a query, a form (see
// TestMultipartForms, too), JSON or nothing, not even a type.
func TestAccountTokens(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	for verb, way := range tokenVerbs {
		for _, tt := range []struct{ query, kind, body, key string }{
			{"", "", "", "main"},
			{"?taxpayerId=&timeout=", "", "", "main"},
			{"?timeout=60", "", "", "main"},
			{"?taxpayerId=9111", "", "", "acme"},
			{"?taxpayerId=9111", form, "", "acme"},
			{"?taxpayerId=9111", js, "", "acme"},
			{"?taxpayerId=9111", "text/plain", "", "acme"},
			{"", form, "taxpayerId=9111&timeout=1&other=x", "acme"},
			{"", form + "; charset=UTF-8", "taxpayerId=%39111", "acme"},
			{"", js, `{"taxpayerId":"9111","timeout":5}`, "acme"},
			{"", js, `{"taxpayerId":"9111","timeout":"5"}`, "acme"},
			{"", js, `{"taxpayerId":null,"timeout":null}`, "main"},
			{"", js, `{}`, "main"},
			{"?taxpayerId=9111&timeout=5", js, `{"taxpayerId":"9111","timeout":5}`, "acme"},
			{"?timeout=5", form, "taxpayerId=9111&timeout=5", "acme"},
		} {
			p, c := newPuppet(t)
			var header []string
			if tt.kind != "" {
				header = []string{"Content-Type", tt.kind}
			}
			c.send(http.MethodPost, "/jd-account/"+verb+tt.query, strings.NewReader(tt.body), header...).text("at-1")
			if want := (realm.Ref{Realm: "jd", Key: tt.key}); p.way != way || p.ref != want {
				t.Errorf("%s%s %s: %s of %v", verb, tt.query, tt.body, p.way, p.ref)
			}
		}
	}
}

func TestAccountParameters(t *testing.T) {
	const form, js = "application/x-www-form-urlencoded", "application/json"
	for _, tt := range []struct{ query, kind, body, field string }{
		{"?timeout=0", "", "", "timeout"},
		{"?timeout=61", "", "", "timeout"},
		{"?timeout=-1", "", "", "timeout"},
		{"?timeout=1.5", "", "", "timeout"},
		{"?timeout=3s", "", "", "timeout"},
		{"?timeout=3&timeout=3", "", "", "timeout"},
		{"?taxpayerId=a&taxpayerId=a", "", "", "taxpayerId"},
		{"?taxpayerId=%ff", "", "", "taxpayerId"},
		{"?taxpayerId=a%20b", "", "", "taxpayerId"},
		{"?taxpayerId=" + strings.Repeat("9", 65), "", "", "taxpayerId"},
		{"?taxpayerId=9111", js, `{"taxpayerId":"9112"}`, "taxpayerId"},
		{"?taxpayerId=9111", form, `taxpayerId=9112`, "taxpayerId"},
		{"?timeout=3", js, `{"timeout":4}`, "timeout"},
		{"?timeout=3", form, `timeout=4`, "timeout"},
		{"", form, "timeout=x", "timeout"},
		{"", form, "taxpayerId=1&taxpayerId=2", "taxpayerId"},
		{"", js, `{"timeout":0}`, "timeout"},
		{"", js, `{"timeout":61}`, "timeout"},
		{"", js, `{"timeout":3.0}`, "timeout"},
		{"", js, `{"timeout":true}`, "timeout"},
		{"", js, `{"timeout":[3]}`, "timeout"},
		{"", js, `{"taxpayerId":9111}`, "taxpayerId"},
		{"", js, `{"taxpayerid":"9111"}`, "taxpayerid"},
		{"", js, `{"realm":"x"}`, "realm"},
		{"", js, `[]`, ""},
		{"", js, `{`, ""},
	} {
		for verb := range tokenVerbs {
			p, c := newPuppet(t)
			var header []string
			if tt.kind != "" {
				header = []string{"Content-Type", tt.kind}
			}
			c.send(http.MethodPost, "/jd-account/"+verb+tt.query, strings.NewReader(tt.body), header...).wrong(tt.field)
			if p.way != "" {
				t.Errorf("%s %s asked for a token", tt.query, tt.body)
			}
		}
	}
	for _, header := range [][]string{
		nil,
		{"Content-Type", "text/plain"},
		{"Content-Type", "multipart/mixed; boundary=x"},
		{"Content-Type", "multipart/form-data; boundary=x", "Content-Encoding", "gzip"},
		{"Content-Type", "application/json", "Content-Encoding", "gzip"},
		{"Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", "gzip"},
	} {
		_, c := newPuppet(t)
		c.send(http.MethodPost, "/jd-account/refresh-token", strings.NewReader("taxpayerId=9111"), header...).
			refused(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
	}
	_, c := newPuppet(t)
	c.send(http.MethodPost, "/jd-account/refresh-token", strings.NewReader(strings.Repeat("x", maxBody+1)), "Content-Type", form).
		refused(http.StatusRequestEntityTooLarge, "too_large", "")
}

// A realm's id may look like anything, even like the rest of the segment.
func TestRealmsInAccountPaths(t *testing.T) {
	p, c := newPuppet(t)
	for _, id := range []string{"jd", "a-b", "-", "x-account", "-account", "a/b", "京东", "%2F", "a b", "..", "api", "account"} {
		c.send(http.MethodPost, "/"+url.PathEscape(id)+"-account/get-access-token", nil).text("at-1")
		if p.ref.Realm != id {
			t.Errorf("realm %q arrives as %q", id, p.ref.Realm)
		}
	}
	for _, path := range []string{
		"/-account/get-access-token", "/jd-accounts/get-access-token", "/jd/get-access-token", "/jdaccount/get-access-token",
		"/jd-account", "//jd-account/get-access-token", "/x/jd-account/get-access-token",
		"/jd%2Daccount/get-access-token", "/jd-Account/get-access-token",
	} {
		c.send(http.MethodPost, path, nil).refused(http.StatusNotFound, "not_found", "")
		u, err := url.Parse("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		if Serves(u) {
			t.Errorf("serves %s", path)
		}
	}
	// What is beside the routes of an account is refused here.
	for _, path := range []string{
		"/jd-account/", "/jd-account/get-access-token//", "/jd-account/x", "/jd-account//get-access-token", "/jd-account/get%2Daccess-token",
	} {
		c.send(http.MethodPost, path, nil).refused(http.StatusNotFound, "not_found", "")
	}
}

// The account service took a slash behind its paths, and a provider may have
// such a callback: it is served, and its code stays out of access logs.
func TestSlashBehindAccountPaths(t *testing.T) {
	p, c := newPuppet(t)
	for verb := range tokenVerbs {
		c.send(http.MethodPost, "/jd-account/"+verb+"/?taxpayerId=9111", nil).text("at-1")
		if p.ref != (realm.Ref{Realm: "jd", Key: "acme"}) {
			t.Errorf("%s: %v", verb, p.ref)
		}
	}
	c.get("/api/status/").refused(http.StatusNotFound, "not_found", "")
}

func TestPathsOfTheAPI(t *testing.T) {
	for path, want := range map[string][3]bool{ // Serves, ServesCallback, IsConfidential
		"/api":                                    {true, false, false},
		"/api/":                                   {true, false, false},
		"/api/x":                                  {true, false, false},
		"/api/secret/r/k/authorize":               {true, false, true},
		"/api/secret/r/k":                         {true, false, false},
		"/apis":                                   {},
		"/":                                       {},
		"/jd-account/callback-token":              {true, true, true},
		"/a%2Fb-account/callback-token":           {true, true, true},
		"/jd-account/callback-token/":             {true, true, true},
		"/jd-account/callback-token//":            {true, false, false},
		"/jd-account/refresh-token/":              {true, false, false},
		"/api/secret/r/k/authorize/":              {true, false, false},
		"/jd-account/callback-token/x":            {true, false, false},
		"/jd-account/":                            {true, false, false},
		"/jd-account":                             {},
		"/-account/x":                             {},
		"/jd-account/init-all-token":              {true, false, false},
		"/jd-account/refresh-all-token":           {true, false, false},
		"/jd-account/get-access-token":            {true, false, false},
		"/jd-account/request-access-token":        {true, false, false},
		"/jd-account/refresh-token":               {true, false, false},
		"/api/jd-account/callback-token":          {true, false, false},
		"/jd-account/callback-token%2F":           {true, false, false},
		"/jd-account%2Fcallback-token":            {},
		"/jd-account/../jd-account/refresh-token": {true, false, false},
	} {
		u, err := url.Parse("http://x" + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{Serves(u), ServesCallback(u), IsConfidential(u)}; got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// What became of each account, by key, or as it happens.
func TestAllAccounts(t *testing.T) {
	for _, verb := range []string{"init-all-token", "refresh-all-token"} {
		p, c := newPuppet(t)
		p.keys = []string{"a", "b", "c"}
		p.onRenew = func(_ context.Context, key string) error {
			switch key {
			case "a":
				return &realm.Error{Code: realm.CodeTokenUnavailable, Detail: "wrong password"}
			case "c":
				return &realm.Error{Code: realm.CodeFixedToken, Detail: "fixed"}
			}
			return nil
		}
		c.send(http.MethodPost, "/jd-account/"+verb, nil).ok(`{"data":{"list":[
			{"key":"a","result":"failed","reason":"wrong password","code":"token_unavailable"},
			{"key":"b","result":"ok"},
			{"key":"c","result":"skipped","reason":"fixed","code":"fixed_token"}],"total":3},"success":"ok"}`)
		a := c.send(http.MethodPost, "/jd-account/"+verb, nil, "Accept", "application/json;q=0.5, application/x-ndjson")
		want := `{"key":"a","result":"failed","reason":"wrong password","code":"token_unavailable"}
{"key":"b","result":"ok"}
{"key":"c","result":"skipped","reason":"fixed","code":"fixed_token"}
{"total":3,"ok":1,"skipped":1,"failed":1}
`
		if diff := cmp.Diff(want, a.body); diff != "" || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%v\n%s", a.header, diff)
		}
		p.keys = nil
		c.send(http.MethodPost, "/jd-account/"+verb, nil, "Accept", "application/x-ndjson;q=0.0, */*").ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
		c.send(http.MethodPost, "/jd-account/"+verb, nil, "Accept", "*/*").ok(`{"data":{"list":[],"total":0},"success":"ok"}`)
		if a := c.send(http.MethodPost, "/jd-account/"+verb, nil, "Accept", typeLines); a.body != `{"total":0,"ok":0,"skipped":0,"failed":0}`+"\n" {
			t.Error(a.body)
		}
		p.err = &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusNotFound}
		for _, accept := range []string{"*/*", typeLines} {
			c.send(http.MethodPost, "/jd-account/"+verb, nil, "Accept", accept).refused(http.StatusNotFound, "realm_not_found", "realm 不存在")
		}
	}
}

func TestAuthorizeURL(t *testing.T) {
	const to = "https://provider.example/authorize?a=1&state=state-1"
	core, logs := observer.New(zap.DebugLevel)
	p, _ := newPuppet(t)
	c := caller{t, newLocal(p, p, Options{Log: zap.New(core)})}
	a := c.get("/api/secret/jd/acme/authorize")
	a.ok(`{"url":"` + to + `"}`)
	if !strings.Contains(a.body, to) { // somebody may copy it out of there
		t.Errorf("escaped: %s", a.body)
	}
	if p.ref != (realm.Ref{Realm: "jd", Key: "acme"}) {
		t.Error(p.ref)
	}
	a = c.get("/api/secret/jd/acme/authorize?redirect=true")
	if a.status != http.StatusFound || a.header.Get("Location") != to || a.header.Get("Referrer-Policy") != "no-referrer" ||
		a.header.Values("Content-Type") != nil || a.body != "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	c.get("/api/secret/jd/acme/authorize?redirect=maybe").wrong("redirect")
	p.err = &realm.Error{Code: realm.CodeNotAuthorizable, Status: http.StatusConflict, Detail: "no authorize recipe"}
	c.get("/api/secret/jd/acme/authorize?redirect=true").refused(http.StatusConflict, "not_authorizable", "no authorize recipe")
	if n := logs.Len(); n != 4 {
		t.Errorf("%d lines", n)
	}
	for _, line := range logs.All() {
		if strings.Contains(line.Message, "state-1") {
			t.Error(line)
		}
		for _, value := range line.ContextMap() {
			if s, ok := value.(string); ok && strings.Contains(s, "state-1") {
				t.Error(line.ContextMap())
			}
		}
	}
}

// The statuses and texts of the earlier account service.
func TestAccountErrors(t *testing.T) {
	for _, tt := range []struct {
		err    *realm.Error
		status int
		detail string
	}{
		{&realm.Error{Code: realm.CodeRealmNotFound, Status: 404, Detail: "x"}, 404, "realm 不存在"},
		{&realm.Error{Code: realm.CodeCompanyNotFound, Status: 404, Detail: "no company"}, 404, "no company"},
		{&realm.Error{Code: realm.CodeNotAuthorizable, Status: 409, Detail: "no recipe"}, 409, "no recipe"},
		{&realm.Error{Code: realm.CodeTokenUnavailable, Status: 502, Detail: "HTML"}, 502, "请求第三方token异常：HTML"},
		{&realm.Error{Code: realm.CodeReauthRequired, Status: 502, Detail: "a person"}, 502, "请求第三方token异常：a person"},
		{&realm.Error{Code: realm.CodeTokenUnavailable, Status: 504, Detail: "late"}, 504, ""},
		{&realm.Error{Code: realm.CodeUnavailable, Status: 503, Detail: "away"}, 503, "away"},
		{&realm.Error{Code: realm.CodeFixedToken, Status: 417, Detail: "fixed"}, 417, "fixed"},
		{&realm.Error{Code: realm.CodeBudgetSpent, Status: 503, Detail: "spent", RetryAfter: time.Minute}, 503, "请求第三方token异常：spent"},
	} {
		for verb := range tokenVerbs {
			p, c := newPuppet(t)
			p.err = tt.err
			a := c.send(http.MethodPost, "/jd-account/"+verb, nil)
			a.refused(tt.status, string(tt.err.Code), tt.detail)
			if tt.err.RetryAfter != 0 && a.retryAfter() != 60 {
				t.Error(a.header)
			}
		}
	}
	p, c := newPuppet(t)
	p.key = ""
	c.send(http.MethodPost, "/jd-account/get-access-token", nil).refused(http.StatusNotFound, "secret_not_found", "")
	p.err = errors.New("disk on fire")
	c.send(http.MethodPost, "/jd-account/get-access-token", nil).refused(http.StatusInternalServerError, "internal", "")
}
