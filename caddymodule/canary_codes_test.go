package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// witness is a provider with refresh tokens that remembers what it was sent in
// confidence.
type witness struct {
	*fakeprovider.Provider
	url string

	mu       sync.Mutex
	sent     map[string][]string // what is confidential, by the name of the parameter
	quoting  func(string) string // refuses token requests with what they hold, in this form
	onTokens func()              // runs before a token request is answered
}

func newWitness(t *testing.T, i *instance) *witness {
	t.Helper()
	w := &witness{sent: map[string][]string{}, Provider: fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.OAuth, Credentials: map[string]string{"app": canary + "-secret"},
		Users: map[string]string{"main": canaryPassword}, Redirects: map[string]string{"app": callbackOf(i)},
		Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict},
	})}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	return w
}

func callbackOf(i *instance) string {
	return "http://" + i.host + "/" + planted + "-account/callback-token"
}

// confidential are the parameters that nobody else may see.
var confidential = []string{"code", "state", "code_verifier", "refresh_token", "client_secret"}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	values, _ := url.ParseQuery(string(body) + "&" + r.URL.RawQuery)
	w.mu.Lock()
	var all []string
	for _, name := range confidential {
		w.sent[name] = append(w.sent[name], values[name]...)
		all = append(all, values[name]...)
	}
	quoting, onTokens := w.quoting, w.onTokens
	w.mu.Unlock()
	isToken := r.URL.Path == "/oauth2/token"
	if isToken && onTokens != nil {
		onTokens()
	}
	if !isToken || quoting == nil {
		w.Provider.ServeHTTP(rw, r)
		return
	}
	for n := range all {
		all[n] = quoting(all[n])
	}
	rw.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(rw).Encode(map[string]string{"error": "invalid_request", "error_description": "quoted by the provider: " + strings.Join(all, " and ")})
}

// quote makes it refuse token requests with their content; nil for no more.
func (w *witness) quote(form func(string) string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quoting = form
}

// secrets are all that was sent in confidence, and the tokens.
func (w *witness) secrets() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append(w.Issued(), canary)
	for _, name := range confidential {
		all = append(all, w.sent[name]...)
	}
	for _, e := range w.Events() {
		all = append(all, e.Code, e.Refresh)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}

// realm is one of the planted name that a person authorizes.
func (w *witness) realm(i *instance) string {
	return fmt.Sprintf(`
		realm %[1]s {
			api %[2]s
			grant authorization_code {
				authorize_url %[2]s/oauth2/authorize
				token_url %[2]s/oauth2/token
				client_id app
				client_secret {secret.client_secret}
				token_endpoint_auth_method client_secret_post
			}
			callback_url %[3]s
			inject header Authorization "Bearer {token}"
			refresh_semantics strict
			default_key main
			secret main {
				client_secret {env.TOKENS_TEST_SECRET}
			}
		}`, planted, w.url, callbackOf(i))
}

// link begins an authorization.
func (w *witness) link(i *instance) string {
	i.t.Helper()
	var shown struct{ URL string }
	if err := json.Unmarshal([]byte(i.must(http.MethodGet, "/api/secret/"+planted+"/main/authorize", "")), &shown); err != nil {
		i.t.Fatal(err)
	}
	return shown.URL
}

// back is where the browser is sent by the provider.
func (w *witness) back(i *instance, denies bool) *url.URL {
	i.t.Helper()
	to, err := fakeprovider.Person{User: "main", Password: canaryPassword, Denies: denies}.Open(i.t.Context(), w.link(i))
	if err != nil {
		i.t.Fatal(err)
	}
	return to
}

