package fakeprovider_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestLedgerTellsTheStoryInOrder(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat, Mint: func(n int64) string { return fmt.Sprint("t", n) }})
	b.get(wechatAsk)
	b.clock.advance(time.Hour)
	b.get(wechatAsk)
	b.get("/cgi-bin/menu/get?access_token=t2")
	b.get("/cgi-bin/menu/get?access_token=t2&access_token=t1")
	b.get("/cgi-bin/token?grant_type=client_credential&appid=app&secret=x")
	var story []string
	for i, e := range b.Events() {
		if e.Seq != int64(i)+1 {
			t.Errorf("event %d has number %d", i, e.Seq)
		}
		story = append(story, fmt.Sprint(e.Kind, " ", e.Token, " ", e.Reason))
	}
	want := []string{
		"asked  ", "issued t1 ",
		"asked  ", "revoked t1 overtaken", "issued t2 ",
		"called_dead t2 ambiguous",
		"asked  ", "refused  wrong_secret",
	}
	if !slices.Equal(story, want) {
		t.Errorf("got  %q\nwant %q", story, want)
	}
	if b.Calls() != 1 || b.CallsWith("t2") != 1 || b.CallsWith("t1") != 0 {
		t.Errorf("%d calls, %d with t2, %d with t1", b.Calls(), b.CallsWith("t2"), b.CallsWith("t1"))
	}
	if b.Newest("app") != "t2" || b.Newest("other") != "" || b.Rank("t1") != 1 || b.Rank("t2") != 2 || b.Rank("t3") != 0 {
		t.Error("the order of issue is wrong")
	}
}

func TestRevocationInTheFutureIsWrittenWithItsBeginning(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	b.get(wechatAsk)
	b.get(wechatAsk)
	for _, e := range b.Events() {
		if e.Kind == fakeprovider.Revoked && !e.From.Equal(b.clock.now().Add(5*time.Minute)) {
			t.Errorf("revoked from %v", e.From)
		}
	}
}

func TestRevokeEndsATokenEarly(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.Feishu})
	ask := func() string {
		return b.post("/open-apis/auth/v3/tenant_access_token/internal",
			map[string]any{"app_id": "app", "app_secret": "s3cret"}).text("tenant_access_token")
	}
	token := ask()
	b.Revoke(token)
	b.Revoke("never issued")
	b.wantLive(token, false)
	if ask() == token {
		t.Error("a revoked token was given again")
	}
}

func TestAPIIsServedOnlyWithALiveToken(t *testing.T) {
	b := newBench(t, fakeprovider.Options{
		API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	})
	if a := b.bearer("/x", "never"); a.status != http.StatusUnauthorized {
		t.Errorf("HTTP %d", a.status)
	}
	if a := b.bearer("/x", b.fetch().text("access_token")); a.status != http.StatusTeapot {
		t.Errorf("HTTP %d", a.status)
	}
}

func TestConcurrentFetchesLeaveOneLiveToken(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat, Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate}})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			token := b.get(wechatAsk).text("access_token")
			b.get("/cgi-bin/menu/get?access_token=" + token)
		})
	}
	wg.Wait()
	lives := 0
	for _, token := range b.Issued("app") {
		if b.Live(token) {
			lives++
		}
	}
	if lives != 1 || !b.Live(b.Newest()) || b.Fetches("app") != 50 || b.Calls()+len(b.DeadCalls()) != 50 {
		t.Errorf("%d live, %d fetches, %d calls, %d dead calls", lives, b.Fetches("app"), b.Calls(), len(b.DeadCalls()))
	}
}
