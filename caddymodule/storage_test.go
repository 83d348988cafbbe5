package caddymodule

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func newKey(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// TestKeyFile: the key is made on the first start, by nothing but a start, and
// never a second time.
func TestKeyFile(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	data := filepath.Join(i.dir, "caddy")
	if err := i.tryLoad("realm x {\nlifetime 1h\ncolour blue\n}", ""); err == nil {
		t.Fatal("a wrong option was loaded")
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a configuration that was not started made a directory")
	}
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	if a := i.get("/p/x"); a.StatusCode != http.StatusOK {
		t.Fatalf("%s\n%s", a.Status, a.body)
	}
	for _, name := range []string{"tokens.db", "tokens.key"} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %04o", name, mode)
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(data, "tokens.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	err := i.tryLoad(p.realm("p", "inject query access_token"), proxyMain)
	if err == nil || !strings.Contains(err.Error(), "tokens.key") {
		t.Errorf("without its key file: %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key file was made for an old database")
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	if a := i.get("/p/x"); !strings.Contains(a.body, canary+"-token-1") || p.fetches.Load() != 1 {
		t.Errorf("after a restart: %s, %d fetches\n%s", a.Status, p.fetches.Load(), a.body)
	}
}

// TestWrongKey is a clear refusal; with both keys the old one can be rotated out.
func TestWrongKey(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	first, second := newKey(t), newKey(t)
	tokens := p.realm("p", "inject query access_token")
	with := func(keys ...string) string { return tokens + "\nencryption_key " + strings.Join(keys, " ") }
	i.load(with(first), proxyMain)
	i.get("/p/x")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	err := i.tryLoad(with(second), proxyMain)
	if err == nil || !strings.Contains(err.Error(), "key") {
		t.Fatalf("another key: %v", err)
	}
	for _, key := range []string{first, second} {
		if strings.Contains(err.Error(), key) {
			t.Errorf("the error shows a key: %v", err)
		}
	}
	for _, keys := range [][]string{{second, first}, {second}} {
		i.load(with(keys...), proxyMain)
		if a := i.get("/p/x"); !strings.Contains(a.body, canary+"-token-1") {
			t.Errorf("%d keys: %s\n%s", len(keys), a.Status, a.body)
		}
		i.must(http.MethodPost, "/api/keys/rotate", "")
	}
}

// TestUnreachableMySQL: Caddy starts, answers what it can, and says so.
func TestUnreachableMySQL(t *testing.T) {
	i := newInstance(t)
	address := freeAddress(t)
	t.Setenv("TOKENS_TEST_PASSWORD", canary)
	i.load(fmt.Sprintf("storage mysql user:{env.TOKENS_TEST_PASSWORD}@tcp(%s)/tokens\nencryption_key %s", address, newKey(t)), proxyMain)
	a := i.get("/any/r/k/x")
	if code, _ := problemOf(t, a); a.StatusCode != http.StatusServiceUnavailable || code != "store_unavailable" {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	if log := i.log(); !strings.Contains(log, "cannot be reached") || strings.Contains(log, canary) {
		t.Errorf("the log:\n%s", log)
	}
}

// TestUnusableSQLite: a database that cannot be opened is a refusal to start,
// since nobody will bring it back as one does a server.
func TestUnusableSQLite(t *testing.T) {
	i := newInstance(t)
	file := filepath.Join(i.dir, "file")
	writeFile(t, file, "not a directory")
	if err := i.tryLoad("storage sqlite "+file+"/tokens.db", proxyMain); err == nil {
		t.Error("was started")
	}
	if refs := references(t); refs != 0 {
		t.Errorf("%d configurations hold the pool", refs)
	}
}

func TestMySQLDSN(t *testing.T) {
	for name, value := range map[string]string{
		"MYSQL_HOST": "db.example.com", "MYSQL_PORT": "", "MYSQL_USERNAME": "tokens", "MYSQL_PASSWORD": "p@ss/:w?rd", "MYSQL_DATABASE": "main",
	} {
		t.Setenv(name, value)
	}
	dsn, server, err := mysqlDSN("")
	if err != nil || server != "tcp(db.example.com:3306)/main" || !strings.HasPrefix(dsn, "tokens:p@ss/:w?rd@tcp(db.example.com:3306)/main") {
		t.Errorf("%q %q %v", dsn, server, err)
	}
	if strings.Contains(server, "p@ss") {
		t.Errorf("the identity holds the password: %s", server)
	}
	t.Setenv("MYSQL_HOST", "")
	if _, _, err := mysqlDSN(""); err == nil || !strings.Contains(err.Error(), "MYSQL_HOST") {
		t.Errorf("without a host: %v", err)
	}
	for _, dsn := range []string{"nonsense-" + canary, "user:" + canary + "@tcp(db:3306)/", "{env.TOKENS_TEST_NEVER_SET}"} {
		if _, _, err := mysqlDSN(dsn); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// TestStoreID: what is confidential changes the identity and is not in it;
// what has nothing to do with the store does not.
func TestStoreID(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/data")
	of := func(a App) storeID {
		t.Helper()
		s, err := a.storeSettings()
		if err != nil {
			t.Fatal(err)
		}
		return s.id()
	}
	base := of(App{})
	if base.database != "sqlite:/data/caddy/tokens.db" {
		t.Errorf("%s", base.database)
	}
	same := App{Storage: &Storage{Type: "sqlite", Path: "./x/../tokens.db"}, AllowPrivate: []string{"::1"}, Realms: []Realm{{ID: "x"}}, Refresh: &Refresh{Before: "5m"}}
	if of(same) != base {
		t.Error("another configuration of the same store has another identity")
	}
	seen := map[storeID]string{}
	for name, a := range map[string]App{
		"default":      {},
		"path":         {Storage: &Storage{Path: "b.db"}},
		"key":          {EncryptionKeys: []string{"a"}},
		"keys":         {EncryptionKeys: []string{"a", "b"}},
		"joined":       {EncryptionKeys: []string{"ab"}},
		"cache":        {Cache: &Cache{Type: "redis", URLs: []string{"redis://a"}}},
		"mysql":        {Storage: &Storage{Type: "mysql", DSN: "u:p@tcp(h)/d"}, EncryptionKeys: []string{"a"}},
		"new password": {Storage: &Storage{Type: "mysql", DSN: "u:q@tcp(h)/d"}, EncryptionKeys: []string{"a"}},
	} {
		id := of(a)
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[id] = name
	}
}

func TestStorageRefusals(t *testing.T) {
	for want, a := range map[string]App{
		"unknown type":                        {Storage: &Storage{Type: "etcd"}},
		"encryption_key is required":          {Storage: &Storage{Type: "mysql", DSN: "u@tcp(h)/d"}},
		"sqlite has a path":                   {Storage: &Storage{DSN: "u@tcp(h)/d"}},
		"connections is a setting of mysql":   {Storage: &Storage{Connections: 2}},
		"connections: must be 1 to 1000":      {Storage: &Storage{Type: "mysql", DSN: "u@tcp(h)/d", Connections: -1}},
		"mysql has a dsn":                     {Storage: &Storage{Type: "mysql", Path: "x"}},
		"TOKENS_TEST_NEVER_SET is not set":    {EncryptionKeys: []string{"{env.TOKENS_TEST_NEVER_SET}"}},
		`unknown type "memcached"`:            {Cache: &Cache{Type: "memcached"}},
		"{file.key}: the path must be absolu": {Storage: &Storage{Path: "{file.key}"}},
	} {
		if _, err := a.storeSettings(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestResolve(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	writeFile(t, file, "content\r\n")
	empty := filepath.Join(t.TempDir(), "e")
	writeFile(t, empty, "\n")
	t.Setenv("TOKENS_TEST_A", "a{secret.x}")
	for in, want := range map[string]string{
		"":                               "",
		"plain":                          "plain",
		"{env.TOKENS_TEST_A}":            "a{secret.x}",
		"x{env.TOKENS_TEST_A}y{token}":   "xa{secret.x}y{token}",
		"{file." + file + "}":            "content",
		"{secret.env.X} {env} {":         "{secret.env.X} {env} {",
		"{{env.TOKENS_TEST_A}":           "{{env.TOKENS_TEST_A}",
		"{{{env.TOKENS_TEST_A}":          "{{a{secret.x}",
		"{http.vars.x}{system.hostname}": "{http.vars.x}{system.hostname}",
	} {
		if got, err := resolve(in, nil); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"{env.TOKENS_TEST_NEVER_SET}":  "TOKENS_TEST_NEVER_SET",
		"{env.}":                       "is not set",
		"{file.relative}":              "absolute",
		"{file." + file + "/missing}":  file,
		"{file." + empty + "}":         "is empty",
		"{file." + t.TempDir() + "/x}": "no such file",
	} {
		if got, err := resolve(in, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

// TestResolveConfig: what comes from the environment means itself, wherever a
// template would read it otherwise.
func TestResolveConfig(t *testing.T) {
	t.Setenv("TOKENS_TEST_A", "$x{token}")
	t.Setenv("TOKENS_TEST_B", `a'b"\{env.TOKENS_TEST_A}`+"\n")
	c := realm.Config{
		API:    "https://{env.TOKENS_TEST_A}",
		Shared: map[string]realm.Hidden{"s": "{env.TOKENS_TEST_A}"},
		Recipe: realm.Recipe{Arguments: []realm.Argument{{Name: "a", Value: "{env.TOKENS_TEST_A}"}, {Name: "b", Value: "$y"}}},
		Refresh: &realm.Recipe{Arguments: []realm.Argument{
			{Name: "c", Expr: "md5('{env.TOKENS_TEST_B}' + {'a': secret.x}['a'])"}, {Name: "d", Expr: "force"},
		}},
		Grant: &realm.Grant{Scopes: []string{"{env.TOKENS_TEST_A}"}},
	}
	if !fromEnvironment(&c) {
		t.Error("is not seen to come from the environment")
	}
	if err := resolveConfig(&c); err != nil {
		t.Fatal(err)
	}
	for _, got := range [][2]string{
		{c.API, "https://$x{{token}"},
		{c.Shared["s"].Reveal(), "$x{token}"},
		{c.Arguments[0].Value, "$$x{{token}"},
		{c.Arguments[1].Value, "$y"},
		{c.Refresh.Arguments[0].Expr, `md5('a\'b\"\\\x7benv.TOKENS_TEST_A}\n' + {'a': secret.x}['a'])`},
		{c.Refresh.Arguments[1].Expr, "force"},
		{c.Grant.Scopes[0], "$$x{{token}"},
	} {
		if got[0] != got[1] {
			t.Errorf("got %q, want %q", got[0], got[1])
		}
	}
	if fromEnvironment(&c) {
		t.Error("still seen to come from the environment")
	}
	c.Preset = "{env.TOKENS_TEST_NEVER_SET}"
	if err := resolveConfig(&c); err == nil || !strings.Contains(err.Error(), "TOKENS_TEST_NEVER_SET") {
		t.Errorf("%v", err)
	}
}
