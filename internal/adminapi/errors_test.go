package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The statuses and texts that clients of the earlier service compare.
func TestErrorsInTheEarlierWords(t *testing.T) {
	for _, tt := range []struct {
		request string
		code    realm.Code
		status  int
		detail  string
	}{
		{"GET /api/realm/r", realm.CodeRealmNotFound, 404, "realm 不存在"},
		{"DELETE /api/realm/r", realm.CodeRealmNotFound, 404, "realm 不存在"},
		{"DELETE /api/realm/r", realm.CodeConflict, 599, "own words"},
		{"POST /api/realm/r/test", realm.CodeRealmNotFound, 404, "realm 不存在"},
		{"POST /api/realm/r/test", realm.CodeSecretNotFound, 404, "secret 不存在"},
		{"POST /api/realm/r/test", realm.CodeBudgetSpent, 429, "own words"},
		{"POST /api/realm", realm.CodeReadOnly, 599, "own words"},
		{"POST /api/secret", realm.CodeRealmNotFound, 400, "realm 不存在"},
		{"POST /api/secret", realm.CodeReadOnly, 599, "own words"},
		{"GET /api/secret/r/k", realm.CodeSecretNotFound, 404, "secret 不存在"},
		{"GET /api/secret/r/k", realm.CodeRealmNotFound, 404, "secret 不存在"},
		{"DELETE /api/secret/r/k", realm.CodeSecretNotFound, 404, "secret 不存在"},
		{"GET /api/token?realm=r&key=k", realm.CodeRealmNotFound, 400, "该 key 指定的 secret 不存在"},
		{"GET /api/token?realm=r&key=k", realm.CodeSecretNotFound, 400, "该 key 指定的 secret 不存在"},
		{"GET /api/token?realm=r&key=k", realm.CodeFixedToken, 417, "固定 token 模式不支持上游服务商"},
		{"GET /api/token?realm=r&key=k&flush=true", realm.CodeFixedToken, 417, "固定 token 模式不支持上游服务商"},
		{"GET /api/token?realm=r&key=k", realm.CodeTokenUnavailable, 503, "无法从上游服务获取 token"},
		{"GET /api/token?realm=r&key=k", realm.CodeReauthRequired, 503, "无法从上游服务获取 token"},
		{"GET /api/token?realm=r&key=k", realm.CodeBudgetSpent, 503, "无法从上游服务获取 token"},
		{"GET /api/token?realm=r&key=k", realm.CodeNotActive, 599, "own words"},
		{"GET /api/token?realm=r&key=k&flush=true", realm.CodeTokenUnavailable, 503, "无法从上游服务获取 token"},
		{"GET /api/token?realm=r&key=k&flush=true", realm.CodeBudgetSpent, 429, "own words"},
		{"GET /api/token?realm=r&key=k", realm.CodeUnavailable, 599, "own words"},
		{"GET /api/secret", realm.CodeUnavailable, 599, "own words"},
	} {
		t.Run(tt.request+" "+string(tt.code), func(t *testing.T) {
			p, _ := newPuppet(t)
			p.err = fmt.Errorf("wrapped: %w", &realm.Error{
				Code: tt.code, Status: 599, Detail: "own words",
				Class: "hopeless", ProviderCode: "40013", ProviderMessage: "invalid appid", Err: realm.Fieldf("x", "cause"),
			})
			method, target, _ := strings.Cut(tt.request, " ")
			a := bare(t, p, method, target)
			doc := a.refused(tt.status, string(tt.code), tt.detail)
			if doc["provider_code"] != "40013" || doc["class"] != "hopeless" {
				t.Errorf("the provider's code and the class are missing: %s", a.body)
			}
			if said, forApps := doc["provider_message"], strings.HasPrefix(target, "/api/token"); forApps && said != nil || !forApps && said != "invalid appid" {
				t.Errorf("the provider's words are %v: %s", said, a.body)
			}
			if tt.detail != "own words" && doc["reason"] != "own words" {
				t.Errorf("the reason is missing: %s", a.body)
			}
			if tt.status == http.StatusServiceUnavailable && a.retryAfter() != 1 {
				t.Errorf("Retry-After: %d", a.retryAfter())
			}
		})
	}
}

func TestRetryAfterIsTheBrokers(t *testing.T) {
	p, c := newPuppet(t)
	p.err = &realm.Error{Code: realm.CodeTokenUnavailable, Status: 503, RetryAfter: 1500 * time.Millisecond}
	if got := c.get("/api/token?realm=r&key=k").retryAfter(); got != 2 {
		t.Errorf("Retry-After: %d", got)
	}
}

