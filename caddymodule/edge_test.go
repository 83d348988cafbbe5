package caddymodule

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What an edge has no use for is refused at the start, by name and with the reason.
func TestEdgeRefusesAtTheStart(t *testing.T) {
	t.Setenv("EDGE_KEY", "edge-key-0123456789-0123456789-01")
	t.Setenv("EDGE_NOTHING", "")
	t.Setenv("EDGE_TWO", "two words")
	t.Setenv("EDGE_CLEAR", "http://8.8.8.8")
	const storage = "storage edge https://tokens.internal {\nkey {env.EDGE_KEY}\n}\n"
	for name, tt := range map[string]struct{ tokens, site, want string }{
		"realm":       {storage + "realm x {\ngrant static\n}", "", "realm: an edge has no realms of its own"},
		"cache":       {storage + "cache redis redis://127.0.0.1", "", "cache: an edge keeps tokens in memory only"},
		"encryption":  {storage + "encryption_key {env.EDGE_KEY}", "", "encryption_key: an edge stores nothing"},
		"audit":       {storage + "audit {\nrequests\n}", "", "audit: an edge writes none"},
		"cron":        {storage + "refresh {\ncron \"0 0 * * *\"\n}", "", "refresh: cron, concurrency and timeout"},
		"concurrency": {storage + "refresh {\nconcurrency 2\n}", "", "refresh: cron, concurrency and timeout"},
		"console":     {storage, "token_console\ntoken_admin", "token_console: this instance is an edge"},
		"callback":    {storage, "token_callback", "token_callback: this instance is an edge"},
		"push":        {storage, "token_push r k", "token_push: this instance is an edge"},
		"no key":      {"storage edge https://tokens.internal {\nkey {env.EDGE_NOTHING}\n}", "", "storage: key"},
		"unset key":   {"storage edge https://tokens.internal {\nkey {env.EDGE_UNSET}\n}", "", "storage: key: "},
		"two words":   {"storage edge https://tokens.internal {\nkey {env.EDGE_TWO}\n}", "", "storage: key: must be one word"},
		"in clear":    {"storage edge {env.EDGE_CLEAR} {\nkey {env.EDGE_KEY}\n}", "", "storage: url: must be https"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newInstance(t).tryLoad(tt.tokens, tt.site)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "two words") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	for name, s := range map[string]Storage{
		"url":  {Type: storageSQLite, URL: "https://x"},
		"key":  {Type: storageMySQL, Key: "x"},
		"path": {Type: storageEdge, URL: "https://x", Key: "x", Path: "tokens.db"},
		"none": {Type: storageEdge, URL: "https://x"},
	} {
		if err := new(storeSettings).storage(&s); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// An edge starts before the other instance does, keeps nothing on the disk but what
// the commands need, and says what is wrong. A reload keeps what it knows.
func TestEdgeStartsAlone(t *testing.T) {
	t.Setenv("EDGE_KEY", "edge-key-0123456789-0123456789-01")
	i := newInstance(t)
	tokens := "storage edge http://" + freeAddress(t) + " {\nkey {env.EDGE_KEY}\n}\nrefresh {\nbefore 5%\n}"
	site := "handle_path /any/* {\ntoken_gateway\n}\ntoken_health"
	i.load(tokens, site)
	if a := i.get("/any/wx/main/x"); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, "store_unavailable") {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if a := i.get("/readyz"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before it has reached the other instance it is ready: %s", a.Status)
	}
	i.load(tokens, site+"\n# again")
	files, err := os.ReadDir(filepath.Join(i.dir, "caddy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "tokens") && f.Name() != adminFileName && f.Name() != "tokens.api" {
			t.Errorf("there is %s", f.Name())
		}
	}
	if log := i.log(); strings.Contains(log, os.Getenv("EDGE_KEY")) || !strings.Contains(log, "not heard of any more") {
		t.Error("the log has the key, or does not say that nothing is heard")
	}
}

// There is no database to be filled.
func TestRestoreIntoAnEdge(t *testing.T) {
	_, err := (&restoreFlags{storage: "edge https://tokens.internal"}).store(nil)
	if err == nil || !strings.Contains(err.Error(), "an edge has no database") {
		t.Error(err)
	}
}
