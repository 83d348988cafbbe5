package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// columns are what is between the columns of a table.
var columns = regexp.MustCompile(`  +`)

// serveAPI is an API of one function, for answers that an instance seldom gives.
func serveAPI(t *testing.T, f http.HandlerFunc) (base string) {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

// clientVerbs runs verbs against one instance, and keeps all that they show.
type clientVerbs struct {
	*instance
	notes strings.Builder
}

func newClientVerbs(t *testing.T, blocks, site string) *clientVerbs {
	t.Helper()
	withoutCredentials(t)
	v := &clientVerbs{instance: newInstance(t)}
	v.load(blocks, site)
	return v
}

func (v *clientVerbs) run(args ...string) (stdout, stderr string, err error) {
	v.t.Helper()
	stdout, stderr, err = onTerminal(v.t, append(args, "--api", "http://"+v.api)...)
	v.notes.WriteString(stderr)
	if err != nil {
		v.notes.WriteString(err.Error())
	}
	return stdout, stderr, err
}

// ok runs a verb that has to succeed.
func (v *clientVerbs) ok(args ...string) (stdout, stderr string) {
	v.t.Helper()
	stdout, stderr, err := v.run(args...)
	if err != nil {
		v.t.Fatalf("%q: %v\n%s%s", args, err, stdout, stderr)
	}
	return stdout, stderr
}

// key runs a verb that has to write a key, and nothing else, to standard output.
func (v *clientVerbs) key(args ...string) (key, stderr string) {
	v.t.Helper()
	stdout, stderr := v.ok(args...)
	key = strings.TrimSuffix(stdout, "\n")
	if err := access.CheckKey(key); err != nil {
		v.t.Fatalf("%q: standard output is not a key alone: %v\n%s", args, err, stdout)
	}
	return key, stderr
}

// wantErr runs a verb that has to fail with these words.
func (v *clientVerbs) wantErr(words string, args ...string) {
	v.t.Helper()
	if stdout, _, err := v.run(args...); err == nil || !strings.Contains(err.Error(), words) || stdout != "" {
		v.t.Errorf("%q: want %q, got %v\n%s", args, words, err, stdout)
	}
}

// show is a client as the API has it.
func (v *clientVerbs) show(id string) (c tokenstore.Client, document map[string]any) {
	v.t.Helper()
	stdout, _ := v.ok("client", "show", id)
	if err := errors.Join(json.Unmarshal([]byte(stdout), &c), json.Unmarshal([]byte(stdout), &document)); err != nil {
		v.t.Fatal(err)
	}
	return c, document
}

// TestClientCommands: the life of a client by the command line. Its key is what a
// shell takes from standard output, and it does on the proxy what explain says.
func TestClientCommands(t *testing.T) {
	p := newProvider(t)
	v := newClientVerbs(t, p.realm("p", "inject query access_token"), proxyMain)
	first, stderr := v.key("client", "add", "billing", "--allow", "use p main methods GET POST paths /ok/** /x", "--allow", "read gone",
		"--deny", "use * * paths /ok/not", "--limit", "requests 100/s", "--limit", "concurrency 20", "--comment", "ours")
	for _, want := range []string{"This is the first client.", "except where auth none or auth local is written", `rules[1].realms[0]: there is no realm "gone"`, "client billing was created"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("nothing says %q:\n%s", want, stderr)
		}
	}
	status := func(key, path string, want int) {
		t.Helper()
		if a := v.get("/any/p/main"+path, withKey(key)...); a.StatusCode != want {
			t.Errorf("%s: %s, want %d\n%s", path, a.Status, want, a.body)
		}
	}
	for path, want := range map[string]struct {
		status  int
		verdict string
		reason  string
	}{
		"/ok/a?x=<1>": {200, "allowed", "rule 0 allows use"},
		"/ok/not":     {403, "refused", "rule 2 denies use"},
		"/other":      {403, "refused", "no rule allows use"},
	} {
		status(first, strings.ReplaceAll(path, "<1>", "1"), want.status)
		stdout, stderr, err := v.run("explain", "--client", "billing", "--realm", "p", "--key", "main", "--path", path)
		if !strings.HasPrefix(stdout, want.verdict+"\n- ") || !strings.Contains(stdout, "- "+want.reason) || (err == nil) != (want.status == 200) || stderr != "" {
			t.Errorf("%s: %v\n%s%s", path, err, stdout, stderr)
		}
		if err != nil && err.Error() != "exiting with status 2" {
			t.Errorf("%s: %v", path, err)
		}
	}
	calls := p.calls.Load()
	stdout, _, _ := v.run("explain", "--client", "billing", "--realm", "p", "--key", "main", "--method", "DELETE", "--path", "/x", "--json")
	var answer struct {
		Allowed *bool
		Rule    *int
		Reasons []string
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Allowed == nil || *answer.Allowed || answer.Rule != nil || len(answer.Reasons) == 0 {
		t.Errorf("%v: %s", err, stdout)
	}
	if p.calls.Load() != calls {
		t.Error("explain sent a request")
	}

	second, stderr := v.key("client", "rotate", "billing", "--keep", "7d")
	if !strings.Contains(stderr, "the key before is good until "+time.Now().Add(7*24*time.Hour).UTC().Format("2006-01-02T")) {
		t.Errorf("rotate says:\n%s", stderr)
	}
	status(first, "/x", 200)
	status(second, "/x", 200)
	if stdout, _ := v.ok("client", "list"); !strings.Contains(stdout, "  2, one until 20") {
		t.Errorf("the list:\n%s", stdout)
	}
	third, stderr := v.key("client", "rotate", "billing")
	if !strings.Contains(stderr, "no key of before is good any more") {
		t.Errorf("rotate says:\n%s", stderr)
	}
	status(first, "/x", 403)
	status(second, "/x", 403)
	status(third, "/x", 200)
	if stdout, _ := v.ok("client", "delete", "billing"); stdout != "client billing was deleted\n" {
		t.Errorf("delete says %q", stdout)
	}
	status(third, "/x", 403)
	for _, key := range []string{first, second, third} {
		if strings.Contains(v.notes.String()+v.log(), key) {
			t.Error("a key is in an error, in a note or in the log")
		}
	}
}

// TestClientAddFlags: every flag arrives, an update leaves alone what no flag
// says, and what show writes can be given back.
func TestClientAddFlags(t *testing.T) {
	v := newClientVerbs(t, "", "")
	stdout, stderr := v.ok("client", "add", "c", "--allow", "use,read * methods*", "--deny", "use methods k paths /a/** /b methods GET",
		"--allow", "admin *", "--limit", " fetches  60/h ", "--user", "alice, the first", "--user", "bob", "--subject", "CN=a,O=b",
		"--source", "10.1.0.0/16", "--edge", "--expires", "30d", "--comment", "ours")
	if stdout != "" || !strings.Contains(stderr, "client c was saved; it got no new key") {
		t.Errorf("%s%s", stdout, stderr)
	}
	want := tokenstore.Client{
		ID: "c", Comment: "ours", Rules: []tokenstore.Rule{
			{Effect: "allow", Rights: []string{"use", "read"}, Realms: []string{"*"}, Keys: []string{"methods*"}},
			{Effect: "deny", Rights: []string{"use"}, Realms: []string{"methods"}, Keys: []string{"k"}, Methods: []string{"GET"}, Paths: []string{"/a/**", "/b"}},
			{Effect: "allow", Rights: []string{"admin"}, Realms: []string{"*"}},
		},
		Limits: tokenstore.ClientLimits{Fetches: "60/h"}, Users: []string{"alice, the first", "bob"}, Subjects: []string{"CN=a,O=b"},
		Sources: []string{"10.1.0.0/16"}, Edge: true, Keys: []tokenstore.ClientKey{},
	}
	same := func() (document map[string]any) {
		t.Helper()
		got, document := v.show("c")
		got.CreatedAt, got.UpdatedAt, got.UsedAt = time.Time{}, time.Time{}, time.Time{}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
		return document
	}
	end, err := time.Parse(time.RFC3339, same()["expires_at"].(string))
	if left := time.Until(end); err != nil || left < 719*time.Hour || left > 720*time.Hour {
		t.Errorf("it ends in %v, %v", left, err)
	}

	v.ok("client", "add", "c", "--update", "--limit", "requests 5/m", "--edge=false", "--expires", "never", "--comment", "")
	want.Limits, want.Edge, want.Comment = tokenstore.ClientLimits{Requests: "5/m"}, false, ""
	if end := same()["expires_at"]; end != nil {
		t.Errorf("it ends at %v", end)
	}
	v.ok("client", "add", "c", "--update", "--expires", "2099-01-31T12:00:00+02:00")
	if end := same()["expires_at"]; end != "2099-01-31T10:00:00Z" {
		t.Errorf("it ends at %v", end)
	}

	document, _ := v.ok("client", "show", "c")
	file := filepath.Join(t.TempDir(), "client.json")
	writeFile(t, file, strings.Replace(document, `"comment": ""`, `"comment": "<by file>"`, 1))
	v.ok("client", "add", "--update", "--file", file)
	v.ok("client", "add", "c", "--update", "--file", file)
	want.Comment = "<by file>"
	same()
	if key, stderr := v.key("client", "add", "bare"); key == "" || !strings.Contains(stderr, "no rule") {
		t.Errorf("a client without rules: %s", stderr)
	}
}

// TestClientAddFromStandardInput: --file - reads the JSON there.
func TestClientAddFromStandardInput(t *testing.T) {
	v := newClientVerbs(t, "", "")
	f := clientAddCommand()
	f.SetIn(strings.NewReader(`{"id": "piped", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["a", "b c"]}]}`))
	var out strings.Builder
	f.SetOut(&out)
	f.SetErr(io.Discard)
	f.SetArgs([]string{"--file", "-", "--api", "http://" + v.api})
	if err := f.ExecuteContext(t.Context()); err != nil || access.CheckKey(strings.TrimSpace(out.String())) != nil {
		t.Fatalf("%v %s", err, out.String())
	}
	if c, _ := v.show("piped"); len(c.Rules) != 1 || len(c.Rules[0].Realms) != 2 {
		t.Errorf("got %+v", c)
	}
}

// TestClientList: the table has what an operator looks for, page after page, and
// nothing of it is a command for a terminal.
func TestClientList(t *testing.T) {
	v := newClientVerbs(t, clientBlock(t, "allow use,read crm *\nlimit concurrency 3"), "")
	if stdout, _ := v.ok("client", "list", "--keyword", "nobody", "--json"); stdout != "[]\n" {
		t.Errorf("an empty list: %q", stdout)
	}
	v.key("client", "add", "many", "--allow", "use a", "--deny", "use b k methods GET paths /"+strings.Repeat("long/", 20), "--allow", "use c", "--expires", "2099-01-31T12:00:00Z")
	stdout, _ := v.ok("client", "list")
	var rows [][]string
	for line := range strings.Lines(stdout) {
		rows = append(rows, columns.Split(strings.TrimRight(line, "\n"), -1))
	}
	if want := [][]string{
		{"ID", "RULES", "LIMITS", "KEYS", "LAST USED", "EXPIRES", "DEFINED IN"},
		{"app", "allow use,read crm *", "concurrency 3", "1", "never", "never", "Caddyfile"},
		{"many", "allow use a; " + ("deny use b k GET /" + strings.Repeat("long/", 20))[:60] + "...; 1 more", "none", "1", "never", "2099-01-31T12:00:00Z", "database"},
	}; !reflect.DeepEqual(rows, want) {
		t.Errorf("got  %q\nwant %q", rows, want)
	}
	stdout, _ = v.ok("client", "list", "--json", "--keyword", "MANY")
	var list []tokenstore.Client
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || len(list) != 1 || list[0].ID != "many" || len(list[0].Rules) != 3 {
		t.Errorf("%v %s", err, stdout)
	}

	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") == "1" {
			_, _ = w.Write([]byte(`{"data": {"list": [{"id": "a\u001b[2J"}], "total": 2}}`))
			return
		}
		_, _ = w.Write([]byte(`{"data": {"list": [{"id": "b", "comment": "<&>", "damaged": true, "used_at": "2026-11-29T19:00:00Z", "keys": []}], "total": 2}}`))
	})
	stdout, _, err := onTerminal(t, "client", "list", "--api", base)
	if err != nil || strings.Contains(stdout, "\x1b") || !strings.Contains(stdout, `"a\x1b[2J"`) || !strings.Contains(stdout, "unknown  unknown  unknown  2026-11-29 19h  never    database (damaged)") {
		t.Errorf("%v\n%s", err, stdout)
	}
	if stdout, _, err = tokens(t, "client", "list", "--json", "--api", base); err != nil || !strings.Contains(stdout, `"comment": "<&>"`) {
		t.Errorf("%v\n%s", err, stdout)
	}
}

