package caddymodule

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// TestNothingLeaksIntoServers: whoever gets a dump, a log or a file of the database
// server, or one of Redis, has no secret and no token. For SQLite see
// TestNothingLeaks.
func TestNothingLeaksIntoServers(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	server := testserver.OwnMariaDB(t, "--log-bin=binlog", "--binlog-format=ROW", "--general-log", "--general-log-file=general.log")
	cache := testserver.OwnRedis(t)
	redis := cache.Client(t)
	for _, option := range [][2]string{{"appendonly", "yes"}, {"rdbcompression", "no"}} {
		if err := redis.ConfigSet(t.Context(), option[0], option[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := redis.Set(t.Context(), "planted", "a text with "+planted+" in it", 0).Err(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOKENS_TEST_DSN", server.DSN())
	t.Setenv("TOKENS_TEST_SECRET", canary+"-from-the-environment")
	tokens := strings.ReplaceAll(p.realm("p", "inject query access_token\nrenew_on status 401"), canary+"-secret", "{env.TOKENS_TEST_SECRET}")
	i.load(fmt.Sprintf("storage mysql {env.TOKENS_TEST_DSN}\nencryption_key %s\ncache redis %s\nallow_private 127.0.0.1\n", newKey(t), cache.URL())+tokens, proxyMain)
	for _, id := range []string{"db", planted} {
		i.must(http.MethodPost, "/api/realm", p.post(id, inQuery))
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": %q, "key": "main", "key_1": "%s-posted"}`, id, canary))
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": %q, "key": "fixed", "key_1": "x", "token": "%s-imported", "expires_at": 33000000000000}`, id, canary))
		for _, path := range []string{"/p/x", "/any/" + id + "/main/x", "/any/" + id + "/fixed/x"} {
			if a := i.get(path); a.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s\n%s", path, a.Status, a.body)
			}
		}
		i.must(http.MethodGet, "/api/token?realm="+id+"&key=main&flush=true", "")
	}
	files := filesOfMariaDB(t, server)
	if err := redis.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	files["the RDB file"] = contentsOf(t, cache.Dir(), "*.rdb")
	files["the append-only files"] = contentsOf(t, cache.Dir(), "appendonlydir/*")
	files.wantNoSecret(t, canary)
	if n, err := redis.DBSize(t.Context()).Result(); err != nil || n < 2 {
		t.Errorf("Redis has %d keys (%v): no token was written", n, err)
	}
}

// filesOfMariaDB are the rows of all tables, the files of the tables, and what the
// server logs of the changes.
func filesOfMariaDB(t *testing.T, server *testserver.MySQL) sinks {
	t.Helper()
	db, err := sql.Open("mysql", server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var dump strings.Builder
	var tables []string
	for _, table := range rowsOf(t, db, "SHOW TABLES") {
		tables = append(tables, server.Schema()+"."+table[0])
		for _, row := range rowsOf(t, db, "SELECT * FROM "+table[0]) {
			fmt.Fprintln(&dump, table[0], strings.Join(row, "\t"))
		}
	}
	server.Exec(t, "FLUSH TABLES "+strings.Join(tables, ", ")+" FOR EXPORT") // the pages in memory are written
	return sinks{
		"the rows": dump.String(), "the files of the tables": contentsOf(t, server.Dir(), server.Schema()+"/*.ibd"),
		"the binary log": contentsOf(t, server.Dir(), "binlog.0*"), "the redo log": contentsOf(t, server.Dir(), "ib_logfile*"),
		"the general log": contentsOf(t, server.Dir(), "general.log"),
	}
}

// contentsOf is the content of all files that match a pattern.
func contentsOf(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s in %s: %v", pattern, dir, err)
	}
	var all strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

// TestNothingLeaksIntoTraces: what Caddy sends to a collector of traces (OTLP) has no
// token.
func TestNothingLeaksIntoTraces(t *testing.T) {
	var mu sync.Mutex
	var sent bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = sent.ReadFrom(r.Body) // protobuf, which has texts in clear
	}))
	t.Cleanup(collector.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	p, i := newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/?t="+r.URL.Query().Get("access_token"))
		if r.URL.Path == "/dead" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	i.load(p.realm("p", "inject query access_token\nrenew_on status 401"), "tracing\n"+proxyMain)
	for _, path := range []string{"/p/x", "/p/dead", "/any/p/main/" + planted, "/any/nope/x/y"} {
		i.get(path)
	}
	if err := caddy.Stop(); err != nil { // what is not sent yet is sent now
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	sinks{"the traces": sent.String()}.wantNoSecret(t, canary)
	if p.fetches.Load() < 2 {
		t.Errorf("%d token requests", p.fetches.Load())
	}
}
