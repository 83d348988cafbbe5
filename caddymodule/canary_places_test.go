package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// mirror is a provider whose API shows in the header of its answers whatever it
// got, and whose token endpoint takes clients that sign.
type mirror struct {
	*provider
	mu   sync.Mutex
	got  map[string]int // requests of the API with something confidential, by realm
	sent []string       // what was signed or computed for it
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{provider: newProvider(t), got: make(map[string]int)}
	m.provider.api = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assert/") {
			m.assert(w, r)
			return
		}
		m.reflect(w, r)
	}
	return m
}

// note remembers what nobody else may see.
func (m *mirror) note(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, secrets...)
}

// signatureOf is what is confidential of a JWT: the claims stand in the realm, too.
func signatureOf(jwt string) string { return jwt[strings.LastIndexByte(jwt, '.')+1:] }

// assert is a token endpoint. It refuses a request with what it holds, or gives a
// token in the place that the path names.
func (m *mirror) assert(w http.ResponseWriter, r *http.Request) {
	assertion := r.FormValue("client_assertion")
	m.note(signatureOf(assertion))
	answer := map[string]string{"user": canary + "-user"}
	switch r.URL.Path {
	case "/assert/header":
		w.Header().Set("X-Subject-Token", canary+"-token-header")
	case "/assert/cookie":
		w.Header().Add("Set-Cookie", "sid="+canary+"-token-cookie; HttpOnly")
	default:
		w.WriteHeader(http.StatusUnauthorized)
		answer["error"], answer["error_description"] = "invalid_client", "quoted by the provider: "+assertion
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// reflect is the API. The last segment of the path is the realm's id, and dead or
// cut may stand before it.
func (m *mirror) reflect(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	segments := strings.Split(r.URL.Path, "/")
	id, sign := segments[len(segments)-1], r.Header.Get("X-Sign")
	if sign != "" {
		m.note(sign)
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if strings.Contains(bearer, ".") { // a JWT
		m.note(signatureOf(bearer))
	}
	all := strings.Join([]string{r.URL.String(), r.Header.Get("Cookie"), string(body), bearer, r.Header.Get("X-User"), sign}, " | ")
	_, password, _ := r.BasicAuth()
	if strings.Contains(all+password, canary) || strings.Contains(bearer, ".") {
		m.mu.Lock()
		m.got[id]++
		m.mu.Unlock()
	}
	w.Header().Set("X-Reflected", all)
	w.Header().Set("Link", "<"+r.URL.String()+">; rel=next")
	switch {
	case slices.Contains(segments, "cut"):
		panic(http.ErrAbortHandler)
	case slices.Contains(segments, "dead"):
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// signing is a realm whose client signs its token requests.
func (m *mirror) signing(id, method, key, endpoint, more string) string {
	return fmt.Sprintf(`
		realm %s {
			api %s
			grant client_credentials {
				token_url %[2]s/assert/%[3]s
				client_id app
				token_endpoint_auth_method %[4]s
				%[5]s
			}
			%[6]s
			lifetime 1h
			renew_on status 401
			secret main {
				secret {env.TOKENS_TEST_SECRET}
				key {env.TOKENS_TEST_KEY}
			}
		}`, id, m.URL, endpoint, method, key, more)
}

// computed is a realm whose tokens are computed.
func (m *mirror) computed(id string) string {
	return fmt.Sprintf(`
		realm %s {
			api %s
			grant computed {
				expr "jwt('HS256', secret.secret, {'exp': epoch_s() + 600})"
			}
			lifetime 10m
			inject header Authorization "Bearer {token}"
			renew_on status 401
			secret main {
				secret {env.TOKENS_TEST_SECRET}
			}
		}`, id, m.URL)
}

// TestNothingLeaksOfPlaces is TestNothingLeaks for every place that a token can be
// put in, for what is computed of it, for what comes with it, for tokens of header
// fields and cookies, and for clients that sign.
func TestNothingLeaksOfPlaces(t *testing.T) {
	m, i, stderr := newMirror(t), newInstance(t), captureStderr(t)
	i.config = freeAddress(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(der)
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	t.Setenv("TOKENS_TEST_KEY", key)
	const bearer = "\nrenew_on status 401"
	realms := map[string]string{
		"path":       m.realm("path", "inject path bot"+bearer),
		"cookie":     m.realm("cookie", "inject cookie sid"+bearer),
		"body":       m.realm("body", "inject body auth.token\ninject body key {secret.secret}"+bearer),
		"basic":      m.realm("basic", "inject basic {secret.secret} {token}"+bearer),
		"once":       m.realm("once", `inject header X-Sign expr "hex(hmac('sha256', secret.secret, token))"`+"\ninject query t"+bearer),
		"each":       m.realm("each", `inject header X-Sign expr "hex(hmac('sha256', secret.secret, token + path + random_hex(8)))"`+"\ninject cookie t"+bearer),
		"kept":       m.realm("kept", "inject header X-User {answer.user.id}\ninject query t"+bearer),
		"kept_expr":  m.realm("kept_expr", `inject header X-User expr "answer.user.id + answer['user.id']"`+"\n"+`inject header X-Sign expr "md5(answer.user.id + path)"`+"\ninject query t"+bearer),
		"computed":   m.computed("computed"),
		"in_header":  m.signing("in_header", "client_secret_jwt", "client_secret {secret.secret}", "header", "token_header X-Subject-Token\ninject header Authorization \"Bearer {token}\""),
		"in_cookie":  m.signing("in_cookie", "private_key_jwt", "private_key {secret.key}\nalgorithm ES256", "cookie", "token_cookie sid\ninject cookie sid\ninject header X-User {answer.user}"),
		"no_secret":  m.signing("no_secret", "client_secret_jwt", "client_secret {secret.secret}", "refuse", "inject query t"),
		"no_private": m.signing("no_private", "private_key_jwt", "private_key {secret.key}\nalgorithm ES256", "refuse", "inject query t"),
	}
	tokens := m.realm(planted, "inject query access_token")
	for _, text := range realms {
		tokens += text
	}
	tokens = strings.ReplaceAll(tokens, "secret "+canary+"-secret", "secret {env.TOKENS_TEST_SECRET}")
	i.load(tokens, proxyMain)

	var answers strings.Builder
	use := func(method, path, body string, header ...string) answer {
		a := i.do(method, "http://"+i.host+path, body, header...)
		_, _ = fmt.Fprintln(&answers, a.Status, a.Header, a.body)
		return a
	}
	for id := range realms {
		isRefused := strings.HasPrefix(id, "no_")
		for _, way := range []string{"x", "cut", "dead"} {
			path := "/any/" + id + "/main/"
			if id == "path" {
				path += "bot0:dummy/"
			}
			if id == "body" {
				use(http.MethodPost, path+way+"/"+id, `{"a": 1}`, "Content-Type", "application/json")
				use(http.MethodPost, path+way+"/"+id, "a=1", "Content-Type", "application/x-www-form-urlencoded")
				use(http.MethodPost, path+way+"/"+id, `{"a": `, "Content-Type", "application/json")
				continue
			}
			if a := use(http.MethodGet, path+way+"/"+id+"?q=1", ""); way == "x" && (a.StatusCode == http.StatusOK) == isRefused {
				t.Errorf("%s: %s %s", id, a.Status, a.body)
			}
		}
		answers.WriteString(i.call(http.MethodPost, "/api/realm/"+id+"/test", `{"key": "main"}`).body)
		answers.WriteString(i.must(http.MethodGet, "/api/realm/"+id, "") + i.must(http.MethodGet, "/api/secret/"+id+"/main", ""))
	}
	i.load(tokens+"\nallow_private 127.0.0.1", proxyMain)
	for id := range realms {
		use(http.MethodGet, "/any/"+id+"/main/x/"+id, "")
	}
	use(http.MethodGet, "/any/"+planted+"-nope/main/x", "")

	m.mu.Lock()
	secrets := append([]string{canary, key}, m.sent...)
	for id := range realms {
		if got := m.got[id]; got < 2 && !strings.HasPrefix(id, "no_") {
			t.Errorf("%s: the API got %d requests with something confidential", id, got)
		}
	}
	m.mu.Unlock()
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
	slices.Sort(secrets)
	if shown := answers.String(); strings.Count(shown, "quoted by the provider") < 2 || !strings.Contains(shown, "X-Reflected") {
		t.Errorf("the provider's words are not shown: %s", shown)
	}
	i.plant()
	all := i.sinks()
	all["answers"] = answers.String()
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, slices.Compact(secrets)...)
}