// TestClientCommandsRefuse: what is wrong is named, in the API's words where the
// API refuses it, and nothing is changed.
func TestClientCommandsRefuse(t *testing.T) {
	v := newClientVerbs(t, clientBlock(t, "allow use *"), "")
	old, _ := v.key("client", "add", "old", "--allow", "use *")
	_, before := v.show("old")
	file := filepath.Join(t.TempDir(), "client.json")
	writeFile(t, file, `{"id": "new", "key": "`+canary+`"}`)
	other := filepath.Join(t.TempDir(), "other.json")
	writeFile(t, other, canary)
	add := func(args ...string) []string { return append([]string{"client", "add", "new"}, args...) }
	for _, c := range []struct {
		want string
		args []string
	}{
		{"client old exists: --update changes it", []string{"client", "add", "old", "--allow", "use x"}},
		{"the client is defined in the Caddyfile", []string{"client", "add", "app", "--update"}},
		{"the client is defined in the Caddyfile", []string{"client", "rotate", "app"}},
		{"the client is defined in the Caddyfile", []string{"client", "delete", "app"}},
		{"there is no such client", []string{"client", "show", "nobody"}},
		{"there is no such client", []string{"client", "rotate", "nobody"}},
		{"there is no such client", []string{"client", "delete", "nobody"}},
		{"there is no such client", []string{"explain", "--client", "nobody", "--realm", "r", "--key", "k"}},
		{"--realm is missing", []string{"explain", "--client", "old", "--key", "k"}},
		{"path: must begin with a slash", []string{"explain", "--client", "old", "--realm", "r", "--key", "k", "--path", "x"}},
		{"keep: ", []string{"client", "rotate", "old", "--keep", "long"}},
		{`id: must not be ".."`, []string{"client", "delete", ".."}},
		{"id: is required", []string{"client", "show", ""}},
		{"id: must not hold", []string{"client", "add", "a/b"}},
		{"name the client", []string{"client", "add"}},
		{"the id of the client is missing: write caddy tokens client rotate ID", []string{"client", "rotate"}},
		{"too many arguments: write caddy tokens client add ID", add("surplus")},
		{"surplus argument", []string{"explain", "surplus"}},

		{"rules[0].rights[0]: is not a right", add("--allow", "usee *")},
		{"rules[1].rights[1]: is not a right", add("--allow", "use x", "--deny", "use, *")},
		{"rules[0].realms[0]: a**b", add("--allow", "use a**b")},
		{"rules[0].paths[0]: /a**b", add("--allow", "use * paths /a**b")},
		{"rules[0].methods[0]: is not a method; write GET", add("--allow", "use * methods get")},
		{"only the right use has methods and paths", add("--allow", "use,read * paths /a")},
		{`"--allow" flag: takes rights, a realm`, add("--allow", "use")},
		{`"--allow" flag: takes rights, a realm`, add("--allow", "use r k more")},
		{`"--allow" flag: takes rights, a realm`, add("--allow", "")},
		{`"--deny" flag: names no paths`, add("--deny", "use r paths")},
		{`"--deny" flag: names no methods`, add("--deny", "use r methods paths /a")},
		{`"--deny" flag: has paths twice`, add("--deny", "use r paths /a paths /b")},
		{`"--allow" flag: has a quote or a brace`, add("--allow", `use "a b"`)},
		{`"--allow" flag: has a quote or a brace`, add("--allow", "use r { paths /a }")},
		{`limits.requests: has the unit "x"`, add("--limit", "requests 100/x")},
		{"limits.fetches: ", add("--limit", "fetches 0/s")},
		{`concurrency "0" is not a number from 1 on`, add("--limit", "concurrency 0")},
		{`concurrency "many" is not a number from 1 on`, add("--limit", "concurrency many")},
		{`unknown limit "burst"`, add("--limit", "burst 1")},
		{"takes what is limited and how much", add("--limit", "requests")},
		{"limit requests is given twice", add("--limit", "requests 1/s", "--limit", "requests 2/s")},
		{"sources[0]: has host bits", add("--source", "10.1.2.3/16")},
		{"users[0]: is empty", add("--user", "")},
		{`--expires: "soon" is neither`, add("--expires", "soon")},
		{`--expires: "" is neither`, add("--expires", "")},
		{"expires_at: is in the past", add("--expires", "2001-01-01T00:00:00Z")},
		{"unknown flag: --key", add("--key", "ctk_mine")},

		{"--file and --comment exclude each other", []string{"client", "add", "--file", file, "--comment", "x"}},
		{"--file and --allow exclude each other", []string{"client", "add", "--file", file, "--allow", "use x"}},
		{"--file: open", []string{"client", "add", "--file", file + ".none"}},
		{"--file: it is not one JSON object", []string{"client", "add", "--file", other}},
		{`--file: its id is "new", and the client is to be "old"`, []string{"client", "add", "old", "--file", file, "--update"}},
		{"key: is not known", []string{"client", "add", "--file", file}},
	} {
		v.wantErr(c.want, c.args...)
	}
	if _, after := v.show("old"); !reflect.DeepEqual(after["rules"], before["rules"]) || !reflect.DeepEqual(after["keys"], before["keys"]) {
		t.Errorf("client old was changed: %v", after)
	}
	if stdout, _ := v.ok("client", "list", "--json", "--keyword", "new"); stdout != "[]\n" {
		t.Errorf("a client was made: %s", stdout)
	}
	if notes := v.notes.String(); strings.Contains(notes, old) || leaks(notes) != nil {
		t.Error("an error shows what is confidential")
	}
}

