package grant

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// parentToken is what the parents of these tests have: no plain word, so that a
// place where it is not escaped is seen.
const parentToken = "PARENT-TOKEN/+&=1"

// parentOf is a parent whose token may go to a server.
func parentOf(t *testing.T, ref realm.Ref, server string, dead realm.DeadRule) Parent {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := realm.ParseHostPattern(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return Parent{Ref: ref, Token: parentToken, Hosts: []realm.HostPattern{pattern}, AllowHTTP: true, Dead: dead}
}

func TestParentNames(t *testing.T) {
	v := &values{parents: map[realm.Ref]Parent{
		{Realm: "wx"}:                {Token: "1"},
		{Realm: "wx", Key: "main"}:   {Token: "2"},
		{Realm: "wx", Key: "a.b"}:    {Token: "3"},
		{Realm: "a.b", Key: "}"}:     {Token: "4"},
		{Realm: "a.b"}:               {Token: "5"},
		{Realm: `q"`, Key: "]\"}{x"}: {Token: "6"},
	}}
	for text, want := range map[string]string{
		"{token_of.wx}":                     "1",
		"Bearer {token_of.wx.main}!":        "Bearer 2!",
		"{token_of.wx.a.b}":                 "3",
		`{token_of["a.b"]["}"]}}`:           "4}",
		`{token_of["a.b"]}{token_of["wx"]}`: "51",
		`{token_of["q\""]["]\"}{x"]}`:       "6",
		"{{token_of.wx}":                    "{token_of.wx}",
		`{token_of["wx"]["main"]}x`:         "2x",
	} {
		tmpl, err := parseTemplate(text, scopeFetch)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := tmpl.expand(v, nil); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{token_of}":                   "{token_of} is not known here: {secret.x}, {force}, {token_of.x} are",
		"{token_of.}":                  "the realm of {token_of...}: is required",
		"{token_of..main}":             "the realm of {token_of...}: is required",
		"{token_of.wx.}":               "{token_of.wx.} has no key behind the dot",
		"{token_of.wx":                 `"{" without "}"`,
		"{token_of.wx...}":             "the key of {token_of...}: must not be \"..\"",
		`{token_of[wx]}`:               "must be {token_of[\"realm\"]}",
		`{token_of["wx"].main}`:        "must be {token_of[\"realm\"]}",
		`{token_of["wx"]["main"]["x"]`: "must be {token_of[\"realm\"]}",
		`{token_of["wx"][""]}`:         "must be {token_of[\"realm\"]}",
		`{token_of["wx"`:               "must be {token_of[\"realm\"]}",
		`{token_of[1]}`:                "must be {token_of[\"realm\"]}",
	} {
		if _, err := parseTemplate(text, scopeFetch); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, sc := range []scope{scopeInject, scopeStatic, scopeTarget} {
		if _, err := parseTemplate("{token_of.wx}", sc); err == nil {
			t.Errorf("{token_of.wx} is known among %s", sc)
		}
	}
}

// The host of a request is chosen by no token.
func TestNoParentInTheHost(t *testing.T) {
	_, err := Compile(realmOf(t, `{"url":"https://{token_of.wx}.example/t","token_path":"t"}`, ""), true)
	wantField(t, err, "config.url", "only {secret.x} may stand in the host")
}

func wantField(t *testing.T, err error, field, reason string) {
	t.Helper()
	fault, ok := err.(*realm.FieldError) //nolint:errorlint // it is returned as it is
	if !ok || fault.Field != field || !strings.Contains(fault.Reason, reason) {
		t.Errorf("%v, want %s: %s", err, field, reason)
	}
}

// A parent's token goes into every place of a request, escaped as it is needed
// there.
func TestParentInARequest(t *testing.T) {
	wx, suite := realm.Ref{Realm: "wx"}, realm.Ref{Realm: "suite", Key: "s"}
	p := newProvider(t, answering(200, "", goodAnswer))
	b := bind(t, realmOf(t, `{"url":"@/x/{token_of.wx}?q={token_of.wx}","method":"POST","token_path":"access_token","expires_in_path":"expires_in","arguments":[
		{"name":"access_token","place":"url","value":"{token_of.wx}"},
		{"name":"Authorization","place":"header","value":"Bearer {token_of.suite.s}"},
		{"name":"app.token","place":"body","value":"{token_of.wx}"}]}`, p.URL), nil)
	report := new(Report)
	got, err := b.Fetch(t.Context(), testClient(t), Request{Report: report, Parents: map[realm.Ref]Parent{
		wx: parentOf(t, realm.Ref{Realm: "wx", Key: "main"}, p.URL, nil), suite: parentOf(t, suite, p.URL, nil),
	}})
	if err != nil || got.Token.Access != "TOKEN-0123456789" {
		t.Fatal(got, err)
	}
	sent := p.requests[0]
	if want := url.PathEscape(parentToken); sent.path != "/x/"+want {
		t.Errorf("path %s, want %s", sent.path, want)
	}
	if want := "q=" + queryEscape(parentToken) + "&access_token=" + queryEscape(parentToken); sent.query != want {
		t.Errorf("query %s, want %s", sent.query, want)
	}
	if want := "Bearer " + parentToken; sent.header.Get("Authorization") != want {
		t.Errorf("header %s", sent.header.Get("Authorization"))
	}
	if want := `{"app":{"token":"PARENT-TOKEN/+\u0026=1"}}`; sent.body != want {
		t.Errorf("body %s, want %s", sent.body, want)
	}
	shown := report.Request.URL + report.Request.Header["Authorization"] + report.Request.Body
	if strings.Contains(shown, "PARENT") || strings.Count(shown, realm.Mask) != 5 {
		t.Errorf("the report shows %s", shown)
	}
}

// TestParentGoesNowhereElse: the last look at where a parent's token goes is where
// it is sent.
func TestParentGoesNowhereElse(t *testing.T) {
	wx := realm.Ref{Realm: "wx"}
	p := newProvider(t, answering(200, "", goodAnswer))
	b := bind(t, realmOf(t, `{"url":"@/t?a={token_of.wx}","token_path":"access_token"}`, p.URL), nil)
	good := parentOf(t, realm.Ref{Realm: "wx", Key: "main"}, p.URL, nil)
	elsewhere, withTLS, empty := good, good, good
	elsewhere.Hosts = parentOf(t, wx, "http://127.0.0.1:1", nil).Hosts
	withTLS.AllowHTTP = false
	empty.Token = ""
	for name, parents := range map[string]map[realm.Ref]Parent{
		"missing": nil, "another": {{Realm: "other"}: good}, "host": {wx: elsewhere}, "tls": {wx: withTLS}, "empty": {wx: empty},
	} {
		_, err := b.Fetch(t.Context(), testClient(t), Request{Parents: parents})
		if e := failure(t, err); e.Kind != KindRequest || !e.NotSent || strings.Contains(e.Detail, "PARENT") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(p.requests) > 0 {
		t.Errorf("%d requests were sent", len(p.requests))
	}
	if _, err := b.Fetch(t.Context(), testClient(t), Request{Parents: map[realm.Ref]Parent{wx: good}}); err != nil {
		t.Error(err)
	}
}

// TestDeadParent: an answer that a parent's rule matches says nothing about the
// child: not that it is hopeless, and not that its refresh token is spent.
func TestDeadParent(t *testing.T) {
	codes, err := compileDead([]realm.Rule{{JSON: "errcode", Values: []realm.Scalar{realm.ScalarOf("40001")}}}, "x")
	if err != nil {
		t.Fatal(err)
	}
	status, err := compileDead([]realm.Rule{{Status: []int{401}}}, "x")
	if err != nil {
		t.Fatal(err)
	}
	wx, suite := realm.Ref{Realm: "wx"}, realm.Ref{Realm: "suite", Key: "s"}
	const config = `{"url":"@/t?a={token_of.wx}&b={token_of.suite.s}","token_path":"access_token","refresh_token_path":"r","refresh":{"url":"@/r?a={token_of.wx}&b={token_of.suite.s}&r={refresh_token}"}}`
	for name, c := range map[string]struct {
		status int
		body   string
		dead   []realm.Ref
		unsure bool
	}{
		"code":   {200, `{"errcode":40001,"errmsg":"invalid credential ` + base64.StdEncoding.EncodeToString([]byte(parentToken)) + `"}`, []realm.Ref{wx}, false},
		"status": {401, ``, []realm.Ref{suite}, false},
		"both":   {401, `{"errcode":40001}`, []realm.Ref{wx, suite}, false},
		"5xx":    {500, `{"errcode":40001}`, []realm.Ref{wx}, true},
		"other":  {400, `{"errcode":40013}`, nil, false},
		"good":   {200, `{"access_token":"TOKEN-0123456789","errcode":40001}`, nil, false},
	} {
		for _, refreshing := range []bool{false, true} {
			p := newProvider(t, answering(c.status, "application/json", c.body))
			b := bind(t, realmOf(t, config, p.URL), nil)
			request := Request{RefreshToken: oldRefresh, Report: new(Report), Parents: map[realm.Ref]Parent{
				wx: parentOf(t, realm.Ref{Realm: "wx", Key: "main"}, p.URL, codes), suite: parentOf(t, suite, p.URL, status),
			}}
			call := b.Fetch
			if refreshing {
				call = b.Refresh
			}
			_, err := call(t.Context(), testClient(t), request)
			if name == "good" {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			e := failure(t, err)
			slices.SortFunc(e.deadParents, func(a, b realm.Ref) int { return -strings.Compare(a.Realm, b.Realm) })
			if !slices.Equal(e.DeadParents(), c.dead) {
				t.Errorf("%s: dead parents %v, want %v", name, e.DeadParents(), c.dead)
			}
			if isDead := len(c.dead) > 0; (e.Kind == KindDeadParent) != isDead || isDead && (e.Class != Retryable || e.Refusal() || e.Uncertain() != c.unsure) {
				t.Errorf("%s: %v, class %v, uncertain %v", name, e, e.Class, e.Uncertain())
			}
			if text := e.Error() + request.Report.Error + request.Report.Response.ProviderMessage; strings.Contains(text, "PARENT") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(parentToken))) {
				t.Errorf("%s: the token of a parent is shown: %s", name, text)
			}
			if len(c.dead) == 1 && c.dead[0] == wx && !strings.Contains(e.Summary(), "wx/main") {
				t.Errorf("%s: the parent is not named: %s", name, e.Summary())
			}
		}
	}
}

// TestDeadRefreshTokenOrParent: an answer may fit both. A refresh token is called dead
// only once fresh parents have not helped.
func TestDeadRefreshTokenOrParent(t *testing.T) {
	status, err := compileDead([]realm.Rule{{Status: []int{401}}}, "x")
	if err != nil {
		t.Fatal(err)
	}
	a, b := realm.Ref{Realm: "a", Key: "k"}, realm.Ref{Realm: "b", Key: "k"}
	const config = `{"url":"@/t?a={token_of.a.k}&b={token_of.b.k}","token_path":"t","refresh_token_path":"r","refresh":{"url":"@/r?a={token_of.a.k}&b={token_of.b.k}&r={refresh_token}"}}`
	for _, c := range []struct {
		body       string
		refreshing bool
		aIsFresh   bool
		bIsFresh   bool
		want       Kind
	}{
		{`{"error":"invalid_grant"}`, true, false, false, KindDeadParent},
		{`{"error":"invalid_grant"}`, true, true, false, KindDeadParent},
		{`{"error":"invalid_grant"}`, true, true, true, KindInvalidGrant},
		{`{"error":"invalid_grant"}`, false, true, true, KindDeadParent},
		{`{"error":"invalid_client"}`, true, true, true, KindDeadParent},
	} {
		p := newProvider(t, answering(401, "application/json", c.body))
		ofA, ofB := parentOf(t, a, p.URL, status), parentOf(t, b, p.URL, status)
		ofA.IsFresh, ofB.IsFresh = c.aIsFresh, c.bIsFresh
		bound := bind(t, realmOf(t, config, p.URL), nil)
		call := bound.Fetch
		if c.refreshing {
			call = bound.Refresh
		}
		_, err := call(t.Context(), testClient(t), Request{RefreshToken: oldRefresh, Parents: map[realm.Ref]Parent{a: ofA, b: ofB}})
		if e := failure(t, err); e.Kind != c.want {
			t.Errorf("%+v: %v", c, e)
		}
	}
}

// The token of a parent decides nothing about the child's token. Which parent it is
// does, and so does what the recipe says.
func TestParentAndFingerprint(t *testing.T) {
	const config = `{"url":"https://a.example/t?a={token_of.wx}","token_path":"access_token"}`
	b := bind(t, realmOf(t, config, ""), map[string]string{"a": "1"})
	fingerprint, digest := b.Fingerprint(), b.Digest(FetchRecipe)
	b.values.parents = map[realm.Ref]Parent{{Realm: "wx"}: {Token: "another"}}
	if b.Fingerprint() != fingerprint || b.Digest(FetchRecipe) != digest {
		t.Error("the parent's token is in the fingerprint or the digest")
	}
	with := bind(t, realmOf(t, config, ""), map[string]string{"a": "1", "parent": "k"})
	if with.Fingerprint() == fingerprint || with.Digest(FetchRecipe) == digest {
		t.Error("the key of the parent is not in them")
	}
	named := strings.Replace(config, "token_of.wx", "token_of.wx.main", 1)
	if bind(t, realmOf(t, named, ""), map[string]string{"a": "1"}).Fingerprint() == fingerprint {
		t.Error("what the recipe says is not in the fingerprint")
	}
	if bind(t, realmOf(t, named, ""), map[string]string{"a": "1"}).Fingerprint() != bind(t, realmOf(t, named, ""), map[string]string{"a": "1", "parent": "k"}).Fingerprint() {
		t.Error("a field that nothing reads is in the fingerprint")
	}
}

func TestParentUses(t *testing.T) {
	r := realmOf(t, `{"url":"https://{secret.shop}.example/t?a={token_of.wx}","token_path":"t","refresh":{"url":"http://b.example","arguments":[
		{"name":"r","place":"url","value":"{refresh_token}"},{"name":"{token_of.wx}","place":"basic","value":"{token_of.suite.s}{token_of.wx}"}]}}`, "")
	p, err := Compile(r, true)
	if err != nil {
		t.Fatal(err)
	}
	wx, suite := realm.Ref{Realm: "wx"}, realm.Ref{Realm: "suite", Key: "s"}
	want := []ParentUse{
		{wx, FetchRecipe, "config.url", "{secret.shop}.example", "https", false},
		{wx, RefreshRecipe, "config.refresh.arguments[1].name", "b.example", "http", true},
		{suite, RefreshRecipe, "config.refresh.arguments[1].value", "b.example", "http", true},
	}
	if got := p.Parents(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	b, err := p.Bind(secretOf(map[string]string{"shop": "s1", "parent": "k"}))
	if err != nil {
		t.Fatal(err)
	}
	want[0].Host, want[0].IsFixed = "s1.example", true
	if got, err := b.ParentUses(FetchRecipe, RefreshRecipe, ExchangeRecipe); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
	if refs := p.ParentsOf(secretOf(map[string]string{"parent": "k"})); !slices.Equal(refs, []realm.Ref{{Realm: "wx", Key: "k"}}) || b.OwnParentKey() != "k" {
		t.Errorf("%v %q", refs, b.OwnParentKey())
	}
	if refs := p.ParentsOf(secretOf(nil)); refs != nil {
		t.Errorf("%v", refs)
	}
	if fields := p.required; slices.Contains(fields, ParentField) {
		t.Errorf("required: %v", fields)
	}
}

// Each parent may be a request of its own, so that there are not many.
func TestNotTooManyParents(t *testing.T) {
	url := "https://a.example/t?"
	for i := range maxParents {
		url += fmt.Sprintf("p%d={token_of.r.k%d}&again%d={token_of.r.k%d}&", i, i, i, i)
	}
	if _, err := Compile(realmOf(t, `{"url":"`+url+`","token_path":"t"}`, ""), true); err != nil {
		t.Error(err)
	}
	_, err := Compile(realmOf(t, `{"url":"`+url+`","token_path":"t","arguments":[{"name":"x","place":"url","value":"{token_of.r}"}]}`, ""), true)
	wantField(t, err, "config.arguments[0].value", "a token too many")
}

// A link for a person may need a code that another realm obtains.
func TestParentInALink(t *testing.T) {
	b := bind(t, realmOf(t, `{"callback_url":"https://c.example/cb","token_path":"t","authorize":{"url":"https://a.example/page?pre={token_of.pre}&state={state}"},
		"exchange":{"url":"https://a.example/t?code={code}"}}`, ""), nil)
	pre := parentOf(t, realm.Ref{Realm: "pre", Key: "k"}, "https://a.example", nil)
	got, err := b.AuthorizeURL(Authorization{State: "S"}, map[realm.Ref]Parent{{Realm: "pre"}: pre})
	if want := "https://a.example/page?pre=" + queryEscape(parentToken) + "&state=S"; err != nil || got != want {
		t.Errorf("%s %v", got, err)
	}
	pre.Hosts = parentOf(t, realm.Ref{}, "https://b.example", nil).Hosts
	if got, err := b.AuthorizeURL(Authorization{State: "S"}, map[realm.Ref]Parent{{Realm: "pre"}: pre}); err == nil {
		t.Errorf("the link goes to another host: %s", got)
	}
}

// The server's own authorization may find its parent dead, too.
func TestDeadParentOfAnAuthorization(t *testing.T) {
	status, err := compileDead([]realm.Rule{{Status: []int{http.StatusUnauthorized}}}, "x")
	if err != nil {
		t.Fatal(err)
	}
	p := newProvider(t, answering(401, "", ""))
	b := bind(t, realmOf(t, `{"callback_url":"https://c.example/cb","unattended":true,"token_path":"t","authorize":{"url":"@/a?t={token_of.wx}&state={state}"},"exchange":{"url":"@/t?code={code}"}}`, p.URL), nil)
	wx := realm.Ref{Realm: "wx"}
	_, err = b.Authorize(t.Context(), testClient(t), Authorization{State: "S"}, Request{Parents: map[realm.Ref]Parent{wx: parentOf(t, wx, p.URL, status)}})
	if e := failure(t, err); e.Kind != KindDeadParent || !slices.Equal(e.DeadParents(), []realm.Ref{wx}) {
		t.Errorf("%v", err)
	}
}
