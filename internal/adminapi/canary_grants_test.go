package adminapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/secretscan"
)

// signedTo is a provider that takes clients which sign, tokens for tokens, and what
// it said before. Below /refuse it quotes in its refusal all that it was sent.
type signedTo struct {
	mu  sync.Mutex
	got []string
}

func (p *signedTo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	assertion := r.FormValue("client_assertion")
	sent := []string{assertion, r.FormValue("subject_token"), r.FormValue("ticket"), r.FormValue("refresh_token")}
	p.mu.Lock()
	p.got = append(append(p.got, signatureOf(assertion)), sent[1:]...)
	p.mu.Unlock()
	answer := map[string]any{"expires_in": 3600, "user": map[string]string{"ticket": "canary-kept-ticket"}}
	switch r.URL.Path {
	case "/header":
		w.Header().Set("X-Subject-Token", "canary-header-token")
	case "/cookie":
		w.Header().Set("Set-Cookie", "sid=canary-cookie-token")
	case "/body":
		answer["access_token"], answer["refresh_token"] = "canary-body-token", "canary-body-refresh"
	default:
		w.WriteHeader(http.StatusForbidden)
		answer = map[string]any{"error": "invalid_request", "error_description": "quoted by the provider: " + strings.Join(sent, " and ")}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// signatureOf is what is confidential of a JWT, or a text that is none: the claims
// stand in the realm, too.
func signatureOf(text string) string { return text[strings.LastIndexByte(text, '.')+1:] }

// Nothing leaks of what comes with a token, of tokens of header fields and cookies,
// of computed tokens and of what clients sign: see TestNothingLeaks.
func TestNothingLeaksOfGrants(t *testing.T) {
	s, provider := newServer(t, definition()), &signedTo{}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := base64.StdEncoding.EncodeToString(der)
	canaries := []string{
		key, "canary-client-secret", "canary-subject-token", "canary-header-token", "canary-cookie-token",
		"canary-body-token", "canary-body-refresh", "canary-kept-ticket",
	}
	client := func(url, more string) string {
		return `{"grant":{"name":"client_credentials","token_url":"@` + url + `","client_id":"app",` + more + `},"allow_http":true,"lifetime":"1h"`
	}
	byKey := `"token_endpoint_auth_method":"private_key_jwt","algorithm":"ES256","private_key":"{secret.key}"`
	bySecret := `"token_endpoint_auth_method":"client_secret_jwt","client_secret":"{secret.secret}"`
	exchange := `{"grant":{"name":"token_exchange","token_url":"@/refuse","client_id":"app","subject_token":"{secret.subject}",
		"subject_token_type":"urn:ietf:params:oauth:token-type:jwt",` + bySecret + `},"allow_http":true}`
	kept := `{"url":"@/body","method":"POST","allow_http":true,"token_path":"access_token","refresh_token_path":"refresh_token",
		"refresh":{"url":"@/refuse","method":"POST","content_type":"form","arguments":[{"name":"refresh_token","place":"body","value":"{refresh_token}"},
		{"name":"ticket","place":"body","value":"{answer.user.ticket}"}]},
		"inject":[{"place":"url","name":"t"},{"place":"header","name":"X-T","value":"{answer.user.ticket}"},{"place":"cookie","name":"c","expr":"answer.user.ticket + path"}]}`
	var answers strings.Builder
	quoted := 0
	for id, config := range map[string]string{
		"header": client("/header", bySecret) + `,"token_header":"X-Subject-Token"}`, "cookie": client("/cookie", byKey) + `,"token_cookie":"sid"}`,
		"by_secret": client("/refuse", bySecret) + "}", "by_key": client("/refuse", byKey) + "}", "exchange": exchange, "kept": kept,
		"computed": `{"grant":{"name":"computed","expr":"jwt('HS256', secret.secret, {'exp': epoch_s() + 600})"},"lifetime":"10m"}`,
	} {
		config = strings.ReplaceAll(config, "@", server.URL)
		s.must(http.MethodPost, "/api/realm", `{"id":"`+id+`","config":`+config+`}`)
		s.must(http.MethodPost, "/api/secret", `{"realm":"`+id+`","key":"k","fields":{"key":"`+key+`","secret":"canary-client-secret","subject":"canary-subject-token"}}`)
		flush := false
		for _, target := range []string{"", "", "&flush=true", "&flush=true"} {
			a := s.get("/api/token?realm=" + id + "&key=k" + target)
			token, _ := a.document()["token"].(string)
			if canaries = append(canaries, signatureOf(token)); token == "" {
				fmt.Fprintf(&answers, "%d %v %s\n", a.status, a.header, a.body)
			}
			flush = flush || token != ""
		}
		if isRefused := id == "by_secret" || id == "by_key" || id == "exchange"; flush == isRefused {
			t.Errorf("%s: there is a token: %v", id, flush)
		}
		for _, body := range []string{`{"key":"k"}`, `{"key":"k","config":` + config + `}`} {
			a := s.json(http.MethodPost, "/api/realm/"+id+"/test", body)
			quoted += strings.Count(a.body, "quoted by the provider")
			fmt.Fprintf(&answers, "%d %v %s\n", a.status, a.header, a.body)
		}
		for _, target := range []string{"/api/realm/" + id, "/api/secret/" + id + "/k"} {
			answers.WriteString(s.must(http.MethodGet, target, "").body)
		}
	}
	if quoted < 6 {
		t.Errorf("dry runs quote the provider %d times", quoted)
	}
	provider.mu.Lock()
	canaries = append(canaries, provider.got...)
	for _, want := range []string{"canary-kept-ticket", "canary-subject-token", "canary-body-refresh"} {
		if !slices.Contains(provider.got, want) {
			t.Errorf("%s was not sent", want)
		}
	}
	provider.mu.Unlock()
	s.plant()
	answers.WriteString(s.must(http.MethodGet, "/api/realm/"+secretscan.Planted, "").body)
	slices.Sort(canaries)
	s.wantNothingShown(answers.String(), slices.DeleteFunc(slices.Compact(canaries), func(c string) bool { return c == "" }))
}
