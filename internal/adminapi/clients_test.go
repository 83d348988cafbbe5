package adminapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// post sends a client that has to be saved.
func (s *server) postClient(body string) map[string]any {
	s.t.Helper()
	return s.must(http.MethodPost, "/api/client", body).document()
}

// TestClient: the life of a client, from its first key to its end.
func TestClient(t *testing.T) {
	s := newServer(t)
	first := s.postClient(`{"id":"billing","comment":"ours","rules":[{"effect":"allow","rights":["use"],"realms":["r"],"keys":["*"],
		"methods":["GET"],"paths":["/cgi-bin/**"]}],"limits":{"requests":"100/s","concurrency":20,"fetches":"60/h"}}`)
	key, _ := first["key"].(string)
	if err := access.CheckKey(key); err != nil {
		t.Fatalf("key %q: %v", key, err)
	}
	if first["closes_loopback"] != true {
		t.Errorf("the first client does not say that it closes the proxy: %v", first)
	}
	if warnings, _ := first["warnings"].([]any); len(warnings) != 1 || !strings.Contains(warnings[0].(string), "rules[0].realms[0]") {
		t.Errorf("warnings: %v", first["warnings"])
	}
	second := s.postClient(`{"id":"reports","users":["alice"],"expires_at":"2099-01-31T12:00:00+02:00"}`)
	if second["key"] != nil || second["closes_loopback"] != nil || second["expires_at"] != "2099-01-31T10:00:00Z" {
		t.Errorf("a client with a user: %v", second)
	}

	shown := s.get("/api/client/billing").without("created_at", "updated_at", "keys")
	shown.ok(`{"id":"billing","comment":"ours","rules":[{"effect":"allow","rights":["use"],"realms":["r"],"keys":["*"],"methods":["GET"],
		"paths":["/cgi-bin/**"]}],"limits":{"requests":"100/s","concurrency":20,"fetches":"60/h"},
		"users":[],"subjects":[],"sources":[],"edge":false,"expires_at":null}`)
	if strings.Contains(s.log.String(), key) || strings.Contains(shown.body, key[:12]) {
		t.Error("the key is shown again")
	}
	list := s.get("/api/client?keyword=OURS").document()["data"].(map[string]any)
	if list["total"] != 1.0 {
		t.Errorf("list: %v", list)
	}

	// What is absent stays, null clears, and what was answered can be sent back.
	s.postClient(s.get("/api/client/billing").body)
	changed := s.postClient(`{"id":"billing","limits":null,"comment":"theirs"}`)
	if changed["comment"] != "theirs" || len(changed["rules"].([]any)) != 1 || len(changed["limits"].(map[string]any)) != 0 {
		t.Errorf("changed: %v", changed)
	}

	for range 2 {
		if c, err := s.clients.Identify(access.Caller{Key: key}); err != nil || c.ID() != "billing" {
			t.Fatalf("%v %v", c, err)
		}
		another := s.json(http.MethodPost, "/api/client/billing/rotate", `{"keep":"1h"}`).document()
		if k, _ := another["key"].(string); k == key || access.CheckKey(k) != nil || len(another["keys"].([]any)) != 2 {
			t.Fatalf("rotate: %v", another)
		}
		if _, err := s.clients.Identify(access.Caller{Key: key}); err != nil {
			t.Fatalf("the key before: %v", err)
		}
		key = another["key"].(string)
	}
	s.must(http.MethodPost, "/api/client/billing/rotate", "")
	if _, err := s.clients.Identify(access.Caller{Key: key}); err == nil {
		t.Error("a key that was replaced without keep is good")
	}
	s.must(http.MethodDelete, "/api/client/billing", "")
	s.get("/api/client/billing").refused(http.StatusNotFound, "not_found", "")
	s.json(http.MethodDelete, "/api/client/billing", "").refused(http.StatusNotFound, "not_found", "")
	s.json(http.MethodPost, "/api/client/billing/rotate", "").refused(http.StatusNotFound, "not_found", "")
	if !s.clients.Required() {
		t.Error("clients are not required any more")
	}
}

