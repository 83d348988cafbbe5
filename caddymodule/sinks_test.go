package caddymodule

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"

	"github.com/caddy-tokens/caddy-tokens/internal/secretscan"
)

// planted is confidential to nobody: it is put into every sink, to see that the
// search would find what is there.
const planted = secretscan.Planted

// leaks returns the secrets that a sink shows.
func leaks(sink string) []secretscan.Finding { return secretscan.Find(sink, canary) }

// sinks are the places where somebody else may read, by their names.
type sinks map[string]string

// wantNoSecret looks for secrets in every sink, and for what was planted there.
func (s sinks) wantNoSecret(t *testing.T, secrets ...string) {
	t.Helper()
	for name, text := range s {
		for _, found := range secretscan.Find(text, secrets...) {
			t.Errorf("%s: a secret is shown, %s", name, found)
		}
		if secretscan.Find(text, planted) == nil {
			t.Errorf("%s: what was planted is not found (%d bytes)", name, len(text))
		}
	}
}

// plant puts the planted text wherever a request leads, if there is a realm of
// that name in the Caddyfile. It makes a client, so that the proxy serves clients
// alone from now on.
func (i *instance) plant() {
	i.t.Helper()
	key := i.createClient(`{"id": "` + planted + `", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["` + planted + `"]}]}`)
	if a := i.get("/any/"+planted+"/main/x", withKey(key)...); a.StatusCode != http.StatusOK {
		i.t.Errorf("%s\n%s", a.Status, a.body)
	}
}

// sinks are those of every instance with SQLite. The files that may hold a secret
// are named.
func (i *instance) sinks(but ...string) sinks {
	i.t.Helper()
	i.must(http.MethodPost, "/api/client", `{"id": "`+planted+`", "comment": "new"}`) // for the first page of the audit
	i.must(http.MethodGet, "/api/token?realm="+planted+"&key=main", "")               // for the status
	question := `{"client": "` + planted + `", "realm": "` + planted + `", "key": "main", "path": "/x"}`
	return sinks{
		"/metrics": i.metrics(), "the log": i.log(), "the access log": accessLog(i.log()),
		"autosave.json": autosaved(i.t), "/config/": i.do(http.MethodGet, "http://"+i.config+"/config/", "").body,
		"pprof": i.profiles(), "the process list": i.processes(),
		"the status": i.must(http.MethodGet, "/api/status", ""), "an explanation": i.must(http.MethodPost, "/api/explain", question),
		"the clients":             i.must(http.MethodGet, "/api/client", "") + i.must(http.MethodGet, "/api/client/"+planted, ""),
		"the realms":              i.must(http.MethodGet, "/api/realm", "") + i.must(http.MethodGet, "/api/realm/"+planted, ""),
		"the secrets":             i.must(http.MethodGet, "/api/secret", "") + i.must(http.MethodGet, "/api/secret/"+planted+"/main", ""),
		"the audit":               i.must(http.MethodGet, "/api/audit?pageSize=100", ""),
		"the export of the audit": i.do(http.MethodGet, "http://"+i.api+"/api/audit", "", "Accept", "application/x-ndjson").body,
		"the backup":              i.must(http.MethodGet, "/api/backup", ""),
		"the files":               i.files(but...), "the database": i.dump("%"), "the rows of the audit": i.dump("tokens_audit"),
	}
}

// captureStderr sends all that the process writes to its stderr into a file,
// until the test ends: what net/http and the runtime write as well.
func captureStderr(t *testing.T) (read func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := unix.Dup(2)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(file.Fd()), 2, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Dup3(saved, 2, 0); err != nil {
			t.Error(err)
		}
		_ = unix.Close(saved)
		_ = file.Close()
	})
	return func() string { return contentOf(t, file.Name()) }
}

