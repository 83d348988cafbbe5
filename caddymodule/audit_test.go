package caddymodule

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// audited are the entries as short texts: kind and id of the actor, address, act,
// realm, key, result, code.
func (i *instance) audited() []string {
	i.t.Helper()
	a := i.do(http.MethodGet, "http://"+i.api+"/api/audit", "", "Accept", "application/x-ndjson")
	if a.StatusCode != http.StatusOK {
		i.t.Fatalf("%s %s", a.Status, a.body)
	}
	var all []string
	for line := range strings.Lines(a.body) {
		var e struct {
			Actor                                  struct{ Kind, ID string }
			Address, Act, Realm, Key, Result, Code string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			i.t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s:%s %s %s %s/%s %s %s", e.Actor.Kind, e.Actor.ID, e.Address, e.Act, e.Realm, e.Key, e.Result, e.Code)))
	}
	return all
}

// wantAudited waits for entries: some are written a moment later.
func (i *instance) wantAudited(want ...string) {
	i.t.Helper()
	for _, entry := range want {
		waitFor(i.t, "the entry "+entry, func() bool { return slices.Contains(i.audited(), entry) })
	}
}

// TestAudit: what is done and refused, on the API and on the proxy, has its
// entry, with who did it and from where. A reload changes what is written.
func TestAudit(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load("allow_private 127.0.0.1", "token_gateway")
	i.must(http.MethodPost, "/api/realm", p.post("r", inQuery))
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "r", "key": "k", "key_1": "%s-secret"}`, canary))
	i.get("/r/k/x")
	before := i.audited()
	if want := []string{"local: 127.0.0.1 realm.create r/ ok", "local: 127.0.0.1 secret.create r/k ok"}; !slices.Equal(before, want) {
		t.Errorf("got %q", before)
	}
	var made struct{ Key string }
	body := i.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["r"]}]}`)
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	i.load("allow_private 127.0.0.1\naudit {\nrequests\n}", "token_gateway")
	i.get("/r/k/x", "Authorization", "Bearer "+made.Key)
	i.get("/other/k/x", "Authorization", "Bearer "+made.Key)
	i.get("/r/k/x")
	i.do(http.MethodGet, "http://"+i.api+"/api/status", "", "Authorization", "Bearer wrong")
	i.do(http.MethodDelete, "http://"+i.api+"/api/realm/r", "", "Authorization", "Bearer "+made.Key)
	i.wantAudited(
		"local: 127.0.0.1 client.create / ok",
		"client:app 127.0.0.1 access r/k ok",
		"client:app 127.0.0.1 access other/k refused forbidden",
		": 127.0.0.1 access / refused forbidden",
		": 127.0.0.1 login / refused forbidden",
		"client:app 127.0.0.1 realm.delete r/ refused forbidden",
	)
	if leaks(strings.Join(i.audited(), "\n")) != nil || strings.Contains(strings.Join(i.audited(), "\n"), made.Key) {
		t.Error("a secret is in the audit")
	}
}

// TestAuditCommand: the verbs write what the API says, and a broken chain is an
// exit status.
func TestAuditCommand(t *testing.T) {
	i := newInstance(t)
	i.load("", "token_gateway")
	for _, id := range []string{"a", "b", "c"} {
		i.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":{"grant":{"name":"static"}}}`)
	}
	api := "http://" + i.api
	out, _, err := onTerminal(t, "audit", "verify", "--api", api)
	if err != nil || !strings.HasSuffix(out, ": the entries 1 to 3 are intact\n") {
		t.Errorf("verify: %v %s", err, out)
	}
	out, _, err = tokens(t, "audit", "export", "--api", api, "--realm", "b", "--act", "realm.create")
	if err != nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, `"realm":"b"`) {
		t.Errorf("export: %v %s", err, out)
	}
	if _, _, err = tokens(t, "audit", "export", "--api", api, "--result", "maybe"); err == nil || !strings.Contains(err.Error(), "must be ok, refused or failed") {
		t.Errorf("a wrong filter: %v", err)
	}

	db, err := sql.Open("sqlite", "file:"+filepath.Join(i.dir, "caddy", "tokens.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), "DELETE FROM tokens_audit WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	out, _, err = onTerminal(t, "audit", "verify", "--api", api)
	if err == nil || !strings.Contains(err.Error(), "1 of 1 chains") || !strings.HasSuffix(out, ": 2: the entry is missing\n") {
		t.Errorf("verify: %v %s", err, out)
	}
}
