package adminapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Nothing confidential that was ever posted, and no token, is in any answer or
// in the log at its lowest level, but for the token where it is what was asked
// for. Nor is what a callback brings.
func TestNothingLeaks(t *testing.T) {
	s := newServer(t, definition())
	canaries := []string{"fixed-1", "wx1-secret"}
	canary := func() string {
		c := fmt.Sprintf("canary-%04d-canary", len(canaries))
		canaries = append(canaries, c)
		return c
	}
	var answers strings.Builder
	send := func(method, target, body string) answer {
		a := s.json(method, target, body)
		fmt.Fprintf(&answers, "%s %s: %d %v %s\n", method, target, a.status, a.header, a.body)
		return a
	}

	s.wxgzh()
	send(http.MethodPost, "/api/realm", `{"id":"r","config":{"grant":{"name":"static"},"shared":{"app_key":"`+canary()+`"}}}`)
	send(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","key_1":"`+canary()+`","key_5000":"`+canary()+`",
		"fields":{"token":"`+canary()+`","private_key":"`+canary()+`"}}`)
	send(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","token":"`+canary()+`"}`)
	send(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"moved","key_1":"wx2","key_2":"`+canary()+`","key_3":"client_credential",
		"token":"`+canary()+`","expires_at":4102444800000}`)
	// Requests that are refused, each with something confidential in it.
	for _, body := range []string{
		`{"realm":"r","key":"k","key_1":"%s"`, `{"realm":"r","key":"k","key_1":["%s"]}`, `{"realm":"nobody","key":"k","key_1":"%s"}`,
		`{"realm":"r","key":"k","key_1":"%s","fields":{"key_1":"x"}}`, `{"realm":"r","key":"k","token":"%s","expires_at":"x"}`,
		`{"realm":"r","key":"k","token":"t","expires_at":"%s"}`, `{"realm":"r","key":"k","drop_refresh_token":"%s"}`,
		`{"realm":"file","key":"main","key_1":"%s"}`, "{\"realm\":\"r\",\"key\":\"k\",\"key_1\":\"%s\xff\"}",
		`{"realm":"wxgzh","key":"k","token":"%s"}`, `{"realm":"r","key":"k","key_1":"%s"}}`, `"%s"`, `%s`,
	} {
		send(http.MethodPost, "/api/secret", fmt.Sprintf(body, canary()))
	}
	for _, body := range []string{
		`{"id":"r","config":{"shared":{"x":"%s"},"scrap":1}}`, `{"id":"r","config":{"shared":{"x":["%s"]}}}`,
		`{"id":"r","config":{"shared":"%s"}}`, `{"id":"file","config":{"shared":{"x":"%s"}}}`,
		`{"id":"r","config":{"url":"https://a.example","token_path":"t","shared":{"x":"%s"},"arguments":[{"name":"a","place":"url","value":"$token"}]}}`,
	} {
		send(http.MethodPost, "/api/realm", fmt.Sprintf(body, canary()))
	}
	send(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"moved","config":{"shared":{"x":"`+canary()+`"},"url":"ftp://x"}}`)

	// The tokens themselves, and a provider that repeats what it was sent.
	for _, target := range []string{"realm=wxgzh&key=wxgzh_secret", "realm=wxgzh&key=wxgzh_secret&flush=true", "realm=file&key=main", "realm=r&key=k"} {
		a := s.get("/api/token?" + target)
		token, _ := a.document()["token"].(string)
		if token == "" {
			t.Fatalf("%s: no token: %s", target, a.body)
		}
		canaries = append(canaries, token)
	}
	send(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","accounts":{"wxgzh":"wxgzh_secret","r":"k","file":"main"}}`)
	for _, path := range []string{
		"/wxgzh-account/get-access-token", "/wxgzh-account/refresh-token", "/r-account/get-access-token", "/file-account/get-access-token",
	} {
		a := s.send(http.MethodPost, path+"?taxpayerId=9111", nil)
		if a.status != http.StatusOK || a.body == "" {
			t.Fatalf("%s: no token: %d %s", path, a.status, a.body)
		}
		canaries = append(canaries, a.body)
	}
	send(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","accounts":{"wxgzh":"moved"}}`) // whose secret is wrong
	for _, verb := range []string{"refresh-token", "request-access-token", "init-all-token", "refresh-all-token"} {
		send(http.MethodPost, "/wxgzh-account/"+verb+"?taxpayerId=9111", "")
	}
	for _, path := range []string{"/wxgzh-account/callback-token", "/nobody-account/callback-token"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			for _, query := range []string{
				"code=%s&state=%s", "code=%s&code=%s&state=x", "code=%s&state=%%zz%s", "error=%s&error_description=%s&state=x", "%s=%s", "iss=%s&code=%s",
			} {
				a := s.send(method, path+"?"+fmt.Sprintf(query, canary(), canary()), nil)
				fmt.Fprintf(&answers, "%d %v %s\n", a.status, a.header, a.body)
			}
		}
	}
	send(http.MethodGet, "/api/secret/wxgzh/moved/authorize?redirect=true", "")
	send(http.MethodGet, "/api/token?realm=wxgzh&key=moved&flush=true", "")
	send(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"moved"}`)
	send(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret"}`)
	for _, target := range []string{
		"/api/realm", "/api/realm/r", "/api/realm/file", "/api/secret", "/api/secret/r/k", "/api/secret/file/main",
		"/api/secret/wxgzh/moved", "/api/status", "/api/openapi.json",
	} {
		send(http.MethodGet, target, "")
	}
	send(http.MethodDelete, "/api/secret/r/k", "")

	for _, where := range []struct{ name, text string }{{"answers", answers.String()}, {"log", s.log.String()}} {
		if !strings.Contains(where.text, "wxgzh") { // the scan would see what is there
			t.Errorf("the %s are empty", where.name)
		}
		for _, c := range canaries {
			if i := strings.Index(where.text, c); i >= 0 {
				t.Errorf("the %s hold %q: ...%s", where.name, c, where.text[max(0, i-200):i+len(c)])
			}
		}
	}
}