func contentOf(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// accessLog is the lines of the access log.
func accessLog(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"logger":"http.log.access`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// profiles are the pages of Caddy's own admin API that show the process. A
// goroutine has the planted text as a label while they are made.
func (i *instance) profiles() string {
	i.t.Helper()
	pages := ""
	defer pprof.SetGoroutineLabels(context.Background())
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("planted", planted)))
	for _, page := range []string{
		"/debug/vars", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=1", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1", "/debug/pprof/mutex?debug=1", "/debug/pprof/threadcreate?debug=1",
	} {
		a := i.do(http.MethodGet, "http://"+i.config+page, "")
		if a.StatusCode != http.StatusOK {
			i.t.Errorf("%s: %s", page, a.Status)
		}
		pages += a.body
	}
	return pages
}

// processes is the command lines of this process and of a child that has the
// planted text in its own.
func (i *instance) processes() string {
	i.t.Helper()
	child := exec.CommandContext(i.t.Context(), "sh", "-c", "echo; read line", planted)
	stdin, err := child.StdinPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		i.t.Fatal(err)
	}
	// Its command line is there once it runs.
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		i.t.Fatal(err)
	}
	lines := contentOf(i.t, "/proc/self/cmdline") + contentOf(i.t, fmt.Sprintf("/proc/%d/cmdline", child.Process.Pid))
	_ = stdin.Close()
	_ = child.Wait()
	return lines
}

// files is the content of every file below the directory of the instance, the
// database and its log of changes among them, but for those that are given.
func (i *instance) files(but ...string) string {
	i.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(i.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || slices.Contains(but, name) {
			return err
		}
		all.WriteString(contentOf(i.t, name) + "\n")
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return all.String()
}

// dump is every value of every row of the tables that match a pattern.
func (i *instance) dump(tables string) string {
	i.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(i.dir, "caddy", "tokens.db")+"?mode=ro")
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var all strings.Builder
	for _, table := range rowsOf(i.t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?", tables) {
		for _, row := range rowsOf(i.t, db, `SELECT * FROM "`+table[0]+`"`) {
			fmt.Fprintln(&all, table[0], strings.Join(row, "\t"))
		}
	}
	return all.String()
}

func rowsOf(t *testing.T, db *sql.DB, query string, args ...any) (list [][]string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, into := make([]sql.RawBytes, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(row))
		for i, value := range row {
			texts[i] = string(value)
		}
		list = append(list, texts)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// startErrors are the errors of configurations that do not start, each with a
// secret in it.
func (i *instance) startErrors() string {
	i.t.Helper()
	all := ""
	for _, tokens := range []string{
		"realm x {\n" + planted + " option\n}",
		"realm x {\ngrant static\nsecret k {\ntoken {env.TOKENS_TEST_SECRET}\n}\nbogus {env.TOKENS_TEST_SECRET}\n}",
		"realm x {\napi https://{secret.host}\ngrant static\ninject query t\nsecret k {\ntoken t\nhost \"{env.TOKENS_TEST_SECRET}/ x\"\n}\n}",
		"realm x {\nfetch https://a.example/t {\nquery a {secret.missing}\n}\ntoken_path t\nsecret k {\nid {env.TOKENS_TEST_SECRET}\n}\n}",
		"realm x {\nfetch https://a.example/t {\nheader A {secret.id}\n}\ntoken_path t\nsecret k {\nid \"{env.TOKENS_TEST_SECRET}\n\"\n}\n}",
		"realm x {\ngrant jwt_bearer {\ntoken_url https://a.example\nclient_id x\naudience y\n}\nsecret k {\nprivate_key {env.TOKENS_TEST_SECRET}\n}\n}",
		"realm x {\ngrant static\nsecret k {\ntoken {env.TOKENS_TEST_SECRET}\nexpires_at {env.TOKENS_TEST_SECRET}\n}\nsecret k {\ntoken {env.TOKENS_TEST_SECRET}\n}\n}",
		"encryption_key {env.TOKENS_TEST_SECRET}",
	} {
		if err := i.tryLoad(tokens, proxyMain); err != nil {
			all += err.Error() + "\n"
		} else {
			i.t.Errorf("this starts: %s", tokens)
		}
	}
	return all
}

// autosaved is what Caddy saved of its configuration.
func autosaved(t *testing.T) string { return contentOf(t, caddy.ConfigAutosavePath) }
