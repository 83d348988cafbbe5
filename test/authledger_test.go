package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// ledger is what an OAuth2 server's token endpoint was asked, and what it
// answered.
type ledger struct {
	mu    sync.Mutex
	calls []tokenCall
}

// tokenCall is one request to the token endpoint.
type tokenCall struct {
	form   url.Values
	status int
	tokens issued
}

// issued is what was answered.
type issued struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresIn int    `json:"expires_in"` // seconds
	Error     string `json:"error"`
}

// keep writes the calls of a path down.
func (l *ledger) keep(path string, server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			server.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body) // the server refuses what is cut off
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		l.add(string(body), answer)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

func (l *ledger) add(body string, answer *httptest.ResponseRecorder) {
	call := tokenCall{status: answer.Code}
	call.form, _ = url.ParseQuery(body)                   // the server refuses what is none
	_ = json.Unmarshal(answer.Body.Bytes(), &call.tokens) // an error may be in other words
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, call)
}

// all are the calls in their order.
func (l *ledger) all() []tokenCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// newest is what was issued last.
func (l *ledger) newest(t *testing.T) issued {
	t.Helper()
	calls := slices.DeleteFunc(l.all(), func(c tokenCall) bool { return c.status != http.StatusOK })
	if len(calls) == 0 {
		t.Fatal("the server issued nothing")
	}
	return calls[len(calls)-1].tokens
}

// secrets is everything that was sent or issued and that nobody may read.
func (l *ledger) secrets() (values []string) {
	for _, c := range l.all() {
		for _, value := range []string{
			c.form.Get("code"), c.form.Get("code_verifier"), c.form.Get("refresh_token"), c.tokens.Access, c.tokens.Refresh,
		} {
			if value != "" {
				values = append(values, value)
			}
		}
	}
	return values
}

// chain counts the refresh tokens that were used. It is an error if the calls
// were not one code and then refresh tokens, each the one that the call before
// had issued: one was used twice, left out or refused.
func (l *ledger) chain() (refreshes int, err error) {
	last := issued{}
	for i, c := range l.all() {
		grant := "refresh_token"
		if i == 0 {
			grant = "authorization_code"
		}
		switch got := c.form.Get("grant_type"); {
		case got != grant || c.status != http.StatusOK:
			return 0, fmt.Errorf("call %d: %s was answered with %d %s", i, got, c.status, c.tokens.Error)
		case c.form.Get("refresh_token") != last.Refresh:
			return 0, fmt.Errorf("call %d: the refresh token is not the newest", i)
		case c.tokens.Access == "" || c.tokens.Refresh == "" || c.tokens.Access == last.Access || c.tokens.Refresh == last.Refresh:
			return 0, fmt.Errorf("call %d: the server did not issue two new tokens", i)
		}
		last = c.tokens
	}
	return len(l.all()) - 1, nil
}
