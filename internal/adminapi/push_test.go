package adminapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ticketed is a realm of the Caddyfile with a volatile field.
func ticketed() catalog.Definition {
	return catalog.Definition{
		Realm: realm.Realm{ID: "open", Config: realm.Config{
			Recipe:   realm.Recipe{URL: "https://api.example.com/token?t={secret.ticket}&s={secret.suite}", TokenPath: "t"},
			Volatile: []string{"ticket", "suite"},
		}},
		Secrets: []realm.Secret{{Ref: realm.Ref{Realm: "open", Key: "main"}, Fields: map[string]realm.Hidden{"appid": "a"}}},
	}
}

// TestPush: a push says until when its value counts, and so does the secret, which
// shows no value.
func TestPush(t *testing.T) {
	s := newServer(t, ticketed())
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"url":"https://api.example.com/t?t={secret.ticket}","token_path":"t","volatile":["ticket"]}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","key_1":"x"}`)
	for _, ref := range []string{"open/main", "r/k"} {
		pushed := s.must(http.MethodPost, "/api/secret/"+ref+"/push", `{"field":"ticket","value":"secret-ticket","expires_in":600}`).document()
		updated, err := time.Parse(time.RFC3339Nano, pushed["updated_at"].(string))
		ends, failed := time.Parse(time.RFC3339Nano, pushed["expires_at"].(string))
		if pushed["success"] != "ok" || err != nil || failed != nil || ends.Sub(updated) != 10*time.Minute {
			t.Errorf("%s: %v", ref, pushed)
		}
		shown, _ := s.get("/api/secret/" + ref).document()["pushed"].(map[string]any)
		ticket, _ := shown["ticket"].(map[string]any)
		if len(shown) != 1 || ticket["updated_at"] != pushed["updated_at"] || ticket["expires_at"] != pushed["expires_at"] || len(ticket) != 2 {
			t.Errorf("%s: the secret shows %v", ref, shown)
		}
		forever := s.must(http.MethodPost, "/api/secret/"+ref+"/push", `{"field":"ticket","value":"secret-ticket","expires_in":null}`).document()
		if _, ends := forever["expires_at"]; ends {
			t.Errorf("%s: without an end: %v", ref, forever)
		}
		for name, body := range map[string]string{
			"field":      `{"value":"x"}`,
			"value":      `{"field":"ticket"}`,
			"expires_in": `{"field":"ticket","value":"x","expires_in":0}`,
			"scrap":      `{"field":"ticket","value":"x","scrap":1}`,
		} {
			s.json(http.MethodPost, "/api/secret/"+ref+"/push", body).wrong(name)
		}
		s.json(http.MethodPost, "/api/secret/"+ref+"/push", `{"field":"ticket","value":"x","expires_in":9223372036854775807}`).wrong("expires_in")
		s.json(http.MethodPost, "/api/secret/"+ref+"/push", `{"field":"ticket","value":"x","expires_in":"60"}`).wrong("expires_in")
	}
	// A document can be sent back as it came.
	document := s.get("/api/secret/r/k").body
	s.must(http.MethodPost, "/api/secret", document)
	if back := s.get("/api/secret/r/k"); !strings.Contains(back.body, `"pushed"`) {
		t.Errorf("sent back, it has lost what was pushed: %s", back.body)
	}
}

func TestPushIsRefused(t *testing.T) {
	s := newServer(t, ticketed())
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"url":"https://api.example.com/t?t={secret.ticket}","token_path":"t","volatile":["ticket"]}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","key_1":"x"}`)
	s.must(http.MethodPost, "/api/realm", `{"id":"plain","config":{"url":"https://api.example.com/t","token_path":"t"}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"plain","key":"k","key_1":"x"}`)
	const body = `{"field":"key_1","value":"x"}`
	s.json(http.MethodPost, "/api/secret/open/main/push", body).refused(http.StatusConflict, "read_only",
		"the secret is defined in the Caddyfile, and only volatile fields are pushed to it: ticket, suite")
	s.json(http.MethodPost, "/api/secret/r/k/push", body).wrong("field")
	if a := s.json(http.MethodPost, "/api/secret/r/k/push", body); !strings.Contains(a.body, "is none of the realm's volatile fields: ticket") {
		t.Errorf("%s", a.body)
	}
	if a := s.json(http.MethodPost, "/api/secret/plain/k/push", body); !strings.Contains(a.body, "the realm has no volatile fields") {
		t.Errorf("%s", a.body)
	}
	for ref, code := range map[string]string{"r/none": "secret_not_found", "none/k": "realm_not_found"} {
		s.json(http.MethodPost, "/api/secret/"+ref+"/push", `{"field":"ticket","value":"x"}`).refused(http.StatusNotFound, code, textNoSecret)
	}
}
