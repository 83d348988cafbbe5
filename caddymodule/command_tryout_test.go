package caddymodule

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestTryoutCommand: a realm is tried out by the command line, with a call through
// the injection; the exit status tells how it went.
func TestTryoutCommand(t *testing.T) {
	p := newProvider(t)
	v := newClientVerbs(t, p.realm("p", "inject query access_token\nsuccess json errcode 0 absent"), proxyMain)
	stdout, _ := v.ok("test", "p", "main")
	for _, want := range []string{"request: ", "absent, as it may be: success[0] at errcode", "answer: HTTP 200, ", "found: token at access_token, a string of ", "expires in "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("nothing says %q:\n%s", want, stdout)
		}
	}
	stdout, _ = v.ok("test", "p", "main", "--call", "GET", "/ok?x=1")
	if !strings.Contains(stdout, "call: GET /ok\ncall's answer: HTTP 200") {
		t.Errorf("the call:\n%s", stdout)
	}
	stdout, _, err := v.run("test", "p", "main", "--call", "TRACE", "/ok")
	if err == nil || err.Error() != "exiting with status 2" || !strings.Contains(stdout, "call refused by: method_not_allowed") {
		t.Errorf("%v\n%s", err, stdout)
	}
	for words, args := range map[string][]string{
		"needs a path":     {"test", "p", "main", "--call", "GET"},
		"surplus argument": {"test", "p", "main", "/x"},
		"call.path":        {"test", "p", "main", "--call", "GET", "x"},
		"realm":            {"test", "nope", "main"},
	} {
		v.wantErr(words, args...)
	}
	stdout, _ = v.ok("test", "p", "main", "--call", "GET", "/ok", "--json")
	var answer struct {
		Call struct {
			Response *struct{ Status int }
		}
		Advice []any
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Call.Response == nil || answer.Advice == nil {
		t.Errorf("%v: %s", err, stdout)
	}
	if all := v.notes.String() + v.log() + stdout; strings.Contains(all, canary) {
		t.Error("something confidential is shown")
	}
}

// TestCallOfADryRun: the call has all fences of the gateway, does not renew a token
// that the API refuses, and names the rule by which it does.
func TestCallOfADryRun(t *testing.T) {
	p := newProvider(t)
	kill := p.mortal()
	i := newInstance(t)
	i.load(p.realm("p", `inject query access_token
		methods GET
		renew_on status 403
		renew_on status 401`), proxyMain)
	call := func(body string) answer { return i.call(http.MethodPost, "/api/realm/p/test", body) }

	kill(99)
	fetches := p.fetches.Load()
	a := call(`{"key": "main", "call": {"method": "GET", "path": "/x"}}`)
	if !strings.Contains(a.body, `"dead":true,"rule":1`) || !strings.Contains(a.body, `"dead_token"`) {
		t.Errorf("a dead token: %s", a.body)
	}
	if got := p.fetches.Load() - fetches; got != 2 { // the dry run's, and that of the live token
		t.Errorf("%d token requests", got)
	}
	kill(0)
	if a := call(`{"key": "main", "call": {"method": "POST", "path": "/x"}}`); !strings.Contains(a.body, `"code":"method_not_allowed"`) {
		t.Errorf("a method that the realm does not allow: %s", a.body)
	}
	if a := call(`{"key": "main", "call": {"method": "GET", "path": "/x"}, "config": {"url": "https://x.example"}}`); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, `"call"`) {
		t.Errorf("a trial config: %s %s", a.Status, a.body)
	}

	// To administrate a realm does not include to use it, by whichever method and path.
	for rights, want := range map[string]int{"admin": http.StatusForbidden, "admin,use": http.StatusOK} {
		var created struct{ Key string }
		id := strings.ReplaceAll(rights, ",", "-")
		if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client", `{"id": "`+id+`", "rules": [{"effect": "allow", "rights": ["`+strings.ReplaceAll(rights, ",", `","`)+`"], "realms": ["p"]},
			{"effect": "deny", "rights": ["use"], "realms": ["p"], "paths": ["/not/**"]}]}`)), &created); err != nil {
			t.Fatal(err)
		}
		a := i.do(http.MethodPost, "http://"+i.api+"/api/realm/p/test", `{"key": "main", "call": {"method": "GET", "path": "/ok"}}`, append(withKey(created.Key), "Content-Type", "application/json")...)
		if a.StatusCode != want {
			t.Errorf("%s: %s %s", rights, a.Status, a.body)
		}
		if want != http.StatusOK {
			continue
		}
		a = i.do(http.MethodPost, "http://"+i.api+"/api/realm/p/test", `{"key": "main", "call": {"method": "GET", "path": "/not/this"}}`, append(withKey(created.Key), "Content-Type", "application/json")...)
		if !strings.Contains(a.body, `"code":"forbidden"`) {
			t.Errorf("a denied path: %s", a.body)
		}
	}
}
