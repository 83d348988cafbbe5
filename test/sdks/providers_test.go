package sdks

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The tokens that the providers want.
const (
	githubToken    = "ghs_the-token-of-the-installation"
	googleToken    = "ya29.the-token-of-the-service-account"
	stripeToken    = "sk_test_the-key-at-stripe"
	openaiToken    = "sk-the-key-at-openai"
	anthropicToken = "sk-ant-the-key-at-anthropic"
	feishuToken    = "t-the-token-of-the-tenant"
	wechatToken    = "77_the-token-of-the-account"
)

// providers are the stand-ins. Each refuses a path that the real one does not have,
// and a request that has not exactly the credential that the real one wants.
type providers struct {
	github, googleAPI, stripeAPI, openai, anthropic, feishu, wechat *httptest.Server

	mu         sync.Mutex
	complaints []string
}

func newProviders(t *testing.T) *providers {
	t.Helper()
	p := &providers{}
	bearer := func(token string) func(*http.Request) string {
		return func(r *http.Request) string { return wantHeader(r, "Authorization", "Bearer "+token) }
	}
	for _, s := range []struct {
		server **httptest.Server
		name   string
		// apart are the token requests, which have their own credentials.
		apart  string
		refuse func(*http.Request) string
		routes map[string]http.HandlerFunc
	}{
		{&p.github, "GitHub", "/app/", bearer(githubToken), githubRoutes(p)},
		{&p.googleAPI, "Google", "/token", bearer(googleToken), googleRoutes(p)},
		{&p.stripeAPI, "Stripe", "", bearer(stripeToken), stripeRoutes(p)},
		{&p.openai, "OpenAI", "", bearer(openaiToken), openaiRoutes(p)},
		{&p.anthropic, "Anthropic", "", func(r *http.Request) string {
			if r.Header["Authorization"] != nil {
				return "it has a second credential"
			}
			return wantHeader(r, "X-Api-Key", anthropicToken)
		}, anthropicRoutes(p)},
		{&p.feishu, "Feishu", "/open-apis/auth/", bearer(feishuToken), feishuRoutes(p)},
		{&p.wechat, "WeChat", "/cgi-bin/stable_token", func(r *http.Request) string {
			if got := r.URL.Query()["access_token"]; !slices.Equal(got, []string{wechatToken}) || r.Header["Authorization"] != nil {
				return fmt.Sprintf("access_token is %q, Authorization %q", got, r.Header["Authorization"])
			}
			return ""
		}, wechatRoutes(p)},
	} {
		*s.server = p.serve(s.name, s.apart, s.refuse, s.routes)
		t.Cleanup((*s.server).Close)
	}
	return p
}

// serve is one stand-in.
func (p *providers) serve(name, apart string, refuse func(*http.Request) string, routes map[string]http.HandlerFunc) *httptest.Server {
	mux := http.NewServeMux()
	for route, handler := range routes {
		mux.HandleFunc(route, handler)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.complain("%s has no %s %s", name, r.Method, r.URL.Path)
		http.Error(w, `{"message": "Not Found"}`, http.StatusNotFound)
	})
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasKey(r) {
			p.complain("%s got the client's key with %s %s", name, r.Method, r.URL.Path)
		}
		if apart == "" || !strings.HasPrefix(r.URL.Path, apart) {
			if why := refuse(r); why != "" {
				p.complain("%s refuses %s %s: %s", name, r.Method, r.URL.Path, why)
				http.Error(w, `{"message": "Bad credentials"}`, http.StatusUnauthorized)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
}

// wantHeader says what is wrong with a header that has to have one value.
func wantHeader(r *http.Request, name, want string) string {
	if got := r.Header[name]; !slices.Equal(got, []string{want}) {
		return fmt.Sprintf("%s is %q", name, got)
	}
	return ""
}

// hasKey reports whether the client's key came along.
func hasKey(r *http.Request) bool {
	if strings.Contains(r.URL.String(), key) {
		return true
	}
	for _, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), key) {
			return true
		}
	}
	return false
}

func (p *providers) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
}

// taken are the complaints since the last call.
func (p *providers) taken() (complaints []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	complaints, p.complaints = p.complaints, nil
	return complaints
}

func (p *providers) wantNoComplaint(t *testing.T) {
	t.Helper()
	for _, complaint := range p.taken() {
		t.Error(complaint)
	}
}

// wantBody complains about another body than the one that a program sends.
func (p *providers) wantBody(r *http.Request, want string) {
	if got, err := io.ReadAll(r.Body); err != nil || string(got) != want {
		p.complain("%s %s: the body has %d bytes, want %d: %v", r.Method, r.URL.Path, len(got), len(want), err)
	}
}

func answer(w http.ResponseWriter, body any) { answerWith(w, http.StatusOK, body) }

func answerWith(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // maps of strings and numbers
}

// events answers server-sent events.
func events(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range events {
		_, _ = fmt.Fprintf(w, "%s\n\n", event)
	}
}

type object = map[string]any
