package vault

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/sources"
)

// open makes the source of a field, over the clock of the server.
func open(t *testing.T, f *fake, c Connection, path string) *Vault {
	t.Helper()
	c.Address = or(c.Address, f.URL)
	v := &Vault{Connection: c, Path: path}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := v.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Cleanup() })
	v.session.log = zap.NewNop()
	v.session.now = func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.now
	}
	if err := v.Inherit(nil); err != nil {
		t.Fatal(err)
	}
	return v
}

// wants reads a value.
func wants(t *testing.T, v *Vault, want string) sources.Value {
	t.Helper()
	value, err := v.Read(t.Context())
	if err != nil || value.Text.Reveal() != want {
		t.Errorf("%s: another value than %s, %v", v, want, err)
	}
	return value
}

var root = Connection{Token: "canary5f1c-root"}

func TestRead(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"appsecret": "one", "number": 42, "on": true, "empty": "", "list": []string{"canary5f1c"}})
	v := open(t, f, root, "kv/wx#appsecret")
	value := wants(t, v, "one")
	if value.Fresh != 5*time.Minute || value.Lease != time.Hour {
		t.Errorf("%v", value)
	}
	wants(t, open(t, f, root, "kv/wx#number"), "42")
	wants(t, open(t, f, root, "kv/wx#on"), "true")
	f.put("kv/wx", map[string]any{"appsecret": "two"})
	wants(t, v, "two")
	if n := f.count("GET kv/data/wx"); n != 4 {
		t.Errorf("%d reads", n)
	}
	f.put("team/kv/a/b", map[string]any{"x": "deep"})
	for _, path := range []string{"a/b#x", "team/kv/a/b#x"} {
		deep := open(t, f, root, "kv/wx#x")
		var err error
		if deep.place, err = parsePlace("team/kv", path); err != nil {
			t.Fatal(err)
		}
		wants(t, deep, "deep")
	}
}

// What Vault says of a lease counts, and not more than that.
func TestLease(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "v"})
	f.set(func(f *fake) { f.lease = 60 })
	v := open(t, f, root, "kv/wx#a")
	if value := wants(t, v, "v"); value.Fresh != time.Minute || value.Lease != time.Minute {
		t.Errorf("%v", value)
	}
	v.Lease, v.Cache = caddy.Duration(2*time.Hour), caddy.Duration(time.Second)
	if value := wants(t, v, "v"); value.Fresh != time.Second || value.Lease != 2*time.Hour {
		t.Errorf("%v", value)
	}
}

// Each error says what is wrong, and whether the value before it may still be used. None
// has a value, a credential or what the server wrote.
func TestErrors(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "canary5f1c"})
	f.put("kv/gone", map[string]any{"a": "canary5f1c"})
	f.put("kv/gone", nil)
	f.put("kv/denied", map[string]any{"a": "canary5f1c"})
	f.set(func(f *fake) { f.denied["kv/denied"] = true })
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(nil) // answers 404 with a page
	defer plain.Close()
	for name, test := range map[string]struct {
		c       Connection
		path    string
		want    string
		refused bool
	}{
		"no secret":     {root, "kv/none#a", "no value: there is no such secret, or no such engine (404)", true},
		"no engine":     {root, "none/wx#a", "no value: there is no such secret, or no such engine (404)", true},
		"deleted":       {root, "kv/gone#a", "no value: the newest version of the secret was deleted (404)", true},
		"no field":      {root, "kv/wx#b", "no value: the secret has no field 'b' that is a text", true},
		"denied":        {root, "kv/denied#a", "no value: permission denied (403): no policy of the token allows to read it, or the token has ended", true},
		"wrong token":   {Connection{Token: "canary5f1c-wrong"}, "kv/wx#a", "no value: permission denied (403): no policy of the token allows to read it, or the token has ended", true},
		"wrong approle": {Connection{AppRole: &AppRole{RoleID: "role-1", SecretID: "canary5f1c-wrong"}}, "kv/wx#a", "Vault refuses who signs in (400)", false},
		"unreachable":   {Connection{Token: "canary5f1c-root", Address: closed.URL}, "kv/wx#a", "Vault cannot be reached: connection refused", false},
		"namespace":     {Connection{Token: "canary5f1c-root", Namespace: "other"}, "kv/wx#a", "no value: there is no such secret, or no such engine (404)", true},
		"no file":       {Connection{TokenFile: "/nowhere/token"}, "kv/wx#a", "open /nowhere/token: no such file or directory", false},
	} {
		v := open(t, f, test.c, test.path)
		_, err := v.Read(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || errors.Is(err, sources.ErrRefused) != test.refused {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: an address of the network in %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: a credential in %v", name, err)
		}
	}
	f.set(func(f *fake) { f.sealed = true })
	for name, c := range map[string]Connection{"token": root, "login": {AppRole: &AppRole{RoleID: "role-1", SecretID: "canary5f1c-secret-id"}}} {
		_, err := open(t, f, c, "kv/wx#a").Read(t.Context())
		if err == nil || err.Error() != "Vault is sealed or in maintenance (503)" || errors.Is(err, sources.ErrRefused) {
			t.Errorf("sealed, %s: %v", name, err)
		}
	}
}