// TestClientBadInput: each is refused with the field that is wrong, and nothing
// is saved.
func TestClientBadInput(t *testing.T) {
	s := newServer(t)
	rule := func(r string) string { return `{"id":"c","rules":[` + r + `]}` }
	for body, field := range map[string]string{
		`{}`:                             "id",
		`{"id":"a/b"}`:                   "id",
		`{"id":"c","expires_at":"soon"}`: "expires_at",
		`{"id":"c","expires_at":"2001-01-01T00:00:00Z"}`:                                 "expires_at",
		`{"id":"c","limits":{"requests":"100/x"}}`:                                       "limits.requests",
		`{"id":"c","limits":{"requests":"0/s"}}`:                                         "limits.requests",
		`{"id":"c","limits":{"fetches":"many"}}`:                                         "limits.fetches",
		`{"id":"c","limits":{"concurrency":-1}}`:                                         "limits.concurrency",
		`{"id":"c","limits":{"burst":1}}`:                                                "limits.burst",
		`{"id":"c","sources":["10.1.2.3/16"]}`:                                           "sources[0]",
		`{"id":"c","users":[""]}`:                                                        "users[0]",
		`{"id":"c","key":"ctk_mine"}`:                                                    "key",
		rule(`{"effect":"allow","rights":["usee"],"realms":["*"]}`):                      "rules[0].rights[0]",
		rule(`{"effect":"allow","rights":[],"realms":["*"]}`):                            "rules[0].rights",
		rule(`{"effect":"permit","rights":["use"],"realms":["*"]}`):                      "rules[0].effect",
		rule(`{"effect":"allow","rights":["use"],"realms":["*"],"keys":[]}`):             "rules[0].keys",
		rule(`{"effect":"allow","rights":["use"],"realms":["*"],"methods":[]}`):          "rules[0].methods",
		rule(`{"effect":"allow","rights":["use"],"realms":["*"],"paths":[]}`):            "rules[0].paths",
		rule(`{"effect":"allow","rights":["use"]}`):                                      "rules[0].realms",
		rule(`{"effect":"allow","rights":["use"],"realms":["a**b"]}`):                    "rules[0].realms[0]",
		rule(`{"effect":"allow","rights":["use"],"realms":["*"],"paths":["/a**b"]}`):     "rules[0].paths[0]",
		rule(`{"effect":"allow","rights":["use","read"],"realms":["*"],"paths":["/a"]}`): "rules[0].paths",
		rule(`{"effect":"allow","rights":["use"],"realms":["*"],"path":["/a"]}`):         "rules[0].path",
	} {
		a := s.json(http.MethodPost, "/api/client", body)
		if a.status != http.StatusBadRequest || a.document()["field"] != field {
			t.Errorf("%s: want the field %s, got %d %s", body, field, a.status, a.body)
		}
	}
	if s.clients.Required() {
		t.Error("something was saved")
	}
	s.postClient(`{"id":"alice","users":["alice"]}`)
	s.json(http.MethodPost, "/api/client", `{"id":"bob","users":["alice"]}`).refused(http.StatusConflict, "conflict", "")
	s.json(http.MethodPost, "/api/client/alice/rotate", `{"keep":"-1h"}`).wrong("keep")
	s.json(http.MethodPost, "/api/client/alice/rotate", `{"keep":"long"}`).wrong("keep")
	s.send(http.MethodPost, "/api/client/alice/rotate", strings.NewReader(`{}`), "Content-Type", "text/plain").
		refused(http.StatusUnsupportedMediaType, "unsupported_media_type", "")
}

