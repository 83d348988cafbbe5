package fakeprovider_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func (b *bench) fetch() answer {
	b.t.Helper()
	return b.form("grant_type", "client_credentials", "client_id", "app", "client_secret", "s3cret")
}

func TestRefuseAllWithRetryAfter(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	for refusal, status := range map[fakeprovider.Refusal]int{
		fakeprovider.QuotaSpent: http.StatusTooManyRequests,
		fakeprovider.Busy:       http.StatusServiceUnavailable,
	} {
		b.Set(fakeprovider.Faults{Refuse: refusal, RetryAfter: 6500 * time.Millisecond})
		a := b.fetch()
		if a.status != status || a.header.Get("Retry-After") != "7" || a.json != nil {
			t.Errorf("%s: HTTP %d, Retry-After %q, %s", refusal, a.status, a.header.Get("Retry-After"), a.raw)
		}
	}
	b.Set(fakeprovider.Faults{})
	if a := b.fetch(); a.status != http.StatusOK {
		t.Errorf("without faults: HTTP %d", a.status)
	}
	if b.Fetches("app") != 3 || b.Refusals() != 2 || len(b.Issued("app")) != 1 {
		t.Errorf("ledger: %d asked, %d refused, %d issued", b.Fetches("app"), b.Refusals(), len(b.Issued("app")))
	}
}

func TestEveryStyleHasWordsForEveryRefusal(t *testing.T) {
	refusals := []fakeprovider.Refusal{
		fakeprovider.BadBody, fakeprovider.MissingApp, fakeprovider.MissingSecret, fakeprovider.NeedsGET,
		fakeprovider.NeedsPOST, fakeprovider.WrongGrant, fakeprovider.UnknownApp, fakeprovider.WrongSecret,
		fakeprovider.QuotaSpent, fakeprovider.Busy, fakeprovider.BadRefresh,
	}
	for style, ask := range map[fakeprovider.Style]func(*bench) answer{
		fakeprovider.WeChat:      func(b *bench) answer { return b.get(wechatAsk) },
		fakeprovider.WeCom:       func(b *bench) answer { return b.get("/cgi-bin/gettoken?corpid=app&corpsecret=s3cret") },
		fakeprovider.DingTalkOld: func(b *bench) answer { return b.get("/gettoken?appkey=app&appsecret=s3cret") },
		fakeprovider.DingTalk: func(b *bench) answer {
			return b.post("/v1.0/oauth2/accessToken", map[string]any{"appKey": "app", "appSecret": "s3cret"})
		},
		fakeprovider.Feishu: func(b *bench) answer {
			return b.post("/open-apis/auth/v3/tenant_access_token/internal", map[string]any{"app_id": "app", "app_secret": "s3cret"})
		},
		fakeprovider.Douyin: func(b *bench) answer { return b.post(douyinPath, douyinAsk()).data() },
		fakeprovider.OAuth:  (*bench).fetch,
	} {
		b := newBench(t, fakeprovider.Options{Style: style})
		for _, refusal := range refusals {
			b.Set(fakeprovider.Faults{Refuse: refusal})
			a := ask(b)
			if code, has := a.json["errcode"]; a.status < 300 && a.number("code") <= 0 && a.number("error_code") <= 0 && (!has || code == float64(0)) {
				t.Errorf("%s: %s is answered with HTTP %d %s", style, refusal, a.status, a.raw)
			}
		}
		b.Set(fakeprovider.Faults{})
		if a := ask(b); a.status != http.StatusOK || len(b.Issued("app")) != 1 {
			t.Errorf("%s: not granted without faults: HTTP %d %s", style, a.status, a.raw)
		}
	}
}

