package test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// forceGap is longer than WeChat takes to give another token by force.
const forceGap = time.Minute

// world stands in for the providers that the documents name. Each host is a
// path of one server on loopback: https://a.example.com/b is at /a.example.com/b.
type world struct {
	base                 string
	wechat, wecom, oauth *fakeprovider.Provider
	github               *githubApp
	passed               atomic.Int64 // by which WeChat's clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{github: newGitHubApp(t)}
	w.wechat = fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"},
		Now: func() time.Time { return time.Now().Add(time.Duration(w.passed.Load())) },
	})
	w.wecom = fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeCom, Credentials: map[string]string{"...": "...", "ww-corp": "ww-secret-01"}})
	w.oauth = fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"crm-client": "crm-secret-01"}})
	hosts := map[string]http.Handler{
		"api.weixin.qq.com": w.wechat, "qyapi.weixin.qq.com": w.wecom,
		"login.example.com": w.oauth, "crm.example.com": w.oauth, "api.github.com": w.github,
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		handler, ok := hosts[host]
		if !ok {
			handler = http.HandlerFunc(generous)
		}
		http.StripPrefix("/"+host, handler).ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.base = server.URL
	return w
}

// generous is a provider that gives a token for anything, in the words that
// most have.
func generous(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"access_token": "generous", "token": "generous", "expires_in": 7200, "refresh_token": "more", "errcode": 0, "ok": true,
		"data": map[string]any{"access_token": "generous", "expires_in": 7200},
	})
}

// revoke ends the tokens that are current.
func (w *world) revoke() {
	for _, p := range []*fakeprovider.Provider{w.wechat, w.wecom, w.oauth} {
		p.Revoke(p.Newest())
	}
	w.github.revoke()
}

func countsOf(p *fakeprovider.Provider) func() (issued, dead int) {
	return func() (int, int) { return len(p.Issued()), len(p.DeadCalls()) }
}

// githubApp is GitHub's endpoint of installation tokens, and an API that takes
// only the newest (docs.github.com/rest/apps/apps, "Create an installation
// access token for an app").
type githubApp struct {
	t   *testing.T
	key *rsa.PrivateKey

	mu           sync.Mutex
	issued, dead int
	live         string
}

func newGitHubApp(t *testing.T) *githubApp {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	return &githubApp{t: t, key: key}
}

// signingKey is the private key of every app.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func (g *githubApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case strings.HasSuffix(r.URL.Path, "/access_tokens"):
		if r.URL.Path != "/app/installations/4711/access_tokens" || r.Method != http.MethodPost || !g.signed(bearer) {
			http.Error(w, `{"message": "Bad credentials"}`, http.StatusUnauthorized)
			return
		}
		g.issued++
		g.live = "ghs_" + strconv.Itoa(g.issued)
		w.WriteHeader(http.StatusCreated)
		writeJSON(w, map[string]any{"token": g.live, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	case bearer == "" || bearer != g.live:
		g.dead++
		http.Error(w, `{"message": "Bad credentials"}`, http.StatusUnauthorized)
	default:
		writeJSON(w, map[string]any{"full_name": "octo/hello"})
	}
}

// signed reports whether a JWT is one of the app: RS256, with its id, and not
// longer than ten minutes.
func (g *githubApp) signed(jwt string) bool {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, digest[:], signature) != nil {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	claims := decode[struct {
		Iss      string
		Iat, Exp int64
	}](g.t, text)
	now := time.Now().Unix()
	return claims.Iss == "github-app" && claims.Iat <= now && claims.Exp > now && claims.Exp <= now+600
}

func (g *githubApp) revoke() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.live = "none"
}

func (g *githubApp) counts() (issued, dead int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.issued, g.dead
}

// readersFiles is what a reader has beside the documents: files with keys, and
// environment variables.
type readersFiles struct {
	t   *testing.T
	dir string
}

const sealingKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

func newReadersFiles(t *testing.T) readersFiles {
	t.Helper()
	return readersFiles{t, t.TempDir()}
}

var (
	ofFile = regexp.MustCompile(`\{file\./([^}]+)\}`)
	source = regexp.MustCompile(`source file /(\S+)`)
	ofEnv  = regexp.MustCompile(`\{env\.(\w+)\}`)
)

// replace makes the files that a Caddyfile names, and names those.
func (f readersFiles) replace(text string) string {
	text = source.ReplaceAllString(text, "{file./$1}")
	return ofFile.ReplaceAllStringFunc(text, func(placeholder string) string {
		path := filepath.Join(f.dir, ofFile.FindStringSubmatch(placeholder)[1])
		content := sealingKey
		if strings.HasSuffix(path, ".pem") {
			content = f.privateKey()
		}
		if strings.HasSuffix(path, ".crt") {
			content = f.certificate()
		}
		f.write(path, content)
		return "{file." + path + "}"
	})
}

