package adminapi

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// entries are those of the audit as it is exported, oldest first, once there
// are so many: refusals are written a moment later.
func (s *server) entries(t *testing.T, n int) []auditDocument {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		a := s.send(http.MethodGet, "/api/audit", nil, "Accept", typeLines)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != typeLines {
			t.Fatalf("%d %s: %s", a.status, a.header.Get("Content-Type"), a.body)
		}
		var list []auditDocument
		for line := range strings.Lines(a.body) {
			var e auditDocument
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		if len(list) >= n || time.Now().After(deadline) {
			return list
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wantEntries compares what the entries say: actor, act, realm, key, target,
// result, code and count.
func (s *server) wantEntries(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range s.entries(t, len(want)) {
		text := fmt.Sprintf("%s:%s %s %s/%s/%s %s %s", e.Actor.Kind, e.Actor.ID, e.Act, e.Realm, e.Key, e.Target, e.Result, e.Code)
		if e.Count > 1 {
			text += fmt.Sprint(" x", e.Count)
		}
		got = append(got, strings.TrimSpace(text))
	}
	slices.Sort(got) // those of one moment have no order
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestEveryActIsWritten goes through the routes: what succeeds has its entry.
func TestEveryActIsWritten(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.wxgzh() // an update
	s.must(http.MethodPost, "/api/realm/wxgzh/test", `{"key":"wxgzh_secret"}`)
	for range 3 {
		s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	}
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret&flush=true", "")
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","accounts":{"wxgzh":"wxgzh_secret"}}`)
	s.must(http.MethodPost, "/wxgzh-account/get-access-token?taxpayerId=9111", "")
	s.must(http.MethodPost, "/wxgzh-account/refresh-token?taxpayerId=9111", "")
	s.must(http.MethodPost, "/wxgzh-account/init-all-token", "")
	s.must(http.MethodPost, "/wxgzh-account/refresh-all-token", "")
	s.must(http.MethodDelete, "/api/company/9111", "")
	s.must(http.MethodPost, "/api/client", `{"id":"app"}`)
	s.must(http.MethodPost, "/api/client", `{"id":"app","comment":"x"}`)
	s.must(http.MethodPost, "/api/client/app/rotate", "")
	s.must(http.MethodDelete, "/api/client/app", "")
	s.must(http.MethodPost, "/api/realm", `{"id":"open","config":{"url":"https://a.example/t?t={secret.ticket}","token_path":"t","volatile":["ticket"]}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"open","key":"k"}`)
	s.must(http.MethodPost, "/api/secret/open/k/push", `{"field":"ticket","value":"x"}`)
	s.must(http.MethodDelete, "/api/secret/wxgzh/wxgzh_secret", "")
	s.must(http.MethodDelete, "/api/realm/wxgzh", "")
	s.wantEntries(t,
		"local: realm.create wxgzh// ok", "local: secret.create wxgzh/wxgzh_secret/ ok", "local: realm.update wxgzh// ok", "local: secret.update wxgzh/wxgzh_secret/ ok",
		"local: realm.test wxgzh/wxgzh_secret/ ok",
		"local: token.read wxgzh/wxgzh_secret/ ok", // its repeats are written a minute later
		"local: token.flush wxgzh/wxgzh_secret/ ok",
		"local: company.create //9111 ok",
		"local: token.read wxgzh/wxgzh_secret/ ok", // of the token of the flush
		"local: token.flush wxgzh/wxgzh_secret/ ok", "local: token.flush wxgzh/wxgzh_secret/ ok", "local: token.flush wxgzh/wxgzh_secret/ ok",
		"local: company.delete //9111 ok",
		"local: client.create //app ok", "local: client.update //app ok", "local: client.rotate //app ok", "local: client.delete //app ok",
		"local: realm.create open// ok", "local: secret.create open/k/ ok", "local: secret.push open/k/ ok",
		"local: secret.delete wxgzh/wxgzh_secret/ ok", "local: realm.delete wxgzh// ok",
	)
	list := s.get("/api/audit?act=token.flush&pageSize=2").document()["data"].(map[string]any)
	if list["total"] != 4.0 || len(list["list"].([]any)) != 2 {
		t.Errorf("got %v", list)
	}
	if v := s.json(http.MethodPost, "/api/audit/verify", "").document(); v["intact"] != true || len(v["chains"].([]any)) != 1 {
		t.Errorf("got %v", v)
	}
	for name, value := range map[string]string{"result": "maybe", "from": "yesterday", "to": "1", "page": "0", "actor": "%zz", "act": "token.raed"} {
		s.get("/api/audit?" + name + "=" + value).wrong(name)
	}
	const acts = "there are access, account.authorize, account.callback, audit.checkpoint, backup, client.create, client.delete, client.rotate, client.update, " +
		"company.create, company.delete, company.update, key.rotate, login, realm.create, realm.delete, realm.test, realm.update, " +
		"secret.create, secret.delete, secret.push, secret.update, token.flush, token.read"
	if got := s.get("/api/audit?act=token.raed").body; !strings.Contains(got, acts) || !strings.Contains(got, "did you mean 'token.read'?") {
		t.Errorf("an unknown act: %s", got)
	}
}

// TestRefusalsAreWritten: a refused attempt has the act that was tried, and what
// failed says so.
func TestRefusalsAreWritten(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	app := s.client(t, "app", "allow read wxgzh *")
	app.json(http.MethodDelete, "/api/realm/wxgzh", "").refused(403, "forbidden", "")
	app.json(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"other","key_1":"x"}`).refused(403, "forbidden", "")
	app.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=true").refused(403, "forbidden", "")
	app.get("/api/status").refused(403, "forbidden", "")
	app.get("/api/nothing").refused(404, "not_found", "")
	s.json(http.MethodPost, "/api/secret", `{"realm":"none","key":"k"}`).refused(400, "realm_not_found", "")
	s.json(http.MethodDelete, "/api/client/none", "")
	// The entry did not say which client or company it was about.
	s.json(http.MethodPost, "/api/client", `{"id":"wrong","rules":[{"effect":"allow","rights":["bogus"],"realms":["*"]}]}`).refused(400, "invalid_field", "")
	s.json(http.MethodPost, "/api/company", `{"taxpayer_id":"T9","accounts":{"none":"k"}}`).refused(400, "invalid_field", "")
	s.provider.Set(fakeprovider.Faults{Refuse: fakeprovider.Busy})
	if a := s.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=true"); a.status != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.wantEntries(t,
		"local: realm.create wxgzh// ok", "local: secret.create wxgzh/wxgzh_secret/ ok", "local: client.create //app ok",
		"client:app realm.delete wxgzh// refused forbidden",
		"client:app secret.update wxgzh/other/ refused forbidden",
		"client:app token.flush wxgzh/wxgzh_secret/ refused forbidden",
		"client:app access ///api/status refused forbidden",
		"local: secret.update none/k/ refused realm_not_found",
		"local: client.delete //none refused not_found",
		"local: client.update //wrong refused invalid_field", "local: company.update //T9 refused invalid_field",
		"local: token.flush wxgzh/wxgzh_secret/ ok", "local: token.flush wxgzh/wxgzh_secret/ failed token_unavailable",
	)
}

// TestWithoutAudit: what cannot be written down is not done, but for read-outs
// that were written before.
func TestWithoutAudit(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	app := s.client(t, "app", "allow read wxgzh *")
	spent := s.provider.Fetches()
	s.rename("tokens_audit", "hidden")
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	app.get("/api/token?realm=wxgzh&key=wxgzh_secret").refused(503, "audit_unavailable", "")
	s.get("/api/token?realm=wxgzh&key=wxgzh_secret&flush=true").refused(503, "audit_unavailable", "")
	s.json(http.MethodPost, "/api/realm", `{"id":"another"}`).refused(503, "audit_unavailable", "")
	s.json(http.MethodDelete, "/api/secret/wxgzh/wxgzh_secret", "").refused(503, "audit_unavailable", "")
	if n := s.provider.Fetches(); n != spent {
		t.Errorf("%d token requests were sent without an entry", n-spent)
	}
	s.rename("hidden", "tokens_audit")
	s.get("/api/realm/another").refused(404, "realm_not_found", "")
	s.must(http.MethodGet, "/api/secret/wxgzh/wxgzh_secret", "")
	if v := s.json(http.MethodPost, "/api/audit/verify", "").document(); v["intact"] != true {
		t.Errorf("got %v", v)
	}
}

// rename renames a table.
func (s *server) rename(from, to string) {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(s.t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
		s.t.Fatal(err)
	}
}

// TestVerifyNamesTheBreak: the answer says where the chain is broken.
func TestVerifyNamesTheBreak(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.alter("DELETE FROM tokens_audit WHERE seq = 1")
	v := s.json(http.MethodPost, "/api/audit/verify", "").document()
	chain := v["chains"].([]any)[0].(map[string]any)
	if v["intact"] != false || chain["seq"] != 1.0 || chain["node"] == "" || chain["reason"] != "the entry is missing" {
		t.Errorf("got %v", v)
	}
	lines := s.send(http.MethodPost, "/api/audit/verify", nil, "Accept", typeLines)
	if lines.status != 200 || strings.Count(lines.body, "\n") != 1 || !strings.Contains(lines.body, "the entry is missing") {
		t.Errorf("got %s", lines.body)
	}
}

// TestNothingConfidentialInTheAudit: neither what succeeds nor what is refused
// brings a secret into an entry.
func TestNothingConfidentialInTheAudit(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"grant":{"name":"static"},"shared":{"app_key":"canary-shared"}}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","fields":{"token":"canary-field"},"token":"canary-token"}`)
	s.json(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","fields":"canary-wrong"}`)
	s.json(http.MethodPost, "/api/realm", `{"id":"r","config":{"canary-name":1}}`)
	s.get("/api/token?realm=r&key=k&flush=canary-flag")
	s.get("/r-account/callback-token?code=canary-code&state=canary-state")
	token, _ := s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "").document()["token"].(string)
	key, _ := s.must(http.MethodPost, "/api/client", `{"id":"app"}`).document()["key"].(string)
	s.entries(t, 10)
	all := s.send(http.MethodGet, "/api/audit", nil, "Accept", typeLines).body
	for _, canary := range []string{"canary", "wx1-secret", token, key, string(realm.Mask)} {
		if canary == "" || strings.Contains(all, canary) {
			t.Errorf("%q is in the audit: %s", canary, all)
		}
	}
}

// TestEveryChangeIsAnAct: a route that changes something is audited, and so is
// every GET that the table of acts names. One that is not has to be named here.
func TestEveryChangeIsAnAct(t *testing.T) {
	noAct := []string{"POST /api/explain", "POST /api/audit/verify", "POST /api/caddyfile", "DELETE /api/session", "POST /api/session/link"}
	routed := map[[2]string]bool{}
	for _, rt := range routes {
		routed[[2]string{rt.method, rt.path}] = true
		if _, ok := rt.act(); !ok && rt.method != http.MethodGet && !slices.Contains(noAct, rt.method+" "+rt.path) {
			t.Errorf("%s %s has no act", rt.method, rt.path)
		}
	}
	for at, act := range acts {
		if !routed[at] {
			t.Errorf("%s %s has the act %s, and there is no such route", at[0], at[1], act.name)
		}
	}
}
