package caddymodule

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// patience is how long tests wait for what must happen; nothing waits that
// long unless it is broken.
const patience = 3 * time.Minute

// instance is Caddy in this process, with a data directory of its own.
type instance struct {
	t    *testing.T
	dir  string
	host string // of the proxy, 127.0.0.1:port
	api  string // of the admin API
	// config is the address of Caddy's own admin API, or off.
	config string
	// global are more global options.
	global string
	// servers are more options of the servers.
	servers string
}

// newInstance reserves ports and directories; load starts it. There is one
// Caddy per process, so tests with an instance do not run in parallel.
func newInstance(t *testing.T) *instance {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	autosave := caddy.ConfigAutosavePath
	caddy.ConfigAutosavePath = filepath.Join(dir, "autosave.json")
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		caddy.ConfigAutosavePath = autosave
	})
	return &instance{t: t, dir: dir, host: freeAddress(t), api: freeAddress(t), config: "off"}
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testserver.FreePort(t)))
}

// caddyfile is the frame of every test: global options, a site for the proxy
// with the given directives, and the admin API.
func (i *instance) caddyfile(tokens, site string) string {
	return fmt.Sprintf(`{
	admin %[6]s
	auto_https off
	storage file_system %[1]s/caddy
	log {
		output file %[1]s/log
		level DEBUG
	}
	servers {
		protocols h1 h2c
		expected_underscore_headers X_Access_Token Access_Token
		%[8]s
	}
	tokens {
		%[2]s
	}
	%[7]s
}
http://%[3]s {
	log
	%[4]s
}
http://%[5]s {
	token_admin {
		auth local
	}
}
`, i.dir, tokens, i.host, site, i.api, i.config, i.global, i.servers)
}

// load starts the configuration, in place of the one before.
func (i *instance) load(tokens, site string) {
	i.t.Helper()
	if err := i.tryLoad(tokens, site); err != nil {
		i.t.Fatal(err)
	}
}

func (i *instance) tryLoad(tokens, site string) error {
	i.t.Helper()
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(i.caddyfile(tokens, site)), nil)
	if err != nil {
		return err
	}
	return caddy.Load(cfg, true)
}

// log is everything that was logged so far.
func (i *instance) log() string {
	i.t.Helper()
	content, err := os.ReadFile(filepath.Join(i.dir, "log"))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(content)
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// get requests a path of the proxy; see do.
func (i *instance) get(path string, header ...string) answer {
	i.t.Helper()
	return i.do(http.MethodGet, "http://"+i.host+path, "", header...)
}

// call requests a path of the admin API; see do.
func (i *instance) call(method, path, body string) answer {
	i.t.Helper()
	return i.do(method, "http://"+i.api+path, body, "Content-Type", "application/json")
}

// must is call, for requests that have to succeed.
func (i *instance) must(method, path, body string) string {
	i.t.Helper()
	a := i.call(method, path, body)
	if a.StatusCode != http.StatusOK {
		i.t.Fatalf("%s %s: %s\n%s", method, path, a.Status, a.body)
	}
	return a.body
}

// client follows no redirect and keeps no connection, so that goroutines can
// be counted.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// do requests a URL. A connection that is dropped before there is an answer is
// tried again: Caddy drops some that come while it reloads.
func (i *instance) do(method, url, body string, header ...string) answer {
	i.t.Helper()
	var a answer
	waitFor(i.t, "an answer from "+url, func() (done bool) {
		var err error
		a, err = try(method, url, body, header...)
		return err == nil
	})
	return a
}

func try(method, url, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	return answer{resp, string(content)}, err
}

// raw sends bytes to the proxy; see rawTo.
func (i *instance) raw(request string) string {
	i.t.Helper()
	return rawTo(i.t, i.host, request)
}

// rawTo sends bytes as they are, and returns what comes back until the
// connection is closed.
func rawTo(t *testing.T, address, request string) string {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if _, err := io.Copy(&all, conn); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// wechatRealm is the realm p of a provider in the manner of WeChat, with whatever else
// its block has.
func wechatRealm(base, rest string) string {
	return fmt.Sprintf(`
		realm p {
			api %[1]s
			fetch GET %[1]s/cgi-bin/token {
				query grant_type client_credential
				query appid {secret.appid}
				query secret {secret.appsecret}
			}
			token_path access_token
			expires_in_path expires_in
			inject query access_token
			renew_on json errcode 40001 40014 42001
			%[2]s
		}`, base, rest)
}
