package adminapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// keepFromAll are the ways to keep the tokens of the account main from everybody.
var keepFromAll = map[string]func(s *server){
	"secret": func(s *server) {
		s.must(http.MethodPost, "/api/secret", `{"realm":"jd","key":"main","inject_only":true}`)
	},
	"realm": func(s *server) {
		config := s.get("/api/realm/jd").document()["config"].(map[string]any)
		config["inject_only"] = true
		s.must(http.MethodPost, "/api/realm", text(s.t, map[string]any{"id": "jd", "config": config}))
	},
}

// Nobody is shown a token that is inject_only: each route that answers one
// refuses, before anything is spent. What answers no token goes on.
func TestInjectOnlyIsReadByNoRoute(t *testing.T) {
	for name, keep := range keepFromAll {
		t.Run(name, func(t *testing.T) {
			s, _ := newAccounts(t, fakeprovider.Options{Style: fakeprovider.JDVOP}, recipesJD)
			keep(s)
			refused := func(a answer) {
				t.Helper()
				doc := a.refused(http.StatusForbidden, "forbidden", "")
				if detail, _ := doc["detail"].(string); !strings.Contains(detail, "inject_only") {
					t.Errorf("the reason is %q", detail)
				}
			}
			all := func() {
				t.Helper()
				before := len(s.provider.Issued())
				refused(s.get("/api/token?realm=jd&key=main"))
				refused(s.get("/api/token?realm=jd&key=main&flush=true"))
				refused(s.json(http.MethodGet, "/api/token", `{"realm":"jd","key":"main","flush":true}`))
				refused(s.json(http.MethodPost, "/api/token", `{"realm":"jd","key":"main"}`))
				refused(s.json(http.MethodPost, "/api/token", `{"realm":"jd","key":"main","flush":true}`))
				refused(s.json(http.MethodPost, "/api/token", `{"realm":"jd","key":"main","rejected":"`+strings.Repeat("0a", 32)+`"}`))
				for verb := range tokenVerbs {
					refused(s.send(http.MethodPost, "/jd-account/"+verb, nil))
				}
				if after := len(s.provider.Issued()); after != before {
					t.Errorf("%d tokens were issued", after-before)
				}
			}
			all()
			a := s.must(http.MethodPost, "/jd-account/init-all-token", "")
			if !strings.Contains(a.body, `{"key":"main","result":"ok"}`) {
				t.Errorf("init-all: %s", a.body)
			}
			all()
			a = s.must(http.MethodPost, "/jd-account/refresh-all-token", "")
			if !strings.Contains(a.body, `{"key":"main","result":"skipped"`) {
				t.Errorf("refresh-all: %s", a.body)
			}
			minimal := []string{"Prefer", "return=minimal", "Content-Type", "application/json"}
			refused(s.send(http.MethodGet, "/api/token?realm=jd&key=main", nil, minimal...))
			before := len(s.provider.Issued())
			flushed := s.send(http.MethodPost, "/api/token", strings.NewReader(`{"realm":"jd","key":"main","flush":true}`), minimal...)
			if _, shown := flushed.document()["token"]; flushed.status != http.StatusOK || shown || len(s.provider.Issued()) != before+1 {
				t.Errorf("a flush without the token: %d %s", flushed.status, flushed.body)
			}
		})
	}
}

// inject_only of a secret is served back, stays where nothing is said of it, and
// is no field.
func TestSecretInjectOnly(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r"}`)
	for _, tt := range []struct{ send, want string }{
		{``, ``},
		{`,"inject_only":true`, `,"inject_only":true`},
		{``, `,"inject_only":true`},
		{`,"inject_only":false`, ``},
		{`,"inject_only":true`, `,"inject_only":true`},
		{`,"inject_only":null`, ``},
	} {
		want := `{"realm":"r","key":"k"` + tt.want + `}`
		s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k"`+tt.send+`}`).without("created_at", "updated_at", "warnings").ok(want)
		s.get("/api/secret/r/k").without("created_at", "updated_at").ok(want)
	}
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","inject_only":"true"}`).wrong("inject_only")
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","fields":{"inject_only":"on"}}`).wrong("fields.inject_only")
	s.json(http.MethodPost, "/api/realm", `{"id":"r","config":{"shared":{"inject_only":"on"}}}`).wrong("config.shared.inject_only")
}

// A realm's inject_only is built, and served back.
func TestRealmInjectOnly(t *testing.T) {
	s := newServer(t)
	a := s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"inject_only":true}}`)
	a.without("created_at", "updated_at").ok(`{"id":"r","config":{"inject_only":true}}`)
	s.json(http.MethodPost, "/api/realm", `{"id":"r","config":{"inject_only":1}}`).wrong("config.inject_only")
}
