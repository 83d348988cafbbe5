package test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// calledTrial is a kill that is under way: an account with a provider of its
// own, whose calls come by a front that stands before both nodes.
type calledTrial struct {
	calledKill
	id            string
	killed, other member
	dead          <-chan struct{} // closed when the killed node is gone
	provider      *fakeprovider.Provider
	waiters       []chan calledWaiter

	mu    sync.Mutex
	calls []string // what the provider called, without the front
}

// ServeHTTP is the front: the first call goes where the kill wants it, all
// others to the node that lives.
func (c *calledTrial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.calls = append(c.calls, r.URL.RequestURI())
	first := len(c.calls) == 1
	c.mu.Unlock()
	to := c.other
	switch {
	case !first:
	case c.asking && !c.elsewhere: // it is dead, or as good as that
		w.WriteHeader(http.StatusBadGateway)
		return
	case c.failpoint == "callback_awaited":
		<-c.dead
	case !c.asking:
		to = c.killed
	}
	if first && c.failpoint == "" {
		defer c.provider.HoldAnswers(1)()
	}
	status, _ := call(r.Context(), http.MethodGet, to.proxy+r.URL.RequestURI(), nil)
	if status == 0 {
		status = http.StatusBadGateway
	}
	w.WriteHeader(status)
}

func (c *calledTrial) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// kill lets the authorization come to its point. Those who wait at the other
// node have begun before, if it is theirs.
func (c *calledTrial) kill(t *testing.T) (at time.Time) {
	t.Helper()
	var asking sync.WaitGroup
	if c.asks {
		asking.Go(func() { c.killed.try(c.killed.admin + c.ask()) })
	} else {
		c.wait(t.Context())
	}
	if c.failpoint == "" {
		eventually(t, "the provider decides", func() bool { return len(c.provider.Issued()) > 0 })
		c.killed.kill()
	}
	c.killed.waitEnd()
	asking.Wait()
	at = time.Now()
	if c.asks {
		c.wait(t.Context())
	}
	return at
}

func (c *calledTrial) ask() string { return "/api/token?realm=" + c.id + "&key=main" }

// judge waits until all who wait are served, and lets the ledger say what was
// sent.
func (c *calledTrial) judge(t *testing.T, died time.Time) (took time.Duration) {
	t.Helper()
	limit := time.After(time.Until(died.Add(c.bound() + patience)))
	for i, waiter := range c.waiters {
		select {
		case w := <-waiter:
			if w.err != nil || !c.provider.Live(w.token) || c.kept && w.token != c.provider.Issued()[0] {
				t.Errorf("waiter %d has token %d after %v: %v", i, c.provider.Rank(w.token), w.told, w.err)
			}
			took = max(took, w.at.Sub(died))
		case <-limit:
			t.Fatalf("waiter %d is not served %v after the kill: %d codes", i, c.bound()+patience, len(c.provider.Codes()))
		}
	}
	if c.kept && len(c.provider.Codes()) != 1 {
		t.Errorf("%d codes, and the first one's token was saved", len(c.provider.Codes()))
	}
	c.replay(t)
	for code, n := range c.sent() {
		if n > 1 {
			t.Errorf("a code was sent %d times: %.4s...", n, code)
		}
	}
	return took
}

// replay makes every call of the provider twice more. The state that was taken
// is gone at once, whatever became of its node, and any other after one call.
func (c *calledTrial) replay(t *testing.T) {
	t.Helper()
	for i, uri := range c.called() {
		first, _ := c.other.try(c.other.proxy + uri)
		second, _ := c.other.try(c.other.proxy + uri)
		lost := i == 0 && c.asking && !c.elsewhere
		if second != http.StatusBadRequest || first != http.StatusBadRequest && !lost {
			t.Errorf("call %d comes again: %d, then %d", i+1, first, second)
		}
	}
}

// sent is how often each code came to the token endpoint.
func (c *calledTrial) sent() map[string]int {
	times := map[string]int{}
	for _, e := range c.provider.Events() {
		if e.Kind == fakeprovider.Asked && e.Code != "" {
			times[e.Code]++
		}
	}
	return times
}