func TestQuotaTellsWhenItIsFree(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Quotas: []fakeprovider.Quota{{Calls: 2, Per: time.Minute}}})
	b.fetch()
	b.clock.advance(20 * time.Second)
	b.fetch()
	if a := b.fetch(); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "40" {
		t.Errorf("HTTP %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	b.clock.advance(40 * time.Second)
	if a := b.fetch(); a.status != http.StatusOK {
		t.Errorf("the window has slid: HTTP %d", a.status)
	}
	if a := b.fetch(); a.header.Get("Retry-After") != "20" {
		t.Errorf("Retry-After %q, want 20", a.header.Get("Retry-After"))
	}
}

func TestRefuseTokens(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	token := b.fetch().text("access_token")
	b.Set(fakeprovider.Faults{RefuseTokens: true})
	if a := b.bearer("/me", token); a.status != http.StatusUnauthorized {
		t.Errorf("HTTP %d", a.status)
	}
	if b.Calls() != 0 || len(b.DeadCalls()) != 1 {
		t.Errorf("ledger: %d calls, %d dead", b.Calls(), len(b.DeadCalls()))
	}
}

// A caller that gives up while the provider still thinks costs nothing; one
// that gives up after the provider has committed has lost a token.
func TestLatencyIsBeforeAndLingerAfterTheCommitment(t *testing.T) {
	for name, c := range map[string]struct {
		faults fakeprovider.Faults
		issued int
	}{
		"latency": {fakeprovider.Faults{Latency: time.Minute}, 0},
		"linger":  {fakeprovider.Faults{Linger: time.Minute}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"app": "s3cret"}})
			p.Set(c.faults)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/oauth2/token",
				strings.NewReader("grant_type=client_credentials&client_id=app&client_secret=s3cret"))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			p.ServeHTTP(w, req)
			if w.Body.Len() != 0 || len(p.Issued()) != c.issued || p.Fetches() != 1 {
				t.Errorf("%s: answered %q, issued %d, want %d", name, w.Body, len(p.Issued()), c.issued)
			}
		})
	}
}

func TestHoldCountsWhoIsWaiting(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	release := b.Hold()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { b.fetch() })
	}
	for deadline := time.Now().Add(time.Minute); b.Fetches() < 5; {
		if time.Now().After(deadline) {
			t.Fatalf("only %d requests arrived", b.Fetches())
		}
		runtime.Gosched()
	}
	if n := len(b.Issued()); n != 0 || b.Peak() != 5 {
		t.Errorf("%d issued while held, peak %d", n, b.Peak())
	}
	release()
	release() // a second time does nothing
	wg.Wait()
	if n := len(b.Issued()); n != 5 {
		t.Errorf("%d issued", n)
	}
}

func TestHoldAnswersLetsTheProviderDecide(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	release := b.HoldAnswers(1)
	late := make(chan string)
	go func() { late <- b.fetch().text("access_token") }()
	for deadline := time.Now().Add(time.Minute); len(b.Issued()) < 1; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was issued")
		}
		runtime.Gosched()
	}
	first := b.Newest()
	if second := b.fetch().text("access_token"); second == "" || second != b.Newest() {
		t.Error("the second answer is kept back too")
	}
	select {
	case <-late:
		t.Error("the answer was not kept back")
	default:
	}
	release()
	if token := <-late; token != first {
		t.Error("the late answer holds another token")
	}
}

func TestMalformedAnswersHoldWhatTheySay(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	seen := map[string]bool{}
	for _, m := range fakeprovider.Malformed() {
		if seen[m.Name] {
			t.Errorf("%q is there twice", m.Name)
		}
		seen[m.Name] = true
		before := len(b.Issued())
		b.Set(fakeprovider.Faults{Answers: []string{m.Name}})
		body, err := b.readAtMost(2 << 20)
		if len(b.Issued()) != before+1 {
			t.Errorf("%q: the token is not in the ledger", m.Name)
		}
		if m.Usable && (err != nil || (!strings.Contains(body, b.Newest()) && m.Name != "gzip")) {
			t.Errorf("%q: the token is not in the answer: %v %.80q", m.Name, err, body)
		}
		if a := b.fetch(); a.text("access_token") == "" {
			t.Errorf("%q: the fault stays: %s", m.Name, a.raw)
		}
	}
	for _, name := range []string{"hang up", "half", "reset"} {
		b.Set(fakeprovider.Faults{Answer: name})
		if _, err := b.readAtMost(1 << 20); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}

// readAtMost fetches a token without following, decoding or believing
// anything.
func (b *bench) readAtMost(limit int64) (string, error) {
	b.t.Helper()
	req := b.formRequest("grant_type", "client_credentials", "client_id", "app", "client_secret", "s3cret")
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	return string(body), err
}

func TestBombIsBig(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	for _, name := range []string{"gzip bomb", "gigabyte"} {
		b.Set(fakeprovider.Faults{Answer: name})
		req := b.formRequest("grant_type", "client_credentials", "client_id", "app", "client_secret", "s3cret")
		resp, err := http.DefaultTransport.RoundTrip(req) // decodes gzip by itself
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 32<<20))
		if n != 32<<20 || (err != nil && !errors.Is(err, io.EOF)) {
			t.Errorf("%s: only %d bytes, %v", name, n, err)
		}
		_ = resp.Body.Close()
	}
}