func (f readersFiles) privateKey() string {
	f.t.Helper()
	key, err := signingKey()
	if err != nil {
		f.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

// certificate is that of privateKey, which the reader signed himself.
func (f readersFiles) certificate() string {
	f.t.Helper()
	key, err := signingKey()
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (f readersFiles) write(path, content string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// environment gives a value to every variable of a Caddyfile, and to those that
// a mysql without a DSN reads.
func (f readersFiles) environment(text string) []string {
	values := map[string]string{
		"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": "1", "MYSQL_USERNAME": "tokens", "MYSQL_PASSWORD": "c", "MYSQL_DATABASE": "tokens",
		"WX_APPID": "wx-app", "WX_APPSECRET": "wx-secret-01", "CRM_CLIENT_ID": "crm-client", "CRM_CLIENT_SECRET": "crm-secret-01",
		"WECOM_CORPID": "ww-corp", "WECOM_CORPSECRET": "ww-secret-01",
		"GITHUB_APP_ID": "github-app", "GITHUB_INSTALLATION_ID": "4711", "REDIS_URL": "redis://127.0.0.1:1/0",
	}
	for _, m := range ofEnv.FindAllStringSubmatch(text, -1) {
		switch name := m[1]; {
		case values[name] != "":
		case name == "TOKENS_KEY":
			values[name] = sealingKey
		case strings.HasSuffix(name, "_KEY"): // of a client: no two have the same
			values[name] = "value-of-" + strings.ToLower(name) + "-0123456789abcdef0123456789abcdef"
		default:
			values[name] = "value-of-" + strings.ToLower(name)
		}
	}
	var env []string
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	return env
}

// reader does what a page says.
type reader struct {
	t     *testing.T
	world *world
	files readersFiles
	// caddyfile is the configuration that the page has told so far.
	caddyfile string
	running   *node // with an earlier configuration where changed is set
	changed   bool
	practice  int // the port of the practice provider
	requests  int
	key       string // what the shell's variable KEY has: the key of a client
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, world: newWorld(t), files: newReadersFiles(t), practice: testserver.FreePort(t), changed: true}
	r.caddyfile = readDoc(t, example)
	return r
}

// follow goes through a page: a Caddyfile with the two sites takes the place of
// the configuration, what belongs into tokens is added to it, and a curl is run.
// Where the page goes back to Caddyfile.example, its block is within "example".
func (r *reader) follow(blocks []block) {
	r.t.Helper()
	for _, b := range blocks {
		switch {
		case b.lang == "sh":
			if b.within == ofExample {
				r.caddyfile, r.changed = readDoc(r.t, example), true
			}
			for _, command := range curls(b.text) {
				r.run(command)
			}
		case b.lang != "caddyfile":
		case b.within == "tokens":
			r.caddyfile = strings.Replace(r.caddyfile, "\ttokens {\n", "\ttokens {\n"+b.text, 1)
			r.changed = true
		case b.within == "" && strings.Contains(b.text, ":8080") && strings.Contains(b.text, ":8081"):
			r.caddyfile, r.changed = b.text, true
		}
	}
}

const (
	// ofExample is where commands belong that are for Caddyfile.example.
	ofExample = "example"
	// setsKey is the beginning of a command that keeps the key of a client.
	setsKey = "KEY=$("
)

// beforeExample are the blocks of a page before it goes back to the example.
func beforeExample(blocks []block) []block {
	if i := slices.IndexFunc(blocks, func(b block) bool { return b.within == ofExample }); i >= 0 {
		return blocks[:i]
	}
	return blocks
}

// curls are the commands of a block that begin with curl, or keep what it
// answers as KEY; one goes on in the next line as long as a quote is open, or
// behind a backslash.
func curls(text string) []string {
	var commands []string
	open := false
	for line := range strings.Lines(text) {
		switch {
		case open:
			commands[len(commands)-1] += line
		case strings.HasPrefix(strings.TrimPrefix(line, setsKey), "curl "):
			commands = append(commands, line)
		default:
			continue
		}
		last := commands[len(commands)-1]
		open = strings.Count(last, "'")%2 == 1 || strings.HasSuffix(last, "\\\n")
	}
	return commands
}

// node is the process with the configuration that the page has told.
func (r *reader) node() *node {
	r.t.Helper()
	if !r.changed {
		return r.running
	}
	r.changed = false
	env := r.files.environment(r.caddyfile)
	if r.running == nil {
		r.running = prepare(r.t, r.adapted, env...)
	} else {
		r.running.stop()
		port := func(base string) int { n, _ := strconv.Atoi(base[strings.LastIndexByte(base, ':')+1:]); return n }
		text := r.adapted(port(r.running.proxy), port(r.running.admin))
		r.files.write(filepath.Join(r.running.dir, "Caddyfile"), text)
		r.running.env = env
	}
	r.running.start()
	return r.running
}

var (
	presetLine = regexp.MustCompile(`(?m)^\s*preset (\w+)$`)
	presetJSON = regexp.MustCompile(`"preset": "(\w+)"`)
	realmLine  = regexp.MustCompile(`(?m)^\s*realm \S+ \{$`)
	allowHTTP  = regexp.MustCompile(`(?m)^\s*allow_http( on)?\n`)
)

// adapted is the configuration with free ports in place of the documents', and
// with the world's server in place of the providers'.
func (r *reader) adapted(proxyPort, adminPort int) string {
	text := strings.NewReplacer(
		"8080", strconv.Itoa(proxyPort), "8081", strconv.Itoa(adminPort), "8082", strconv.Itoa(r.practice),
		"https://", r.world.base+"/",
	).Replace(presetLine.ReplaceAllStringFunc(r.caddyfile, r.withAddresses))
	text = realmLine.ReplaceAllString(allowHTTP.ReplaceAllString(text, ""), "$0\n\t\t\tallow_http")
	return r.files.replace(strings.Replace(text, "\ttokens {\n", "\tadmin off\n\tdebug\n\ttokens {\n\t\tallow_private 127.0.0.1\n", 1))
}

// withAddresses writes the addresses that a preset has into the realm, where
// the world can take their place.
func (r *reader) withAddresses(line string) string {
	c := r.preset(presetLine.FindStringSubmatch(line)[1])
	return line + "\n\t\t\tapi " + c.API + "\n\t\t\turl " + c.URL
}

// withAddressesJSON is withAddresses for a realm of the HTTP API. A preset without
// a fetch stays as it is: no test logs in at its provider.
func (r *reader) withAddressesJSON(member string) string {
	c := r.preset(presetJSON.FindStringSubmatch(member)[1])
	if c.URL == "" {
		return member
	}
	return fmt.Sprintf("%s, \"api\": %q, \"url\": %q", member, c.API, c.URL)
}

// preset is what a preset of the catalogue says.
func (r *reader) preset(name string) realm.Config {
	r.t.Helper()
	p, err := presets.Get(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Config
}

// run runs a command of a page in a shell.
func (r *reader) run(command string) {
	r.t.Helper()
	n := r.node()
	r.requests++
	localhost := func(base string) string { return strings.Replace(base, "http://127.0.0.1", "localhost", 1) }
	script := strings.NewReplacer(
		"localhost:8080", localhost(n.proxy), "localhost:8081", localhost(n.admin),
		"https://", r.world.base+"/", `"config": {`, `"config": {"allow_http": true, `,
		// JD's account of docs/accounts.md: its key is a real one, and it has a
		// token already, because no test logs in at JD.
		`"rsa_key": "..."`, fmt.Sprintf(`"rsa_key": %q`, r.files.privateKey()),
		`"key": "acme-jd", `, fmt.Sprintf(`"key": "acme-jd", "token": "seeded", "expires_at": %d, `, time.Now().Add(time.Hour).UnixMilli()),
	).Replace(presetJSON.ReplaceAllStringFunc(command, r.withAddressesJSON))
	script = `curl() { command curl -q --silent --show-error --noproxy '*' --write-out '\n%{http_code}' "$@"; }` + "\n" + script
	if strings.HasPrefix(command, setsKey) {
		script += `echo "$KEY"`
	}
	cmd := exec.CommandContext(within(r.t), "bash", "-c", script)                               // #nosec G204 -- our own documents
	cmd.Env = append(os.Environ(), "KEY="+r.key, "XDG_DATA_HOME="+filepath.Join(n.dir, "data")) // where the reader's Caddy keeps its data
	out, err := cmd.CombinedOutput()
	if strings.HasPrefix(command, setsKey) { // grep sees the status in place of us
		if r.key = strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(r.key, "ctk_") {
			r.t.Errorf("%s%v %s", command, err, out)
		}
		return
	}
	status := strings.TrimSpace(string(out[strings.LastIndexByte(string(out), '\n')+1:]))
	if err != nil || !strings.HasPrefix(status, "2") {
		r.t.Errorf("%s%v %s", command, err, out)
	}
}
