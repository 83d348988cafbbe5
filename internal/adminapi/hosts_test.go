package adminapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// thief is a server that notes every request.
func thief(t *testing.T) (url string, requests func() int) {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprint(w, `{"access_token":"x","expires_in":7200}`)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int { return n }
}

// movedTo is the config of the realm of wxgzh with its token endpoint elsewhere.
func (s *server) movedTo(url string) string {
	return `{"allow_http":true,"api":"` + url + `","inject":[{"place":"url","name":"access_token"}],"url":"` + url + `/cgi-bin/token","arguments":[
		{"name":"appid","place":"url","value":"$key_1"},{"name":"secret","place":"url","value":"$key_2"},
		{"name":"grant_type","place":"url","value":"$key_3"}],
		"token_path":"access_token","expires_in_path":"expires_in"}`
}

// TestStoredSecretsStay: whoever may change a realm had the stored, masked
// secret sent to any host, by a dry run with a config of his own or by a changed
// url.
func TestStoredSecretsStay(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	evil, requests := thief(t)
	host := strings.TrimPrefix(evil, "http://")
	refused := func(a answer) {
		t.Helper()
		doc := a.refused(http.StatusConflict, "host_not_allowed", "")
		if detail := fmt.Sprint(doc["detail"]); !strings.Contains(detail, host) {
			t.Errorf("the host is not named: %s", detail)
		}
	}
	refused(s.json(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret","config":`+s.movedTo(evil)+`}`))

	saved := s.must(http.MethodPost, "/api/realm", `{"id":"wxgzh","config":`+s.movedTo(evil)+`}`).document()
	if got := fmt.Sprint(saved["needs_values"]); got != "[wxgzh_secret]" {
		t.Errorf("needs_values: %s", got)
	}
	const token = "/api/token?realm=wxgzh&key=wxgzh_secret"
	refused(s.get(token))
	refused(s.get(token + "&flush=true"))
	refused(s.json(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret"}`))
	if _, err := s.view.Proxyable(t.Context(), realm.Ref{Realm: "wxgzh", Key: "wxgzh_secret"}); err == nil || !strings.Contains(err.Error(), "host_not_allowed") {
		t.Errorf("the proxy: %v", err)
	}
	a := s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"wx1","key_2":"******************"}`)
	if got := fmt.Sprint(a.document()["needs_values"]); got != "[wxgzh_secret]" {
		t.Errorf("needs_values after some of the values: %s", got)
	}
	refused(s.get(token))
	if n := requests(); n != 0 {
		t.Fatalf("the new host got %d requests", n)
	}

	a = s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"mine","key_2":"mine","key_3":"client_credential"}`)
	if _, ok := a.document()["needs_values"]; ok {
		t.Errorf("entered again: %s", a.body)
	}
	s.must(http.MethodGet, token, "")
	if n := requests(); n != 1 {
		t.Fatalf("the new host got %d requests", n)
	}
}

// TestKeepValues: the operator can say that what is stored goes along.
func TestKeepValues(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	elsewhere, requests := thief(t)
	a := s.must(http.MethodPost, "/api/realm?keep_values=true", `{"id":"wxgzh","config":`+s.movedTo(elsewhere)+`}`)
	if _, ok := a.document()["needs_values"]; ok {
		t.Errorf("with keep_values: %s", a.body)
	}
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	if n := requests(); n != 1 {
		t.Fatalf("the new host got %d requests", n)
	}
	s.json(http.MethodPost, "/api/realm?keep_values=perhaps", `{"id":"wxgzh"}`).wrong("keep_values")
}

// TestStoredSharedFieldsStay: shared fields are as confidential as those of a
// secret.
func TestStoredSharedFieldsStay(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	evil, requests := thief(t)
	config := func(url, shared string) string {
		return strings.Replace(s.movedTo(url), "{", `{"shared":{"app":"`+shared+`"},`, 1)
	}
	s.must(http.MethodPost, "/api/realm", `{"id":"wxgzh","config":`+config(s.url, "first")+`}`)
	masked := config(evil, realm.Mask)
	saved := s.must(http.MethodPost, "/api/realm", `{"id":"wxgzh","config":`+masked+`}`).document()
	if got := fmt.Sprint(saved["needs_shared"]); got != "[app]" {
		t.Errorf("needs_shared: %s", got)
	}
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"wxgzh_secret","key_1":"mine","key_2":"mine","key_3":"client_credential"}`)
	s.get("/api/token?realm=wxgzh&key=wxgzh_secret").refused(http.StatusConflict, "host_not_allowed", "")
	if n := requests(); n != 0 {
		t.Fatalf("the new host got %d requests", n)
	}
	s.must(http.MethodPost, "/api/realm", `{"id":"wxgzh","config":`+config(evil, "mine")+`}`)
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
}
