package caddymodule

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// tokens runs `caddy tokens` with these arguments.
func tokens(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := tokensCommand()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// tokensCommand is `caddy tokens`, as Caddy makes it.
func tokensCommand() *cobra.Command {
	registered := caddycmd.Commands()["tokens"]
	cmd := &cobra.Command{Use: registered.Name, SilenceUsage: true}
	registered.CobraFunc(cmd)
	return cmd
}

// oldDatabase is a database of the earlier token cache service.
func oldDatabase(t *testing.T) (dsn string) {
	t.Helper()
	dsn = testserver.MariaDB(t).DSN()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		"CREATE TABLE realm (id VARCHAR(64) PRIMARY KEY, config JSON, logic_code VARCHAR(5000), comment VARCHAR(255))",
		"CREATE TABLE secret (`key` VARCHAR(64), realm VARCHAR(64), key_1 VARCHAR(200), token TEXT, expires_at BIGINT, PRIMARY KEY (`key`, realm))",
		`INSERT INTO realm VALUES ('wxgzh', '{"url": "https://api.weixin.qq.com/x", "token_path": "t",
			"arguments": [{"name": "a", "place": "url", "value": "$key_1"}]}', NULL, NULL)`,
		"INSERT INTO secret VALUES ('main', 'wxgzh', '" + canary + "-old', '" + canary + "-live', 4102444800000)",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return dsn
}

// importedTally is a tally of the report.
type importedTally struct{ Created, Unchanged, Failed, Tokens int }

// The command reads a real database and writes to a real instance, with the
// database, its password and the admin token from files or the environment.
func TestImportCommand(t *testing.T) {
	dsn, i := oldDatabase(t), newInstance(t)
	t.Setenv("TOKENS_TEST_ADMIN", canary+"-admin")
	i.load("", `handle_path /admin/* {
		token_admin {
			admin_token {env.TOKENS_TEST_ADMIN}
		}
	}`)
	api, all := "http://"+i.host+"/admin", ""
	run := func(args ...string) (stdout string, err error) {
		t.Helper()
		stdout, stderr, err := tokens(t, append([]string{"import", "--json"}, args...)...)
		all += stdout + stderr
		return stdout, err
	}
	report := func(args ...string) (realms, secrets importedTally) {
		t.Helper()
		stdout, err := run(append([]string{"--api", api}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		var r struct{ Realms, Secrets importedTally }
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("%v: %s", err, stdout)
		}
		return r.Realms, r.Secrets
	}

	file, token := filepath.Join(i.dir, "dsn"), filepath.Join(i.dir, "admin")
	writeFile(t, file, dsn+"\n")
	writeFile(t, token, canary+"-admin\n")
	if realms, secrets := report("--dsn-file", file, "--api-token-file", token, "--dry-run"); realms != (importedTally{Created: 1}) || secrets != (importedTally{Created: 1, Tokens: 1}) {
		t.Errorf("dry run: %+v %+v", realms, secrets)
	}
	t.Setenv("TOKENS_API_TOKEN", canary+"-admin")
	t.Setenv("TOKENS_IMPORT_DSN", dsn)
	if realms, secrets := report(); realms != (importedTally{Created: 1}) || secrets != (importedTally{Created: 1, Tokens: 1}) {
		t.Errorf("first: %+v %+v", realms, secrets)
	}
	t.Setenv("TOKENS_IMPORT_DSN", "")
	setEarlierVariables(t, dsn)
	if realms, secrets := report(); realms != (importedTally{Unchanged: 1}) || secrets != (importedTally{Unchanged: 1}) {
		t.Errorf("second: %+v %+v", realms, secrets)
	}
	if body := i.must(http.MethodGet, "/api/token?realm=wxgzh&key=main", ""); !strings.Contains(body, canary+"-live") {
		t.Errorf("token: %s", body)
	}

	t.Setenv("TOKENS_API_TOKEN", canary+"-wrong")
	if _, err := run("--api", api); err == nil || !strings.Contains(err.Error(), "TOKENS_API_TOKEN or --api-token-file") {
		t.Errorf("a wrong token: %v", err)
	}
	for name, text := range map[string]string{"the output": all, "the log": i.log()} {
		if leaks(text) != nil || strings.Contains(text, testserver.Password) {
			t.Errorf("%s shows a secret: %s", name, around(text))
		}
	}
}

// Where basic_auth stands in front of the API, the user and the password come
// from the environment.
func TestImportCommandBasicAuth(t *testing.T) {
	dsn, i := oldDatabase(t), newInstance(t)
	i.load("", `handle_path /admin/* {
		basic_auth {
			alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
		}
		token_admin
	}`)
	t.Setenv("TOKENS_IMPORT_DSN", dsn)
	t.Setenv("TOKENS_API_TOKEN", "")
	t.Setenv("TOKENS_API_USER", "alice")
	for password, works := range map[string]bool{"wrong": false, "practice": true} {
		t.Setenv("TOKENS_API_PASSWORD", password)
		if stdout, stderr, err := tokens(t, "import", "--api", "http://"+i.host+"/admin"); (err == nil) != works {
			t.Errorf("%s: %v\n%s%s", password, err, stdout, stderr)
		}
	}
}

// A row that fails makes the exit status 1, and its reason is in the report.
func TestImportCommandFailures(t *testing.T) {
	dsn, i := oldDatabase(t), newInstance(t)
	i.load("", "")
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO secret (`key`, realm) VALUES ('k', 'nobody')"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOKENS_IMPORT_DSN", dsn)
	stdout, stderr, err := onTerminal(t, "import", "--api", "http://"+i.api)
	if err == nil || err.Error() != "1 rows were not imported; the report says why" || !strings.Contains(stdout, `failed: secret "nobody" "k": there is no such realm`) {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}

func TestImportCommandArguments(t *testing.T) {
	for _, name := range []string{"TOKENS_IMPORT_DSN", "TOKENS_API_TOKEN", "MYSQL_HOST", "MYSQL_USERNAME", "MYSQL_DATABASE"} {
		t.Setenv(name, "")
	}
	for want, args := range map[string][]string{
		"the environment variable MYSQL_HOST": nil,
		"--time-zone":                         {"--time-zone", "Beijing"},
		"--parallel must be 1 to 32":          {"--parallel", "0"},
		"--dsn-file: open":                    {"--dsn-file", filepath.Join(t.TempDir(), "none")},
		"--api-token-file: open":              {"--api-token-file", filepath.Join(t.TempDir(), "none")},
		"surplus argument":                    {"surplus"},
	} {
		if _, _, err := tokens(t, append([]string{"import"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q, got %v", args, want, err)
		}
	}
}

// --preset adds to what the account service's types have by default.
func TestImportCommandPresets(t *testing.T) {
	t.Setenv("TOKENS_IMPORT_DSN", "u:p@tcp(127.0.0.1:1)/old")
	for want, args := range map[string][]string{
		"map[jd:jd_vop sn:suning]":            nil,
		"map[jd:jd_bill sn:suning tb:taobao]": {"--preset", "jd=jd_bill", "--preset", "tb=taobao"},
	} {
		f := new(importFlags)
		cmd := importCommand(f)
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		if err := f.complete(io.Discard); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(f.Presets); got != want || f.API.Base != "http://localhost:8081" || f.Zone.String() != "Asia/Shanghai" {
			t.Errorf("%v: %s, %s, %s", args, got, f.API.Base, f.Zone)
		}
	}
}

// setEarlierVariables says in the variables of the earlier service what a DSN
// says.
func setEarlierVariables(t *testing.T, dsn string) {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(config.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"MYSQL_HOST": host, "MYSQL_PORT": port, "MYSQL_USERNAME": config.User, "MYSQL_PASSWORD": config.Passwd, "MYSQL_DATABASE": config.DBName,
	} {
		t.Setenv(name, value)
	}
}
