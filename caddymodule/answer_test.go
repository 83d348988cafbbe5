package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// saying is a provider that says with each token where its API is: for each
// account something else.
type saying struct {
	*httptest.Server
	says  atomic.Value // func(account string) string
	calls atomic.Int64
}

func newSaying(t *testing.T, says func(account string) string) *saying {
	s := new(saying)
	s.says.Store(says)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			s.calls.Add(1)
			echo(w, r)
			return
		}
		account := r.FormValue("account")
		says := s.says.Load().(func(string) string)
		_, _ = fmt.Fprintf(w, `{"access_token":"%s-token-of-%s","expires_in":7200,"instance_url":%q,"user":{"id":"user-%[2]s"}}`, canary, account, says(account))
	}))
	t.Cleanup(s.Close)
	return s
}

// realm is a Caddyfile realm of the provider, with two accounts.
func (s *saying) realm(more string) string {
	return fmt.Sprintf(`
		realm sf {
			api {answer.instance_url}/services
			fetch POST %s/oauth/token {
				form account {secret.account}
			}
			token_path access_token
			expires_in_path expires_in
			inject header Authorization "Bearer {token}"
			inject header X-User {answer.user.id}
			inject query user {answer.user.id}
			%s
			secret main {
				account main
			}
			secret other {
				account other
			}
		}`, s.URL, more)
}

// hostOf is the host and port of a server.
func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

// TestAPIOfAnAnswer: requests go to where the provider says with the token, be the
// upstream found by the path or by token_proxy, and carry what the provider said.
func TestAPIOfAnAnswer(t *testing.T) {
	i := newInstance(t)
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "second\n")
		echo(w, r)
	}))
	t.Cleanup(second.Close)
	var s *saying
	s = newSaying(t, func(account string) string {
		if account == "other" {
			return second.URL + "/tenant/"
		}
		return s.URL
	})
	i.load("allow_private 127.0.0.1\n"+s.realm("allow_http\nhosts "+hostOf(s.URL)+" "+hostOf(second.URL)), `
		handle_path /fixed/* {
			token_proxy {
				realm sf
				key other
			}
		}
		token_gateway`)
	for path, want := range map[string][]string{
		"/sf/main/a?x=1&user=mine": {"GET /services/a?x=1&user=user-main HTTP", "Host: " + hostOf(s.URL), "X-User: user-main\r", "-token-of-main\r"},
		"/sf/other/b":              {"second\n", "GET /tenant/services/b?user=user-other HTTP", "Host: " + hostOf(second.URL), "X-User: user-other\r"},
		"/fixed/c":                 {"second\n", "GET /tenant/services/c?user=user-other HTTP", "-token-of-other\r"},
	} {
		a := i.get(path, "X-User", "mine")
		for _, part := range want {
			if !strings.Contains(a.body, part) {
				t.Errorf("%s: %s, and not %q\n%s", path, a.Status, part, a.body)
			}
		}
	}
	token := i.must(http.MethodGet, "/api/token?realm=sf&key=main", "")
	for _, more := range []string{"user-main", hostOf(s.URL)} {
		if status := i.must(http.MethodGet, "/api/status", ""); strings.Contains(token+status, more) {
			t.Errorf("%s is shown:\n%s\n%s", more, token, status)
		}
	}
}