// TestClientsOfAdministrators: who may change clients may give himself every
// right, so that it takes admin for everything; and nobody locks himself out.
func TestClientsOfAdministrators(t *testing.T) {
	s := newServer(t)
	for name, rules := range map[string][]string{
		"one-realm": {"allow admin r *"}, "one-key": {"allow admin * k"}, "denied": {"allow admin * *", "deny admin x *"},
	} {
		s.client(t, name, rules...).json(http.MethodPost, "/api/client", `{"id":"new"}`).refused(http.StatusForbidden, "forbidden", "")
	}
	root := s.client(t, "root", "allow admin * *")
	if a := root.json(http.MethodPost, "/api/client", `{"id":"new"}`); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	root.json(http.MethodDelete, "/api/client/root", "").refused(http.StatusConflict, "conflict", "")
	if a := root.json(http.MethodDelete, "/api/client/new", ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestExplain: the reasons name the rule, the realm and the state of the token,
// and nothing is sent or counted.
func TestExplain(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/realm", `{"id":"api","config":{"api":"`+s.url+`","allow_http":true,"url":"`+s.url+`/cgi-bin/token","token_path":"access_token",
		"inject":[{"place":"url","name":"access_token"}],"methods":["GET"]}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"api","key":"k"}`)
	moved := `{"id":"moved","config":{"api":"%s","allow_http":true,"url":"` + s.url + `","token_path":"t","arguments":[{"name":"a","place":"url","value":"{secret.a}"}],
		"inject":[{"place":"url","name":"access_token"}]}}`
	s.must(http.MethodPost, "/api/realm", fmt.Sprintf(moved, s.url))
	s.must(http.MethodPost, "/api/secret", `{"realm":"moved","key":"k","fields":{"a":"1"}}`)
	s.must(http.MethodPost, "/api/realm", fmt.Sprintf(moved, "https://elsewhere.example"))
	s.must(http.MethodPost, "/api/secret", `{"realm":"moved","key":"fresh"}`)
	s.postClient(`{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["*"],"paths":["/cgi-bin/**"]},
		{"effect":"deny","rights":["use"],"realms":["*"],"paths":["/cgi-bin/token"]}],"limits":{"requests":"1/h"}}`)
	ask := func(realmID, key, method, path string) (bool, any, string) {
		t.Helper()
		a := s.json(http.MethodPost, "/api/explain", `{"client":"app","realm":"`+realmID+`","key":"`+key+`","method":"`+method+`","path":"`+path+`"}`)
		doc := a.document()
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var words []string
		for _, reason := range doc["reasons"].([]any) {
			words = append(words, reason.(string))
		}
		if code, ok := doc["code"]; ok {
			words = append(words, fmt.Sprintf("code %s", code))
		}
		return doc["allowed"].(bool), doc["rule"], strings.Join(words, "; ")
	}
	for _, tt := range []struct {
		realm, key, method, path string
		allowed                  bool
		rule                     any
		words                    string
	}{
		{"api", "k", "GET", "/cgi-bin/user?x=<1>&y=2", true, 0.0, "rule 0 allows"},
		{"api", "k", "GET", "/cgi-bin/user", true, 0.0, s.url},
		{"api", "k", "GET", "/cgi-bin/user", true, 0.0, "no token in memory"},
		{"api", "k", "POST", "/cgi-bin/user", false, 0.0, "does not allow the method POST"},
		{"api", "k", "GET", "/cgi-bin/token", false, 1.0, "rule 1 denies"},
		{"api", "k", "GET", "/cgi-bin/x/../token", false, 1.0, "another way"},
		{"api", "k", "GET", "/other", false, nil, "no rule allows"},
		{"api", "none", "GET", "/cgi-bin/user", false, 0.0, "secret"},
		{"api", "none", "GET", "/cgi-bin/user", false, 0.0, "; code secret_not_found"},
		{"none", "k", "GET", "/cgi-bin/user", false, 0.0, "realm"},
		{"none", "k", "GET", "/cgi-bin/user", false, 0.0, "; code realm_not_found"},
		{"wxgzh", "wxgzh_secret", "GET", "/cgi-bin/user", false, 0.0, "api"},
		{"moved", "k", "GET", "/cgi-bin/user", false, 0.0, "elsewhere.example"},
		{"moved", "fresh", "GET", "/cgi-bin/user", false, 0.0, "does not fit"},
	} {
		allowed, rule, words := ask(tt.realm, tt.key, tt.method, tt.path)
		if allowed != tt.allowed || rule != tt.rule || !strings.Contains(words, tt.words) {
			t.Errorf("%s/%s %s %s: %v by %v: %s", tt.realm, tt.key, tt.method, tt.path, allowed, rule, words)
		}
	}
	if calls := s.provider.Fetches(); calls > 0 {
		t.Errorf("the provider was asked %d times", calls)
	}
	s.json(http.MethodPost, "/api/explain", `{"client":"none","realm":"api","key":"k"}`).refused(http.StatusNotFound, "not_found", "")
	s.json(http.MethodPost, "/api/explain", `{"client":"app","realm":"api","key":"k","path":"x"}`).wrong("path")
	s.json(http.MethodPost, "/api/explain", `{"client":"app","key":"k"}`).wrong("realm")
}

// staleClients are clients whose changes may have gone unnoticed since noon.
type staleClients struct{ Clients }

func (staleClients) Required() bool   { return true }
func (staleClients) Since() time.Time { return noon }

// TestStatusOfClients: the status says whether clients are required, and since
// when this node may not know them as they are.
func TestStatusOfClients(t *testing.T) {
	p := &puppet{}
	caller{t, newLocal(p, p, Options{Clients: staleClients{}})}.get("/api/status").
		ok(`{"stores":[],"tokens":[],"total":0,"clients":{"required":true,"stale_since":"2026-11-22T12:00:00Z"}}`)
	s := newServer(t)
	if err := s.clients.Ready(t.Context()); err != nil {
		t.Fatal(err) // until then nobody knows whether there is a client
	}
	if c, _ := s.get("/api/status").document()["clients"].(map[string]any); len(c) != 1 || c["required"] != false {
		t.Errorf("clients: %v", c)
	}
}