// TestClientCommandsWithAKey: a client with the rights can make other clients.
// One without them is told what is wrong, and so is one that deletes itself.
func TestClientCommandsWithAKey(t *testing.T) {
	v := newClientVerbs(t, "", "")
	as := func(name string, flags ...string) (file string) {
		t.Helper()
		key, _ := v.key(append([]string{"client", "add", name}, flags...)...)
		file = filepath.Join(t.TempDir(), name)
		writeFile(t, file, key+"\n")
		t.Cleanup(func() {
			if strings.Contains(v.notes.String()+v.log(), key) {
				t.Errorf("the key of %s is in an error, in a note or in the log", name)
			}
		})
		return file
	}
	root := as("root", "--allow", "admin,admin_read *")
	writer := as("writer", "--allow", "admin *")
	user := as("user", "--allow", "use,read *")

	v.key("client", "add", "new", "--api-token-file", root)
	if stdout, _, err := v.run("explain", "--client", "user", "--realm", "r", "--key", "k", "--api-token-file", root); !strings.HasPrefix(stdout, "refused\n") {
		t.Errorf("explain: %v %s", err, stdout)
	}
	v.key("client", "add", "by-writer", "--update", "--api-token-file", writer)
	v.wantErr("the client that you are using", "client", "delete", "root", "--api-token-file", root)
	for file, verbs := range map[string][][]string{
		writer: {{"client", "add", "x"}, {"client", "list"}, {"client", "show", "new"}, {"explain", "--client", "new", "--realm", "r", "--key", "k"}},
		user: {
			{"client", "add", "x", "--update"},
			{"client", "list"},
			{"client", "show", "new"},
			{"client", "rotate", "new"},
			{"client", "delete", "new"},
			{"explain", "--client", "new", "--realm", "r", "--key", "k"},
		},
	} {
		for _, args := range verbs {
			v.wantErr("the caller has no right to do this: it needs the right admin", append(args, "--api-token-file", file)...)
		}
	}
	if stdout, _ := v.ok("client", "list", "--json", "--keyword", "x"); stdout != "[]\n" {
		t.Errorf("a client was made: %s", stdout)
	}
}