// TestAPIOfAnAnswerIsRefused: no token goes to a host that the provider says and
// nobody wrote, in clear if nobody allowed that, or to a private address that
// nobody allowed.
func TestAPIOfAnAnswerIsRefused(t *testing.T) {
	i := newInstance(t)
	var s *saying
	s = newSaying(t, func(account string) string {
		if account == "other" {
			return "http://localhost" + s.URL[strings.LastIndex(s.URL, ":"):]
		}
		return s.URL
	})
	for name, c := range map[string]struct{ global, more, path, code string }{
		"another host":      {"allow_private 127.0.0.1 ::1", "allow_http\nhosts " + hostOf(s.URL), "/sf/other/x", "host_not_allowed"},
		"in clear":          {"allow_private 127.0.0.1", "hosts " + hostOf(s.URL), "/sf/main/x", "host_not_allowed"},
		"a private address": {"", "allow_http\nhosts " + hostOf(s.URL), "/sf/main/x", "host_not_allowed"},
	} {
		i.load(c.global+s.realm(c.more), "token_gateway")
		a := i.get(c.path)
		code, detail := problemOf(t, a)
		if a.StatusCode != http.StatusBadGateway || code != c.code {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
		if port := s.URL[strings.LastIndex(s.URL, ":"):]; strings.Contains(detail, port) || strings.Contains(detail, "localhost") {
			t.Errorf("%s: what the provider said is shown: %s", name, detail)
		}
		if token := i.call(http.MethodGet, "/api/token?realm=sf&key=other", ""); token.StatusCode != http.StatusOK {
			t.Errorf("%s: whoever is shown the token does not get it: %s", name, token.body)
		}
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	if err := i.tryLoad(s.realm(""), "token_gateway"); err == nil || !strings.Contains(err.Error(), "hosts: is missing") {
		t.Errorf("without hosts: %v", err)
	}
	missing := newSaying(t, func(string) string { return "" })
	i.load("allow_private 127.0.0.1"+missing.realm("allow_http\nhosts "+hostOf(missing.URL)), "token_gateway")
	code, detail := problemOf(t, i.get("/sf/main/x"))
	if code != "token_unavailable" || !strings.Contains(detail, "answer.instance_url: is not in the answer; api needs it") {
		t.Errorf("%s: %s", code, detail)
	}
}

// TestRulesAboutThePathOfAnAnswer: a rule is about the path that is sent, which is
// known only with the token.
func TestRulesAboutThePathOfAnAnswer(t *testing.T) {
	i := newInstance(t)
	var s *saying
	s = newSaying(t, func(string) string { return s.URL + "/tenant" })
	const key = canary + "-key-of-32-bytes-at-the-least"
	i.load("allow_private 127.0.0.1\nclient app {\nkey "+key+"\nallow use sf * {\npaths /tenant/services/ok/**\n}\n}"+
		s.realm("allow_http\nhosts "+hostOf(s.URL)), "token_gateway")
	for range 2 { // with the token in memory, too
		for path, want := range map[string]int{"/sf/main/ok/x": http.StatusOK, "/sf/main/other/x": http.StatusForbidden} {
			if a := i.get(path, "Authorization", "Bearer "+key); a.StatusCode != want {
				t.Errorf("%s: %s\n%s", path, a.Status, a.body)
			}
		}
	}
	if n := s.calls.Load(); n != 2 {
		t.Errorf("%d requests arrived", n)
	}
}

// TestSameTokenSaysAnotherAPI: a provider may give the token once more that it gave
// before, and say another API with it, or something that nobody read before.
func TestSameTokenSaysAnotherAPI(t *testing.T) {
	i := newInstance(t)
	var s *saying
	s = newSaying(t, func(string) string { return s.URL + "/old" })
	tokens := func(more string) string {
		return "allow_private 127.0.0.1\n" + s.realm("semantics same\nallow_http\nhosts "+hostOf(s.URL)+more)
	}
	i.load(tokens(""), "token_gateway")
	wantCall(t, i.get("/sf/main/x"), "GET /old/services/x?")
	s.says.Store(func(string) string { return s.URL + "/new" })
	i.must(http.MethodPost, "/api/token", `{"realm":"sf","key":"main","flush":true}`)
	wantCall(t, i.get("/sf/main/x"), "GET /new/services/x?")
	i.load(tokens("\ninject header X-Life {answer.expires_in}"), "token_gateway")
	wantCall(t, i.get("/sf/main/x"), "\r\nX-Life: 7200\r\n")
}

// wantCall fails where the API did not get such a call.
func wantCall(t *testing.T, a answer, part string) {
	t.Helper()
	if !strings.Contains(a.body, part) {
		t.Errorf("%s, and not %q\n%s", a.Status, part, a.body)
	}
}