// One login serves until its token ends; then there is another one.
// What a broken server sends behind an answer is not in the log of the process.
func TestSurplusIsNotLogged(t *testing.T) {
	const answer = `{"data":{"data":{"a":"value"},"metadata":{"version":1}}}`
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(over)
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%scanary5f1c", len(answer), answer)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, _ = io.Copy(io.Discard, c) // until the other side has closed it
	}))
	defer server.Close()
	read, write := io.Pipe()
	log.SetOutput(write)
	defer log.SetOutput(os.Stderr)
	printed := make(chan string)
	go func() {
		text, _ := io.ReadAll(read)
		printed <- string(text)
	}()
	client, _, err := (&Connection{Address: server.URL, Token: "canary5f1c-root"}).client()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := client.Logical().ReadWithContext(t.Context(), "kv/data/wx"); err != nil || got == nil {
		t.Errorf("got %v, %v", got, err)
	}
	<-over
	_ = write.Close()
	if text := <-printed; strings.Contains(text, "canary5f1c") {
		t.Errorf("it is logged: %s", text)
	}
}

func TestLogin(t *testing.T) {
	dir := t.TempDir()
	jwt, secretID := filepath.Join(dir, "jwt"), filepath.Join(dir, "secret_id")
	for path, text := range map[string]string{jwt: "canary5f1c-jwt", secretID: "canary5f1c-secret-id\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for login, c := range map[string]Connection{
		"auth/approle/login":    {AppRole: &AppRole{RoleID: "role-1", SecretIDFile: secretID}},
		"auth/kubernetes/login": {Kubernetes: &Kubernetes{Role: "tokens", JWTFile: jwt}},
	} {
		f := newFake(t)
		f.put("kv/wx", map[string]any{"a": "v"})
		v := open(t, f, c, "kv/wx#a")
		for range 3 {
			wants(t, v, "v")
		}
		if n := f.count("PUT " + login); n != 1 {
			t.Errorf("%s: %d logins instead of one", login, n)
		}
		f.set(func(f *fake) { f.now = f.now.Add(f.life) })
		wants(t, v, "v")
		if n := f.count("PUT " + login); n != 2 {
			t.Errorf("%s: %d logins instead of 2", login, n)
		}
		f.set(func(f *fake) { clear(f.tokens); f.now = f.now.Add(loginEvery) }) // all are revoked
		wants(t, v, "v")
		if n := f.count("PUT " + login); n != 3 {
			t.Errorf("%s: %d logins instead of 3", login, n)
		}
		f.set(func(f *fake) { f.denied["kv/wx"] = true; f.now = f.now.Add(loginEvery) })
		for range 3 {
			if _, err := v.Read(t.Context()); !errors.Is(err, sources.ErrRefused) {
				t.Errorf("%v", err)
			}
		}
		if n := f.count("PUT " + login); n != 4 {
			t.Errorf("%s: %d logins: a right that is missing is not one more login each time", login, n)
		}
	}
}

// Two fields are read with a token that was revoked. The one whose answer comes when the
// other has signed in again took that for a refusal, which drops the value.
func TestAnotherLoginMeanwhile(t *testing.T) {
	for name, isDone := range map[string]bool{"it is done": true, "it is under way": false} {
		f := newFake(t)
		f.put("kv/wx", map[string]any{"a": "v"})
		f.put("kv/other", map[string]any{"a": "v"})
		v := open(t, f, Connection{AppRole: &AppRole{RoleID: "role-1", SecretID: "canary5f1c-secret-id"}}, "kv/wx#a")
		other := *v
		other.place.path = "other"
		wants(t, v, "v")
		f.set(func(f *fake) { clear(f.tokens); f.now = f.now.Add(loginEvery) }) // all are revoked
		var once sync.Once
		f.arrives = func(request string) {
			if request != "GET kv/data/wx" {
				return
			}
			once.Do(func() {
				if isDone {
					wants(t, &other, "v")
				} else if !v.session.signOut(v.session.lastLogin()) {
					t.Error("it does not sign out")
				}
			})
		}
		wants(t, v, "v")
		if n := f.count("PUT auth/approle/login"); n != 2 {
			t.Errorf("%s: %d logins instead of 2", name, n)
		}
	}
}

// A token file belongs to somebody else, who may replace it at any time.
func TestTokenFile(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "v"})
	path := filepath.Join(t.TempDir(), "token")
	v := open(t, f, Connection{TokenFile: path}, "kv/wx#a")
	for _, token := range []string{"canary5f1c-first", "canary5f1c-second"} {
		f.set(func(f *fake) { f.tokens = map[string]time.Time{token: {}} })
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wants(t, v, "v")
	}
	if n := f.count("GET auth/token/lookup-self"); n != 0 {
		t.Errorf("%d look-ups of a token that is not ours to renew", n)
	}
}

