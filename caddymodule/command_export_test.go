package caddymodule

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// results are the lines of a report, as kind id key result.
func results(t *testing.T, stdout string) string {
	t.Helper()
	var report []imported
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	var lines []string
	for _, r := range report {
		lines = append(lines, strings.Join(strings.Fields(r.Kind+" "+r.ID+" "+r.Key+" "+r.Result+" "+strings.Join(r.Fields, ",")+" "+map[bool]string{true: r.Reason}[r.Result == becameFailed]), " "))
	}
	return strings.Join(lines, "\n")
}

// TestExportAndImport: an export of one instance makes the same realms, companies
// and clients on another, in the order that they need, and says which values are
// missing. A second import changes nothing.
func TestExportAndImport(t *testing.T) {
	withoutCredentials(t)
	const written = "realm own {\nfetch GET https://own.example/t {\nquery a b\n}\ntoken_path t\n}"
	from := newInstance(t)
	from.load(written, "")
	for path, bodies := range map[string][]string{
		"/api/realm": {
			`{"id":"parent","config":{"api":"https://a.example","url":"https://a.example/t","token_path":"t","default_key":"main","arguments":[{"name":"s","place":"url","value":"{secret.s}"}],"inject":[{"place":"url","name":"t"}]}}`,
			`{"id":"child","comment":"<b>","config":{"hosts":["a.example"],"url":"https://a.example/u","token_path":"t","arguments":[{"name":"p","place":"url","value":"{token_of.parent}"},{"name":"k","place":"url","value":"{secret.app_key}"}],"shared":{"app_key":"` + canary + `"}}}`,
		},
	} {
		for _, body := range bodies {
			from.must(http.MethodPost, path, body)
		}
	}
	from.must(http.MethodPost, "/api/secret", `{"realm":"parent","key":"main","fields":{"s":"`+canary+`"},"key_1":"`+canary+`","inject_only":true}`)
	from.must(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","company_name":"X","accounts":{"parent":"main"}}`)
	from.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["parent"]}]}`)

	first, stderr, err := tokens(t, "export", "--api", "http://"+from.api)
	if err != nil {
		t.Fatal(err, stderr)
	}
	second, _, _ := tokens(t, "export", "--api", "http://"+from.api)
	if first != second || strings.Contains(first, canary) || strings.Contains(first, "ctk_") || strings.Contains(first, `"own"`) || !strings.Contains(first, "<b>") {
		t.Errorf("the export:\n%s\n%s", first, second)
	}
	one, _, err := tokens(t, "export", "--realm", "parent", "--api", "http://"+from.api)
	if err != nil || strings.Contains(one, `"child"`) || strings.Contains(one, "9111") || !strings.Contains(one, `"key_1"`) {
		t.Errorf("one realm: %v\n%s", err, one)
	}
	if _, _, err := tokens(t, "export", "--realm", "nobody", "--api", "http://"+from.api); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a realm that is not there: %v", err)
	}
	// At home, everything is as it should be.
	stdout, _, err := tokensWith(t, first, "import", "--file", "-", "--api", "http://"+from.api)
	if want := "realm child unchanged\nrealm parent unchanged\nsecret parent main unchanged\ncompany 9111 unchanged\nclient app unchanged"; err != nil || results(t, stdout) != want {
		t.Errorf("an import at home: %v\n%s", err, results(t, stdout))
	}

	file := filepath.Join(t.TempDir(), "export.json")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	to := newInstance(t)
	to.load("", "")
	to.importsAll(file)
}

// importsAll imports the document of TestExportAndImport.
func (i *instance) importsAll(file string) {
	i.t.Helper()
	run := func(args ...string) (string, string, error) {
		stdout, stderr, err := tokens(i.t, append([]string{"import", "--file", file, "--api", "http://" + i.api}, args...)...)
		return results(i.t, stdout), stderr, err
	}
	report, stderr, _ := run("--dry-run")
	if !strings.Contains(stderr, "dry run") || !strings.Contains(report, "realm parent created") {
		i.t.Errorf("a dry run: %s\n%s", stderr, report)
	}
	if list := i.must(http.MethodGet, "/api/realm", ""); !strings.Contains(list, `"total":0`) {
		i.t.Errorf("a dry run wrote: %s", list)
	}
	report, _, err := run()
	want := "realm parent created\nrealm child created app_key\nsecret parent main needs_values key_1,s\ncompany 9111 created\nclient app created"
	if err != nil || report != want {
		i.t.Errorf("an import: %v\n%s", err, report)
	}
	if secret := i.must(http.MethodGet, "/api/secret/parent/main", ""); !strings.Contains(secret, `"inject_only":true`) {
		i.t.Errorf("its token may be seen: %s", secret)
	}
	report, _, err = run()
	want = "realm child unchanged app_key\nrealm parent unchanged\nsecret parent main needs_values key_1,s\ncompany 9111 unchanged\nclient app unchanged"
	if err != nil || report != want {
		i.t.Errorf("a second import: %v\n%s", err, report)
	}
	i.must(http.MethodPost, "/api/realm", `{"id":"parent","comment":"changed here"}`)
	if report, _, _ := run(); !strings.Contains(report, "realm parent updated") {
		i.t.Errorf("an import over a change:\n%s", report)
	}
}

// TestImportFileRefused: what is no export is refused before anything is written,
// and what the Caddyfile defines is not touched.
func TestImportFileRefused(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load("realm own {\nfetch GET https://own.example/t {\nquery a b\n}\ntoken_path t\n}", "")
	for input, words := range map[string]string{
		"":                "not a document",
		"[]":              "not a document",
		`{"version": 99}`: "not a document",
		`{"version": 1, "realms": [{"id": "own", "config": {}}, {"config": {}}, {"id": "x", "config": {"api": 1}}]}`: "3 objects were not imported",
	} {
		_, _, err := tokensWith(t, input, "import", "--file", "-", "--api", "http://"+i.api)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v; want %q", input, err, words)
		}
	}
}
