package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/zap"
)

// guarded is a site whose admin API says nothing about who may call.
const guarded = `handle_path /admin/* {
	token_admin
}`

// adminPath is the file of the admin token of an instance with the default
// storage.
func (i *instance) adminPath() string { return filepath.Join(i.dir, "caddy", adminFileName) }

// adminToken is what the file holds.
func (i *instance) adminToken() string {
	i.t.Helper()
	text, err := os.ReadFile(i.adminPath())
	if err != nil {
		i.t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// Whoever finds the file of the first start may use what it holds, at once.
func TestAdminFileCountsOnceItIsThere(t *testing.T) {
	for range 50 {
		f := newAdminFile(filepath.Join(t.TempDir(), adminFileName))
		started := make(chan struct{})
		go func() {
			defer close(started)
			f.start(zap.NewNop())
		}()
		var text []byte
		for err := fs.ErrNotExist; err != nil; {
			text, err = os.ReadFile(f.path)
		}
		if !f.token.Load().equals(strings.TrimSpace(string(text))) {
			t.Fatal("the token of the file does not count yet")
		}
		<-started
	}
}

// TestAdminToken: the first start makes a token, says where it is, and the admin
// API asks for it also on this machine, on all of its paths but the callback's.
func TestAdminToken(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	info, err := os.Stat(i.adminPath())
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	token := i.adminToken()
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(token) {
		t.Error("the file does not hold one line with 256 bits")
	}
	for path, want := range map[string]int{
		"/api/status": 200, "/api/realm": 200, "/api/openapi.json": 200, "/x-account/get-access-token": 404, "/x-account/init-all-token": 404,
	} {
		url := "http://" + i.host + "/admin" + path
		method := http.MethodGet
		if want == 404 { // these answer tokens: S21
			method = http.MethodPost
		}
		a := i.do(method, url, "")
		if code, detail := problemOf(t, a); a.StatusCode != http.StatusForbidden || code != "forbidden" ||
			!strings.Contains(detail, "auth local") || !strings.Contains(detail, adminFileName) || strings.Contains(detail, i.dir) {
			t.Errorf("%s without the token: %s %s", path, a.Status, a.body)
		}
		for _, header := range [][]string{
			{"Authorization", "Bearer " + token},
			{"Proxy-Authorization", "Bearer " + token},
			{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+token))},
		} {
			if a := i.do(method, url, "", header...); a.StatusCode != want {
				t.Errorf("%s with the token: %s %s", path, a.Status, a.body)
			}
		}
		if a := i.do(method, url, "", "Authorization", "Bearer "+token[1:]); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s with a wrong token: %s", path, a.Status)
		}
	}
	if a := i.do(http.MethodGet, "http://"+i.host+"/admin/x-account/callback-token?code=a&state=b", ""); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a callback: %s", a.Status)
	}
	i.load("cache redis redis://127.0.0.1:1/0", guarded) // another pool, the same file
	i.load("refresh {\ncron \"0 0 * * *\"\n}", guarded)
	if i.adminToken() != token {
		t.Error("another configuration made another token")
	}
	log := i.log()
	if !strings.Contains(log, `"level":"info"`) || !strings.Contains(log, `"file":"`+i.adminPath()+`"`) || strings.Contains(log, token) {
		t.Errorf("the log:\n%s", log)
	}
}

// TestAccountsBesideAMatcher: `basic_auth /api/*` left /{realm}-account/*, which
// answer tokens, open to this machine (S21).
func TestAccountsBesideAMatcher(t *testing.T) {
	i := newInstance(t)
	i.load("", `basic_auth /api/* {
			alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
		}
		token_admin`)
	const alice = "Basic YWxpY2U6cHJhY3RpY2U="
	for _, c := range []struct {
		method, path, auth string
		want               int
	}{
		{http.MethodGet, "/api/status", "", 401},
		{http.MethodGet, "/api/status", alice, 200},
		{http.MethodPost, "/x-account/get-access-token", "", 403},
		{http.MethodPost, "/x-account/get-access-token", alice, 403}, // nobody asked for the password there
		{http.MethodPost, "/x-account/refresh-all-token", "", 403},
		{http.MethodPost, "/x-account/get-access-token", "Bearer " + i.adminToken(), 404},
	} {
		a := i.do(c.method, "http://"+i.host+c.path, "", "Authorization", c.auth)
		if a.StatusCode != c.want {
			t.Errorf("%s %s: %s %s", c.method, c.path, a.Status, a.body)
		}
	}
}

// TestAdminTokenIsNamedOnce: a reload says nothing new.
func TestAdminTokenIsNamedOnce(t *testing.T) {
	i := newInstance(t)
	for range 3 {
		i.load("", guarded)
	}
	if n := strings.Count(i.log(), "the admin token of the HTTP API is in a file"); n != 1 {
		t.Errorf("the log names the file %d times", n)
	}
	if err := os.Remove(i.adminPath()); err != nil {
		t.Fatal(err)
	}
	i.load("", guarded) // makes another one
	if n := strings.Count(i.log(), "the admin token of the HTTP API is in a file"); n != 2 {
		t.Errorf("the log names the new file %d times", n-1)
	}
	if a := i.do(http.MethodGet, "http://"+i.host+"/admin/api/status", "", "Authorization", "Bearer "+i.adminToken()); a.StatusCode != http.StatusOK {
		t.Errorf("the new token: %s", a.Status)
	}
}