// A token of the configuration is renewed at the half of its life, as long as the
// session lasts, whether a value is asked for or not.
func TestTokenIsRenewed(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "v"})
	f.set(func(f *fake) { f.tokens["canary5f1c-periodic"] = f.now.Add(20 * time.Minute); f.period = time.Hour })
	v := open(t, f, Connection{Token: "canary5f1c-periodic"}, "kv/wx#a")
	ticks, waits := make(chan time.Time), make(chan time.Duration)
	v.session.after = func(d time.Duration) <-chan time.Time { waits <- d; return ticks }
	v.Start()
	for _, want := range []time.Duration{10 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		if got := <-waits; got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
		f.set(func(f *fake) { f.now = f.now.Add(want) })
		ticks <- time.Time{}
	}
	<-waits
	wants(t, v, "v")
	if n := f.count("PUT auth/token/renew-self"); n != 3 {
		t.Errorf("%d renewals", n)
	}
	if err := v.Cleanup(); err != nil { // waits for whoever renews
		t.Fatal(err)
	}
}

// The connection is made with the authorities that are named, and no others; what the
// environment says to Vault's client does not count.
func TestTLSAndEnvironment(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "canary5f1c-environment")
	t.Setenv("VAULT_NAMESPACE", "environment")
	t.Setenv("VAULT_ADDR", "http://192.0.2.1")
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	t.Setenv("VAULT_WRAP_TTL", "5m")
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "v"})
	secure := httptest.NewTLSServer(f)
	defer secure.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte(ca), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{ca, path} {
		wants(t, open(t, f, Connection{Token: "canary5f1c-root", Address: secure.URL, CA: given}, "kv/wx#a"), "v")
	}
	_, err := open(t, f, Connection{Token: "canary5f1c-root", Address: secure.URL}, "kv/wx#a").Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority: %v", err)
	}
	f.set(func(f *fake) { f.namespace = "team" })
	wants(t, open(t, f, Connection{Token: "canary5f1c-root", Namespace: "team"}, "kv/wx#a"), "v")
}

func TestSettings(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	const address = "https://vault.example.com:8200"
	for want, v := range map[string]Vault{
		"not <mount>/<path>#<field>":                    {Path: "kv#a"},
		"has a step that no path of Vault has":          {Path: "kv/../sys#a"},
		"address must be an http or https URL":          {Connection: Connection{Address: "vault:8200", Token: "t"}},
		"needs one of token":                            {Connection: Connection{Address: address}},
		"kubernetes and":                                {},
		"approle needs a role_id":                       {Connection: Connection{Address: address, AppRole: new(AppRole)}},
		"both secret_id and secret_id_file":             {Connection: Connection{Address: address, AppRole: &AppRole{RoleID: "r", SecretID: "s", SecretIDFile: "/f"}}},
		"kubernetes needs a role":                       {Connection: Connection{Address: address, Kubernetes: new(Kubernetes)}},
		"needs an address beside how it is reached":     {Connection: Connection{Token: "t"}},
		"there is no certificate in it":                 {Connection: Connection{Address: address, Token: "t", CA: "PEM"}},
		"cache is out of range":                         {Cache: -1},
		"lease is out of range":                         {Lease: -1},
		"timeout must be at most a minute":              {TimeLimit: caddy.Duration(time.Hour)},
		"needs one of token, token_file, approle and k": {Connection: Connection{Address: address, Token: "t", TokenFile: "/f"}},
	} {
		err := v.Provision(ctx)
		if want == "kubernetes and" {
			err = v.Inherit(nil)
			want = "needs a path"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		_ = v.Cleanup()
	}
	lone := Vault{Path: "kv/wx#a"}
	if err := lone.Inherit(nil); err == nil || err.Error() != "needs an address, here or in the tokens block" {
		t.Errorf("%v", err)
	}
}

// A field has the connection and the times of the tokens block, unless it says others.
func TestInherit(t *testing.T) {
	f := newFake(t)
	f.put("kv/wx", map[string]any{"a": "v"})
	shared := open(t, f, Connection{AppRole: &AppRole{RoleID: "role-1", SecretID: "canary5f1c-secret-id"}}, "kv/wx#a")
	shared.Cache, shared.Lease = caddy.Duration(time.Minute), caddy.Duration(2*time.Minute)
	for range 3 {
		field := &Vault{Path: "kv/wx#a", Lease: caddy.Duration(time.Hour)}
		if err := field.Provision(caddy.Context{Context: t.Context()}); err != nil {
			t.Fatal(err)
		}
		if err := field.Inherit(shared); err != nil {
			t.Fatal(err)
		}
		if value := wants(t, field, "v"); value.Fresh != time.Minute || value.Lease != time.Hour {
			t.Errorf("%v", value)
		}
		if err := field.Cleanup(); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.count("PUT auth/approle/login"); n != 1 {
		t.Errorf("%d logins instead of one", n)
	}
}