// failing is a standard output whose reader is gone.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestKeyThatCannotBeWritten: it is made and nobody has it, so that the operator
// is told what to do, and the exit status is not 0.
func TestKeyThatCannotBeWritten(t *testing.T) {
	v := newClientVerbs(t, "", "")
	for _, run := range []struct {
		command *cobra.Command
		args    []string
	}{{clientAddCommand(), []string{"c"}}, {clientRotateCommand(), []string{"c"}}} {
		run.command.SetOut(failing{})
		run.command.SetErr(io.Discard)
		run.command.SetArgs(append(run.args, "--api", "http://"+v.api))
		if err := run.command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "make another one with caddy tokens client rotate") {
			t.Errorf("%s: %v", run.command.Name(), err)
		}
	}
}

// TestClientAddAtTheSameMoment: somebody else created the client between the look
// and the save. No key is written, and the exit status is not 0.
func TestClientAddAtTheSameMoment(t *testing.T) {
	withoutCredentials(t)
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code": "not_found", "detail": "there is no such client"}`))
			return
		}
		_, _ = w.Write([]byte(`{"id": "c", "rules": [], "users": []}`))
	})
	if stdout, _, err := tokens(t, "client", "add", "c", "--api", base); err == nil || stdout != "" || !strings.Contains(err.Error(), "created by somebody else") {
		t.Errorf("%v %s", err, stdout)
	}
}

// TestClientCommandsOnAnotherServer: what is not the API is told, without the
// words of whoever answers.
func TestClientCommandsOnAnotherServer(t *testing.T) {
	withoutCredentials(t)
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/gone/") {
			http.Error(w, canary, http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte("hello " + canary))
	})
	for _, path := range []string{"", "/gone"} {
		for _, args := range [][]string{
			{"client", "add", "c"},
			{"client", "add", "c", "--update"},
			{"client", "list"},
			{"client", "show", "c"},
			{"client", "rotate", "c"},
			{"explain", "--client", "c", "--realm", "r", "--key", "k"},
		} {
			stdout, stderr, err := tokens(t, append(args, "--api", base+path)...)
			if err == nil || stdout != "" || leaks(stderr+err.Error()) != nil {
				t.Errorf("%s %q: %v\n%s%s", path, args, err, stdout, stderr)
			}
		}
	}
}
