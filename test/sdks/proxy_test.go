package sdks

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy is the built binary with a configuration, between the programs and the
// stand-ins of the providers.
type proxy struct {
	*providers
	url, google, stripe string
}

// newProxy starts the binary on a Caddyfile of the page.
//
// Its sites listen on an address of loopback that no other process has: their ports
// are then free, also of connections that go out.
func newProxy(t *testing.T, text string) *proxy {
	t.Helper()
	pid := os.Getpid()
	ip := fmt.Sprintf("127.%d.%d.%d", 100+pid>>16&63, pid>>8&255, pid&255|1)
	p := &proxy{newProviders(t), "http://" + ip + ":8080", "http://" + ip + ":8081", "http://" + ip + ":8082"}
	dir := t.TempDir()
	pemFile := filepath.Join(dir, "key.pem")
	write(t, pemFile, privateKey(t))
	text = strings.NewReplacer(
		"\ngoogle.tokens.example.com {", "\n"+p.google+" {", "\nstripe.tokens.example.com {", "\n"+p.stripe+" {",
		"\ntokens.example.com {", "\n"+p.url+" {",
		"https://uploads.github.com", p.github.URL, "https://api.github.com", p.github.URL, "api.github.com uploads.github.com", host(p.github.URL),
		"https://api.stripe.com", p.stripeAPI.URL,
		"/run/secrets/github.pem", pemFile, "/run/secrets/google.pem", pemFile,
		"\ttokens {\n", "\tadmin off\n\tdebug\n\ttokens {\n\t\tallow_private 127.0.0.1\n",
	).Replace(text)
	text = presetLine.ReplaceAllStringFunc(text, func(line string) string {
		name := presetLine.FindStringSubmatch(line)[1]
		instead, known := p.instead()[name]
		if !known {
			t.Fatalf("the test does not know the preset %s", name)
		}
		return line + "\n" + instead
	})
	text = realmLine.ReplaceAllString(text, "$0\n\t\t\tallow_http")
	write(t, filepath.Join(dir, "Caddyfile"), text)
	p.start(t, dir)
	return p
}

var (
	presetLine = regexp.MustCompile(`(?m)^\s*preset (\w+)$`)
	realmLine  = regexp.MustCompile(`(?m)^\s*realm \w+ \{$`)
)

// instead is what takes the place of the addresses that a preset has.
func (p *proxy) instead() map[string]string {
	return map[string]string{
		"github_app": "api " + p.github.URL + "\nurl " + p.github.URL + "/app/installations/4711/access_tokens",
		"google_service_account": "api " + p.googleAPI.URL + "\nhosts " + host(p.googleAPI.URL) + `
grant jwt_bearer {
	token_url ` + p.googleAPI.URL + `/token
	issuer {secret.client_email}
	scopes {secret.scopes}
}`,
		"openai":    "api " + p.openai.URL,
		"anthropic": "api " + p.anthropic.URL,
		"feishu":    "api " + p.feishu.URL + "\nurl " + p.feishu.URL + "/open-apis/auth/v3/tenant_access_token/internal",
		"wechat":    "api " + p.wechat.URL + "\nurl " + p.wechat.URL + "/cgi-bin/stable_token",
	}
}

// env is what the programs know.
func (p *proxy) env() []string {
	return []string{"PROXY_URL=" + p.url, "GOOGLE_PROXY_URL=" + p.google, "STRIPE_PROXY_URL=" + p.stripe}
}

// start starts the binary and waits until it answers. A shell ends it when this
// process ends, however it ends: it waits for the end of a pipe whose other side
// only we hold.
func (p *proxy) start(t *testing.T, dir string) {
	t.Helper()
	const script = `"$0" run --config Caddyfile & read -r _; kill "$!"; wait`
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", script, program(t)) // #nosec G204 -- our own program
	log, err := os.Create(filepath.Join(dir, "log"))                                      // #nosec G304 -- a temporary directory
	if err != nil {
		t.Fatal(err)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PROXY_KEY=" + key,
		"GITHUB_APP_ID=app", "GITHUB_INSTALLATION_ID=4711", "GOOGLE_CLIENT_EMAIL=robot@example.com",
		"STRIPE_SECRET=" + stripeToken, "OPENAI_SECRET=" + openaiToken, "ANTHROPIC_SECRET=" + anthropicToken,
		"FEISHU_APP_ID=cli_1", "FEISHU_APP_SECRET=feishu-secret", "WX_APPID=wx1", "WX_APPSECRET=wx-secret",
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		_ = log.Close()
		text, _ := os.ReadFile(log.Name())
		if t.Failed() {
			t.Logf("the log of the proxy:\n%s", text)
		}
		if strings.Contains(string(text), key) {
			t.Error("the client's key stands in the log")
		}
	})
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !answers(t, p.url) || !answers(t, p.google) || !answers(t, p.stripe) {
		if now := <-tick.C; now.After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the proxy does not answer:\n%s", text)
		}
	}
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// program is the binary: what TOKENS_BINARY names, or else built once as it is
// released.
func program(t *testing.T) string {
	t.Helper()
	file, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var built = sync.OnceValues(func() (string, error) {
	if file := os.Getenv("TOKENS_BINARY"); file != "" {
		return file, nil
	}
	file, err := filepath.Abs("../../bin/caddy-of-the-sdks")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "../..", "-tags", "nobadger,nomysql,nopgx", "-o", file, "./cmd/xcaddy-build") // #nosec G204 -- fixed words
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the product does not build: %w\n%s", err, out)
	}
	return file, nil
})

func privateKey(t *testing.T) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// host is the host and port of a URL.
func host(url string) string { return strings.TrimPrefix(url, "http://") }
