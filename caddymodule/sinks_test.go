package caddymodule

import (
	"context"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite"
)

// planted is confidential to nobody: it is put into every sink, to see that the
// search would find what is there.
const planted = "planted7e3b"

// encodingsOf are the encodings in which a text is looked for. Those that are alike
// in both cases stand in lower case, and are looked for in lower case.
func encodingsOf(text string) (exact, inLowerCase map[string]string) {
	each := func(format string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	inLowerCase = map[string]string{
		"plain": text, "percent": each("%%%02x"), "percent twice": each("%%25%02x"), "JSON": each(`\u%04x`), "JSON twice": each(`\\u%04x`),
		`\x`: each(`\x%02x`), "HTML": each("&#%d;"), "HTML hex": each("&#x%x;"), "hex": each("%02x"), "hex dump": strings.TrimSpace(each("%02x ")),
		"quoted-printable": each("=%02x"), "UTF-16": string(wide), "zero width": strings.Join(strings.Split(text, ""), "\u200b"),
	}
	exact = map[string]string{}
	for name, bytes := range map[string][]byte{"base64": []byte(text), "base64 of UTF-16": wide} {
		for shift := range 3 { // three bytes make four digits
			digits := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), bytes...))
			exact[fmt.Sprint(name, " at ", shift)] = digits[(8*shift+5)/6 : len(digits)-1]
		}
	}
	for shift := range 5 { // five bytes make eight digits
		digits := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append(make([]byte, shift), text...))
		exact[fmt.Sprint("base32 at ", shift)] = digits[(8*shift+4)/5 : len(digits)-1]
	}
	return exact, inLowerCase
}

// leaksOf returns the encodings in which a sink shows a text.
func leaksOf(sink, text string) (found []string) {
	exact, inLowerCase := encodingsOf(text)
	lower := strings.ToLower(sink)
	for name, form := range exact {
		if strings.Contains(sink, form) {
			found = append(found, name)
		}
	}
	for name, form := range inLowerCase {
		if strings.Contains(lower, form) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// leaks returns the encodings in which a sink shows a secret.
func leaks(sink string) []string { return leaksOf(sink, canary) }

// TestLeaksAreFound: the search finds a text in each of its encodings, wherever
// it stands among other bytes.
func TestLeaksAreFound(t *testing.T) {
	exact, inLowerCase := encodingsOf(canary)
	if n := len(exact) + len(inLowerCase); n < 12 {
		t.Errorf("%d encodings", n)
	}
	for before := range 6 {
		text := strings.Repeat("<", before) + canary + ">more"
		wide := make([]byte, 0, 2*len(text))
		for _, c := range []byte(text) {
			wide = append(wide, c, 0)
		}
		for name, sink := range map[string]string{
			"plain": text, "other case": strings.ToUpper(text), "percent": url.PathEscape(text), "hex": hex.EncodeToString([]byte(text)),
			"capital hex": strings.ToUpper(hex.EncodeToString([]byte(text))), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(text)), "base32": base32.StdEncoding.EncodeToString([]byte(text)),
			"UTF-16": string(wide), "base64 of UTF-16": base64.StdEncoding.EncodeToString(wide),
			"base64 of wide UTF-16": base64.StdEncoding.EncodeToString(append([]byte{0}, wide...)),
		} {
			if leaksOf(sink, canary) == nil {
				t.Errorf("%s behind %d bytes is not found", name, before)
			}
		}
	}
	if found := leaksOf(strings.Repeat("canary 5f1c, ordinary text ", 1000), canary); found != nil {
		t.Errorf("found where it is not: %v", found)
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
	child := exec.CommandContext(i.t.Context(), "sh", "-c", "read line", planted)
	stdin, err := child.StdinPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
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

// dump is every value of every row of the database.
func (i *instance) dump() string {
	i.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(i.dir, "caddy", "tokens.db")+"?mode=ro")
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var all strings.Builder
	for _, table := range rowsOf(i.t, db, "SELECT name FROM sqlite_master WHERE type = 'table'") {
		for _, row := range rowsOf(i.t, db, `SELECT * FROM "`+table[0]+`"`) {
			fmt.Fprintln(&all, table[0], strings.Join(row, "\t"))
		}
	}
	return all.String()
}

func rowsOf(t *testing.T, db *sql.DB, query string) (list [][]string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
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
