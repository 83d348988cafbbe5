package adminapi

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/secretscan"
)

// Nothing confidential that was ever posted, no token and no key of a client is in
// any answer, in the log at its lowest level, or in the database, in whatever
// encoding; but for the token or the key where it is what was asked for. Nor is
// what a callback brings.
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

	send(http.MethodPost, "/api/realm", `{"id":"open","config":{"url":"`+s.url+`/{secret.ticket}","allow_http":true,"token_path":"t","volatile":["ticket"]}}`)
	send(http.MethodPost, "/api/secret", `{"realm":"open","key":"k","fields":{"push_token":"`+canary()+`","push_aes_key":"`+canary()+`"}}`)
	for _, body := range []string{
		`{"field":"ticket","value":"%s","expires_in":600}`, `{"field":"ticket","value":"%s","expires_in":0}`, `{"field":"other","value":"%s"}`,
		`{"field":"%s","value":"x"}`, `{"field":"ticket","value":["%s"]}`, `{"field":"ticket","value":"x","expires_in":"%s"}`, `{"field":"ticket","value":"%s"`,
	} {
		send(http.MethodPost, "/api/secret/open/k/push", fmt.Sprintf(body, canary()))
		send(http.MethodPost, "/api/secret/nobody/k/push", fmt.Sprintf(body, canary()))
	}
	send(http.MethodGet, "/api/token?realm=open&key=k", "")
	send(http.MethodPost, "/api/realm/open/test", `{"key":"k"}`)

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
	send(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret","call":{"method":"GET","path":"/`+canary()+`?`+canary()+`","x":1}}`)
	// A realm that sends the token of another one to a provider that refuses it.
	s.must(http.MethodPost, "/api/realm", `{"id":"parent","config":`+s.movedTo(s.url)+`}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"parent","key":"main","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`)
	token, _ := s.must(http.MethodGet, "/api/token?realm=parent&key=main", "").document()["token"].(string)
	canaries = append(canaries, token)
	send(http.MethodPost, "/api/realm", `{"id":"child","config":{"url":"`+s.url+`/cgi-bin/token?secret={token_of.parent.main}&appid={token_of.parent.main}&grant_type=client_credential",
		"allow_http":true,"token_path":"access_token","arguments":[{"name":"Authorization","place":"header","value":"Bearer {token_of.parent.main}"}]}}`)
	send(http.MethodPost, "/api/secret", `{"realm":"child","key":"k","fields":{"x":"`+canary()+`"}}`)
	if a := send(http.MethodPost, "/api/realm/child/test", `{"key":"k"}`); !strings.Contains(a.body, "40013") {
		t.Errorf("the child was not refused by the provider: %s", a.body)
	}
	send(http.MethodGet, "/api/token?realm=child&key=k", "")
	for _, target := range []string{
		"/api/realm", "/api/realm/r", "/api/realm/file", "/api/secret", "/api/secret/r/k", "/api/secret/file/main",
		"/api/secret/wxgzh/moved", "/api/secret/open/k", "/api/status", "/api/status?realm=wxgzh&key=moved", "/api/status?realm=child&key=k", "/api/status?page=1&pageSize=1000",
		"/api/realm?counts=true", "/api/secret?status=true", "/api/activity", "/api/watch", "/api/openapi.json", "/api/preset", "/api/preset/jd",
	} {
		send(http.MethodGet, target, "")
	}
	send(http.MethodDelete, "/api/secret/r/k", "")
	s.plant()
	send(http.MethodGet, "/api/realm/"+secretscan.Planted, "")
	for _, path := range []string{"/api/client", "/api/client/app/rotate", "/api/client/app/rotate"} {
		body := `{"keep":"1h"}`
		if path == "/api/client" {
			body = `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["wxgzh"]}]}`
		}
		key, _ := s.must(http.MethodPost, path, body).document()["key"].(string)
		canaries = append(canaries, key)
	}
	for _, body := range []string{
		`{"id":"app","limits":{"requests":"%s"}}`, `{"id":"app","expires_at":"%s"}`, `{"id":"app","key":"%s"}`, `{"id":"app","rules":[{"effect":"allow","rights":["%s"]}]}`,
		`{"id":"app","sources":["%s"]}`, `{"id":"app","edge":"%s"}`,
	} {
		send(http.MethodPost, "/api/client", fmt.Sprintf(body, canary()))
	}
	send(http.MethodPost, "/api/explain", `{"client":"app","realm":"wxgzh","key":"wxgzh_secret","path":"/cgi-bin/x?access_token=`+canary()+`"}`)

	s.wantNothingShown(answers.String(), canaries)
}

// wantNothingShown looks for canaries, and for what was planted, wherever something
// is shown or stored.
func (s *server) wantNothingShown(answers string, canaries []string) {
	s.t.Helper()
	var files strings.Builder
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(s.path + suffix)
		if err != nil {
			s.t.Fatal(err)
		}
		files.Write(content)
	}
	places := map[string]string{"the answers": answers, "the log": s.log.String(), "the files": files.String()}
	for _, path := range []string{"/api/audit?pageSize=100", "/api/backup", "/api/client", "/api/client/" + secretscan.Planted, "/api/status", "/api/realm", "/api/secret"} {
		places[path] = s.must(http.MethodGet, path, "").body
	}
	places["the export of the audit"] = s.send(http.MethodGet, "/api/audit", nil, "Accept", "application/x-ndjson").body
	places["an explanation"] = s.must(http.MethodPost, "/api/explain", `{"client":"`+secretscan.Planted+`","realm":"`+secretscan.Planted+`","key":"k"}`).body
	for name, text := range places {
		for _, found := range secretscan.Find(text, canaries...) {
			s.t.Errorf("%s: %s", name, found)
		}
		if secretscan.Find(text, secretscan.Planted) == nil {
			s.t.Errorf("%s: what was planted is not found (%d bytes)", name, len(text))
		}
	}
}

// plant puts what is confidential to nobody wherever a realm, a secret and a client
// show: the search would see what is there.
func (s *server) plant() {
	s.t.Helper()
	const id = secretscan.Planted
	s.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":{"url":"`+s.url+`/`+id+`","allow_http":true,"token_path":"t"}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"`+id+`","key":"k","key_1":"x"}`)
	s.must(http.MethodPost, "/api/client", `{"id":"`+id+`","rules":[{"effect":"allow","rights":["use"],"realms":["`+id+`"]}]}`)
	if a := s.get("/api/token?realm=" + id + "&key=k"); a.status == http.StatusOK {
		s.t.Errorf("there is a token: %s", a.body)
	}
}