// TestNothingLeaksOfAuthorizations: codes, states, verifiers and refresh tokens,
// good, spent, refused or quoted by the provider, are nowhere afterwards.
func TestNothingLeaksOfAuthorizations(t *testing.T) {
	i, stderr := newInstance(t), captureStderr(t)
	i.config = freeAddress(t)
	w := newWitness(t, i)
	i.load(w.realm(i)+"\naudit {\nrequests\n}", "route {\nhandle_path /any/* {\ntoken_gateway\n}\ntoken_callback\ntoken_admin {\nauth local\n}\n}")
	answers := ""
	visit := func(u *url.URL) {
		t.Helper()
		a := i.do(http.MethodGet, u.String(), "")
		answers += fmt.Sprintln(a.Status, a.Header) + a.body + "\n"
	}
	good := w.back(i, false)
	visit(good)
	i.plant()
	visit(good) // again
	visit(w.back(i, true))
	led := i.call(http.MethodGet, "/api/secret/"+planted+"/main/authorize?redirect=true", "")
	if led.StatusCode != http.StatusFound {
		t.Errorf("%s\n%s", led.Status, led.body)
	}
	for _, account := range []string{planted, "nobody"} { // a callback of others, or out of place
		for _, query := range []string{"code=%s&state=%s", "code=%s&code=%s&state=x", "code=%s&state=%%zz%s", "error=%s&error_description=%s&state=x", "%s=%s", "iss=%s&code=%s"} {
			visit(&url.URL{Scheme: "http", Host: i.host, Path: "/" + account + "-account/callback-token", RawQuery: fmt.Sprintf(query, canary+"-code", canary+"-state")})
		}
	}
	i.must(http.MethodGet, "/api/token?realm="+planted+"&key=main&flush=true", "") // spends a refresh token
	for n, form := range quotings {
		link, err := url.Parse(w.link(i))
		if err != nil {
			t.Fatal(err)
		}
		w.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, link.String(), nil)) // it knows the state
		w.quote(form)
		back := *good
		back.RawQuery = url.Values{"code": {fmt.Sprintf("%s-code-%d", canary, n)}, "state": {link.Query().Get("state")}}.Encode()
		visit(&back)
		w.quote(nil)
	}
	w.quote(quotings[2])
	answers += i.call(http.MethodGet, "/api/token?realm="+planted+"&key=main&flush=true", "").body
	answers += i.call(http.MethodPost, "/"+planted+"-account/refresh-all-token", "").body
	answers += i.call(http.MethodPost, "/"+planted+"-account/request-access-token?timeout=1", "").body
	if n := strings.Count(i.log(), "quoted by the provider"); n < len(quotings) {
		t.Errorf("the log has the provider's words %d times", n)
	}

	for _, name := range confidential {
		if len(w.sent[name]) == 0 {
			t.Errorf("no %s was sent", name)
		}
	}
	all := i.sinks()
	all["the answers"] = answers + planted
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, w.secrets()...)
}

// TestNothingLeaksIntoTheSpool: an answer that waits on the disk for the database
// is sealed.
func TestNothingLeaksIntoTheSpool(t *testing.T) {
	i, server := newInstance(t), testserver.OwnMariaDB(t)
	w := newWitness(t, i)
	t.Setenv("TOKENS_TEST_DSN", server.DSN())
	i.load("storage mysql {env.TOKENS_TEST_DSN}\nencryption_key "+newKey(t)+"\n"+w.realm(i), "token_callback")
	back := w.back(i, false)
	w.mu.Lock()
	w.onTokens = func() { server.ReadOnly(t, true) }
	w.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		_, err := try(http.MethodGet, back.String(), "")
		done <- err
	}()
	pattern := filepath.Join(i.dir, "caddy", "tokens-spool", "*", "*.token")
	waitFor(t, "an answer in the spool", func() bool {
		names, err := filepath.Glob(pattern)
		return err == nil && len(names) > 0
	})
	spooled := contentsOf(t, i.dir, "caddy/tokens-spool/*/*.token")
	server.ReadOnly(t, false)
	if err := <-done; err != nil {
		t.Error(err)
	}
	sinks{"the spool": spooled}.wantNoSecret(t, w.secrets()...)
}