// TestAdminTokenFileIsRefused: a file that others may read, that is no file, or
// that holds something that can be guessed is not used. The start goes on.
func TestAdminTokenFileIsRefused(t *testing.T) {
	const guessable, good = "letmein-letmein-letmein", "0123456789abcdef0123456789abcdef"
	for name, make := range map[string]func(path string) error{
		"others may read it": func(path string) error { return os.WriteFile(path, []byte(good), 0o644) }, // #nosec G306 -- what is tested
		"a directory":        func(path string) error { return os.Mkdir(path, 0o700) },
		"too short":          func(path string) error { return os.WriteFile(path, []byte(guessable), 0o600) },
		"two words":          func(path string) error { return os.WriteFile(path, []byte(good+" "+good), 0o600) },
		"empty":              func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstance(t)
			if err := os.MkdirAll(filepath.Dir(i.adminPath()), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := make(i.adminPath()); err != nil {
				t.Fatal(err)
			}
			i.load("", guarded)
			for _, token := range []string{good, guessable} {
				if a := i.do(http.MethodGet, "http://"+i.host+"/admin/api/status", "", "Authorization", "Bearer "+token); a.StatusCode != http.StatusForbidden {
					t.Errorf("%s", a.Status)
				}
			}
			i.must(http.MethodGet, "/api/status", "") // auth local
			log := i.log()
			if !strings.Contains(log, `"level":"warn"`) || !strings.Contains(log, "there is no admin token") ||
				strings.Contains(log, guessable) || strings.Contains(log, good) {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

// TestAdminTokenFileOfTheOperator: what somebody else wrote is taken, and what
// admin_token says takes its place in that block only.
func TestAdminTokenFileOfTheOperator(t *testing.T) {
	i := newInstance(t)
	const written, configured = canary + "-0123456789abcdef0123456789abcdef", canary + "-configured"
	t.Setenv("TOKENS_TEST_ADMIN", configured)
	if err := os.MkdirAll(filepath.Dir(i.adminPath()), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, i.adminPath(), "\n"+written+"\r\n")
	i.load("", guarded+`
		handle_path /own/* {
			token_admin {
				admin_token {env.TOKENS_TEST_ADMIN}
			}
		}`)
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/admin", written, 200},
		{"/admin", configured, 403},
		{"/own", written, 403},
		{"/own", configured, 200},
	} {
		if a := i.do(http.MethodGet, "http://"+i.host+c.path+"/api/status", "", "Authorization", "Bearer "+c.token); a.StatusCode != c.want {
			t.Errorf("%s with %s: %s", c.path, c.token, a.Status)
		}
	}
	a := i.do(http.MethodGet, "http://"+i.host+"/own/api/status", "")
	if _, detail := problemOf(t, a); !strings.Contains(detail, "admin_token") || strings.Contains(detail, adminFileName) {
		t.Errorf("%s", a.body)
	}
	if leaks(i.log()) != nil {
		t.Errorf("the log shows a token:\n%s", around(i.log()))
	}
}

// TestAdminTokenPlace: beside the key file, or where there is none in the data
// directory of this node.
func TestAdminTokenPlace(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/data")
	const key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	for want, a := range map[string]App{
		"/data/caddy/tokens.admin":   {},
		"/var/tokens/tokens.admin":   {Storage: &Storage{Path: "/var/tokens/live.db"}},
		"/data/caddy/x/tokens.admin": {Storage: &Storage{Type: storageSQLite, Path: "x/live.db"}},
	} {
		s, err := a.storeSettings()
		if err != nil || s.adminPath() != want {
			t.Errorf("%s: %s %v", want, s.adminPath(), err)
		}
	}
	for _, a := range []App{
		{Storage: &Storage{Path: "/var/tokens/live.db"}, EncryptionKeys: []string{key}},
		{Storage: &Storage{Type: storageMySQL, DSN: "u:p@tcp(db:3306)/tokens"}, EncryptionKeys: []string{key}},
	} {
		s, err := a.storeSettings()
		if err != nil || s.adminPath() != "/data/caddy/tokens.admin" {
			t.Errorf("%+v: %s %v", a.Storage, s.adminPath(), err)
		}
	}
}

// TestValidateWritesNothing: `caddy validate` looks at a configuration, as
// another user perhaps.
func TestValidateWritesNothing(t *testing.T) {
	i := newInstance(t)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(i.caddyfile("", guarded)), nil)
	if err != nil {
		t.Fatal(err)
	}
	var cfg caddy.Config
	if err := json.Unmarshal(adapted, &cfg); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&cfg); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(i.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), "tokens") {
			t.Errorf("there is %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
