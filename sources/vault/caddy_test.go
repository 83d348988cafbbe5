package vault

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-tokens/caddy-tokens/caddymodule"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

const canary = "canary5f1c"

// server is Caddy in this process, whose realm has its secret from Vault.
type server struct {
	t         *testing.T
	dir, host string
	provider  *fakeprovider.Provider
	api       string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir()}
	t.Setenv("XDG_DATA_HOME", s.dir)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.host = listener.Addr().String()
	_ = listener.Close()
	s.provider = fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"app": canary + "-right"}})
	s.api = s.provider.Start(t)
	return s
}

// adapt is the JSON of a configuration with these options of the tokens block, and
// this source of the secret.
func (s *server) adapt(tokens, source string) []byte {
	s.t.Helper()
	text := fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	storage file_system %[1]s/caddy
	log {
		output file %[1]s/log
		level DEBUG
	}
	tokens {
		%[2]s
		realm p {
			api %[3]s
			fetch GET %[3]s/cgi-bin/token {
				query grant_type client_credential
				query appid {secret.appid}
				query secret {secret.appsecret}
			}
			token_path access_token
			expires_in_path expires_in
			inject query access_token
			renew_on json errcode 40001 40014 42001
			secret main {
				appid app
				appsecret source vault %[4]s
			}
		}
	}
}
http://%[5]s {
	handle /api/* {
		token_admin {
			auth local
		}
	}
	handle {
		token_proxy {
			realm p
			key main
		}
	}
}
`, s.dir, tokens, s.api, source, s.host)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return config
}

func (s *server) load(tokens, source string) {
	s.t.Helper()
	if err := caddy.Load(s.adapt(tokens, source), true); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) get(path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.host+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	// A reload closes the listener of before, and with it connections that nobody has
	// taken: two listeners share the port.
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); {
		resp, err = http.DefaultClient.Do(req)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A field has a value of Vault: asked for when a token is fetched, and again when the
// provider refuses it. The last value serves while Vault is away.
func TestFieldFromVault(t *testing.T) {
	s, f := newServer(t), newFake(t)
	f.put("kv/wx", map[string]any{"appsecret": canary + "-wrong"})
	shared := "source vault {\naddress " + f.URL + "\napprole {\nrole_id role-1\nsecret_id {env.SECRET_ID}\n}\ncache 1us\n}"
	t.Setenv("SECRET_ID", "canary5f1c-secret-id")
	s.load(shared, "kv/wx#appsecret")
	if n := f.count("GET kv/data/wx"); n != 0 {
		t.Errorf("%d reads before anybody wanted a token", n)
	}
	if status, body := s.get("/x"); status == http.StatusOK {
		t.Fatalf("%d\n%s", status, body)
	}
	f.put("kv/wx", map[string]any{"appsecret": canary + "-right"})
	if status, body := s.get("/x"); status != http.StatusOK || s.provider.Fetches() != 2 {
		t.Errorf("%d, %d calls instead of 2\n%s", status, s.provider.Fetches(), body)
	}
	reads := f.count("GET kv/data/wx")
	for range 3 {
		s.get("/x")
	}
	if n := f.count("GET kv/data/wx"); n != reads {
		t.Errorf("%d reads for requests with a token in memory", n-reads)
	}
	f.Close() // Vault is away
	s.provider.Revoke(s.provider.Newest())
	if status, body := s.get("/x"); status != http.StatusOK || s.provider.Fetches() != 3 {
		t.Errorf("without Vault: %d, %d calls instead of 3\n%s", status, s.provider.Fetches(), body)
	}
	for _, path := range []string{"/api/status", "/api/secret/p/main"} {
		if _, body := s.get(path); !strings.Contains(body, `"source":"vault kv/wx#appsecret"`) || !strings.Contains(body, "Vault cannot be reached") {
			t.Errorf("%s\n%s", path, body)
		}
	}
	s.load(shared, "kv/wx#other")
	status, body := s.get("/x")
	if want := "the field appsecret has no value: vault kv/wx#other: Vault cannot be reached"; status != http.StatusServiceUnavailable || !strings.Contains(body, want) {
		t.Errorf("another value without Vault: %d\n%s", status, body)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil || strings.Contains(string(log), canary) {
		t.Errorf("the log has a value or a credential, or cannot be read: %v", err)
	}
}

// An unchanged configuration asks for nothing again, and one that is wrong is refused.
func TestReload(t *testing.T) {
	s, f := newServer(t), newFake(t)
	f.put("kv/wx", map[string]any{"appsecret": canary + "-right"})
	shared := "source vault {\naddress " + f.URL + "\ntoken canary5f1c-root\n}"
	for n := range 5 {
		s.load(shared+fmt.Sprintf("\nallow_private 127.0.0.%d", n), "kv/wx#appsecret")
		if status, body := s.get("/x"); status != http.StatusOK {
			t.Fatalf("%d\n%s", status, body)
		}
	}
	if reads, calls := f.count("GET kv/data/wx"), s.provider.Fetches(); reads != 1 || calls != 1 {
		t.Errorf("%d reads and %d calls instead of one each", reads, calls)
	}
	if err := caddy.Load(s.adapt("", "kv/wx#appsecret"), true); err == nil || !strings.Contains(err.Error(), "needs an address, here or in the tokens block") {
		t.Errorf("%v", err)
	}
}

// A token of the configuration is kept alive from the start: the first value may be asked
// for when it would have ended long ago. A configuration that is only checked keeps none.
func TestTokenIsKeptFromTheStart(t *testing.T) {
	s, f := newServer(t), newFake(t)
	lookups := make(chan struct{}, 10)
	f.arrives = func(request string) {
		if request == "GET auth/token/lookup-self" {
			lookups <- struct{}{}
		}
	}
	of := "address " + f.URL + "\ntoken canary5f1c-root\n}"
	for name, written := range map[string][2]string{
		"in the tokens block": {"source vault {\n" + of, "kv/wx#appsecret"},
		"of the field":        {"", "kv/wx#appsecret {\n" + of},
	} {
		var config caddy.Config
		if err := json.Unmarshal(s.adapt(written[0], written[1]), &config); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Validate(&config); err != nil || len(lookups) > 0 {
			t.Errorf("%s: a check asks for the token, or %v", name, err)
		}
		s.load(written[0], written[1])
		select {
		case <-lookups:
		case <-time.After(time.Minute):
			t.Errorf("%s: the token is not kept", name)
		}
	}
}

// A credential that is written out is told of, with its place and without its value.
func TestCredentialInTheCaddyfile(t *testing.T) {
	s := newServer(t)
	t.Setenv("VAULT_TOKEN", canary)
	address := "address http://127.0.0.1:1\n"
	s.load("", "kv/wx#appsecret {\n"+address+"token {env.VAULT_TOKEN}"+canary+"\n}") // its log is that of the next
	for option, written := range map[string][2]string{
		"source vault token":             {"", "kv/wx#appsecret {\n" + address + "token " + canary + "\n}"},
		"source vault approle secret_id": {"source vault {\n" + address + "approle {\nrole_id r\nsecret_id " + canary + "\n}\n}", "kv/wx#appsecret"},
		"":                               {"source vault {\n" + address + "token {env.VAULT_TOKEN}\n}", "kv/wx#appsecret"},
	} {
		before, err := os.ReadFile(filepath.Join(s.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		s.adapt(written[0], written[1])
		log, err := os.ReadFile(filepath.Join(s.dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		told := string(log[len(before):])
		if isTold := strings.Contains(told, `"option":"source vault`); isTold != (option != "") || !strings.Contains(told, option) || strings.Contains(told, canary) {
			t.Errorf("%s: %s", option, told)
		}
	}
}

// What a Caddyfile says is what the JSON has, and no more.
func TestAdapt(t *testing.T) {
	s := newServer(t)
	config := string(s.adapt("source vault {\naddress https://vault.example.com\ntoken {env.VAULT_TOKEN}\n}", "kv/wx#appsecret {\ncache 1m\nlease 1h\ntimeout 5s\n}"))
	for _, want := range []string{
		`"sources":{"vault":{"address":"https://vault.example.com","token":"{env.VAULT_TOKEN}"}}`,
		`"sources":{"appsecret":{"cache":60000000000,"lease":3600000000000,"path":"kv/wx#appsecret","source":"vault","timeout":5000000000}}`,
	} {
		if !strings.Contains(config, want) {
			t.Errorf("lacks %s:\n%s", want, config)
		}
	}
	for block, want := range map[string]string{
		"nonsense 1": "unknown source vault option 'nonsense'", "token a\ntoken b": "is given twice", "token a b": "surplus argument 'b'",
		"token": "option 'token' needs a value", "cache soon": "soon", "approle {\nuser x\n}": "unknown approle option 'user'",
	} {
		text := "{\ntokens {\nsource vault {\n" + block + "\n}\n}\n}\n"
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", block, err)
		}
	}
}
