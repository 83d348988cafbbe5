package test

import (
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// 300 callers meet a cold cache: one fetch, and everybody is served. The
// provider does not answer before all of them have sent their request.
func TestColdCallersShareOneFetch(t *testing.T) {
	const callers = 300
	p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"}})
	n := launch(t, config{tokens: "allow_private 127.0.0.1", proxy: gateway}.caddyfile)
	n.keepsSecret(p, "app-secret-01")
	n.post("/api/realm", wechatRealm("wx", p.Start(t)))
	n.post("/api/secret", map[string]any{"realm": "wx", "key": "main", "key_1": "app", "key_2": "app-secret-01"})

	release := p.Hold()
	defer release()
	var sent atomic.Int32
	var answered sync.WaitGroup
	statuses := make([]int, callers)
	for i := range callers {
		answered.Go(func() {
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent.Add(1) }}
			ctx := httptrace.WithClientTrace(t.Context(), trace)
			statuses[i], _ = call(ctx, http.MethodGet, n.proxy+"/any/wx/main/cgi-bin/menu/get", nil)
		})
	}
	eventually(t, "everybody asks", func() bool { return sent.Load() == callers && p.Fetches() > 0 })
	release()
	answered.Wait()
	for i, status := range statuses {
		if status != http.StatusOK {
			t.Errorf("caller %d got %d", i, status)
		}
	}
	if p.Fetches() != 1 || p.Calls() != callers || len(p.DeadCalls()) != 0 {
		t.Errorf("ledger: %d fetches, %d calls, %d dead calls", p.Fetches(), p.Calls(), len(p.DeadCalls()))
	}
}