func TestFieldErrors(t *testing.T) {
	p, c := newPuppet(t)
	p.err = fmt.Errorf("saving: %w", realm.Fieldf("config.arguments[1].place", "is unknown"))
	c.json(http.MethodPost, "/api/realm", `{"id":"a"}`).wrong("config.arguments[1].place")
}

// An error that has no meaning for the caller stays inside: the log has it,
// without the URL that may hold a credential.
func TestInternalErrors(t *testing.T) {
	const hidden = "canary-8f2c"
	for _, tt := range []struct {
		name   string
		err    error
		status int
		code   string
		logged string
	}{
		{"unknown", errors.New("disk on fire"), 500, "internal", "disk on fire"},
		{"internal", &realm.Error{Code: realm.CodeInternal, Status: 500, Err: errors.New("disk on fire")}, 500, "internal", "disk on fire"},
		{"store", &realm.Error{Code: realm.CodeUnavailable, Status: 503, Err: errors.New("disk on fire")}, 503, "store_unavailable", "disk on fire"},
		{
			"URL", &url.Error{Op: "Get", URL: "https://x/?secret=" + hidden, Err: errors.New("connection refused")},
			500, "internal", "connection refused",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := newPuppet(t)
			p.err = tt.err
			core, logs := observer.New(zap.DebugLevel)
			c := caller{t, newLocal(p, p, Options{Log: zap.New(core)})}
			a := c.get("/api/realm/r")
			a.refused(tt.status, tt.code, "")
			if strings.Contains(a.body, "fire") || strings.Contains(a.body, hidden) {
				t.Errorf("shown: %s", a.body)
			}
			lines := logs.All()
			if len(lines) != 1 || lines[0].Level != zap.ErrorLevel {
				t.Fatalf("log: %v", lines)
			}
			if text := fmt.Sprint(lines[0].ContextMap()); !strings.Contains(text, tt.logged) || strings.Contains(text, hidden) ||
				!strings.Contains(text, "/api/realm/{id}") {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// What a caller does wrong is no line of the log, nor is a caller that left.
func TestQuietErrors(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p, _ := newPuppet(t)
	c := caller{t, newLocal(p, p, Options{Log: zap.New(core)})}
	p.err = &realm.Error{Code: realm.CodeRealmNotFound, Status: 404}
	c.get("/api/realm/r").refused(404, "realm_not_found", "realm 不存在")
	c.get("/nothing").refused(404, "not_found", "")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.err = fmt.Errorf("waiting: %w", context.Canceled)
	c.h.ServeHTTP(discard{}, mustRequest(t, ctx, "/api/realm/r"))
	if lines := logs.All(); len(lines) != 0 {
		t.Errorf("log: %v", lines)
	}
}

// A panic ends in a problem document and one line that has its place, not its
// value.
func TestPanics(t *testing.T) {
	const hidden = "canary-51d0"
	for _, value := range []any{hidden, errors.New(hidden), struct{ s string }{hidden}} {
		core, logs := observer.New(zap.DebugLevel)
		p, _ := newPuppet(t)
		p.panics = value
		c := caller{t, newLocal(p, p, Options{Log: zap.New(core)})}
		a := c.get("/api/token?realm=r&key=k")
		a.refused(500, "internal", "")
		lines := logs.All()
		if len(lines) != 1 {
			t.Fatalf("log: %v", lines)
		}
		text := fmt.Sprint(lines[0].Message, lines[0].ContextMap())
		if strings.Contains(text+a.body, hidden) || !strings.Contains(text, "puppet") || !strings.Contains(text, fmt.Sprintf("%T", value)) {
			t.Errorf("log: %s", text)
		}
	}
}

// net/http's own way of giving up on an answer is left alone.
func TestAbort(t *testing.T) {
	p, c := newPuppet(t)
	p.panics = http.ErrAbortHandler
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // it is the value itself that net/http looks for
			t.Errorf("panic: %v", v)
		}
	}()
	c.get("/api/status")
}

// bare sends a request whose answer is not held against the description: the
// status that the broker gave is in none.
func bare(t *testing.T, p *puppet, method, target string) answer {
	t.Helper()
	body := map[string]string{
		"/api/realm": `{"id":"r"}`, "/api/realm/r/test": `{"key":"k"}`, "/api/secret": `{"realm":"r","key":"k"}`,
	}[target]
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	newLocal(p, p, Options{}).ServeHTTP(w, r)
	return answer{t, w.Code, w.Header(), w.Body.String()}
}
