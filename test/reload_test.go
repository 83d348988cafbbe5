package test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// reloadable is a node whose configuration can be loaded again.
type reloadable struct {
	*node
	load   string // the URL
	config []byte
}

// prepareReloadable is a node that is not started yet.
func prepareReloadable(t *testing.T, c config, env ...string) *reloadable {
	t.Helper()
	r := &reloadable{}
	control := "127.0.0.1:" + strconv.Itoa(testserver.FreePort(t))
	r.load = "http://" + control + "/load"
	r.node = prepare(t, func(proxyPort, adminPort int) string {
		text := strings.Replace(c.caddyfile(proxyPort, adminPort), "admin off", "admin "+control, 1)
		r.config = []byte(text)
		return text
	}, append(env, frugal...)...)
	return r
}

// reload loads the configuration again, as if it had changed.
func (r *reloadable) reload() error {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.load, bytes.NewReader(r.config))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", resp.StatusCode, text)
	}
	return nil
}

// started is how many configurations the node has started so far.
func (r *reloadable) started() int { return bytes.Count(r.log(), []byte(`"server running"`)) / 2 }

// A node that is reloaded every moment renews each token once, and no client
// sees it. RELOADS is how often.
func TestReloadedWhileTokensEnd(t *testing.T) {
	reloads := figure(t, "RELOADS", 50)
	p := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: shortLife},
		Refresh:     fakeprovider.RefreshRule{Semantics: fakeprovider.Family},
	})
	base := p.Start(t)
	s := mariaDBAndRedis(t)
	r := prepareReloadable(t, config{tokens: s.config + "allow_private 127.0.0.1\n" + shortRefresh, proxy: gateway}, s.env...)
	r.start()
	r.post("/api/realm", rotationRealm("rt", base, fakeprovider.Family))
	f := &fleet{provider: p, members: []member{{node: r.node}}}
	f.authorize()
	f.eventuallyServes(t, rotationAPI)
	stood := watchPauses(t)
	load := startInsistingDemand(t, r.proxy+rotationAPI+"?1", r.proxy+rotationAPI+"?2")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	// At least one token has to end meanwhile.
	for i := 0; i < reloads || len(p.Spends()) < 3; i++ {
		<-tick.C
		if err := r.reload(); err != nil {
			t.Fatal(err)
		}
	}
	calls := load.wantAllServed(t)
	if stale := p.StaleCalls(shortLife / 2); len(p.Reuses()) != 0 || len(stale) != 0 {
		t.Errorf("%d refresh tokens were sent twice, calls with a dead token: %+v", len(p.Reuses()), stale)
	}
	stood.wantApart(t, "app", p.Events("app"))
	t.Logf("reloaded every 50 ms: %d expiries, %d fetches, %d calls, %d failed", len(p.Spends())-1, p.Fetches()-1, calls, load.failed)
}

// A node that is told to stop, or reloaded, while the provider has decided and
// not answered, waits for the answer and saves it. STOPS is how often.
func TestStoppedInTheMiddleOfARefresh(t *testing.T) {
	stops := figure(t, "STOPS", 10)
	for name, on := range rotationStores {
		for _, how := range []string{"SIGTERM", "reload"} {
			t.Run(name+" "+how, func(t *testing.T) {
				p := fakeprovider.New(fakeprovider.Options{
					Credentials: map[string]string{"app": "app-secret-01"},
					Refresh:     fakeprovider.RefreshRule{Semantics: fakeprovider.Family},
				})
				base := p.Start(t)
				s := on(t)
				r := prepareReloadable(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway}, s.env...)
				r.start()
				realm := rotationRealm("rt", base, fakeprovider.Family)
				delete(realm["config"].(map[string]any), "limits")
				r.post("/api/realm", realm)
				f := &fleet{provider: p, members: []member{{node: r.node}}}
				f.authorize()
				f.eventuallyServes(t, rotationAPI)
				for range (stops + 3) / 4 {
					r.stopInTheMiddle(t, p, how)
				}
				if n := len(p.Reuses()); n != 0 {
					t.Errorf("%d refresh tokens were sent twice", n)
				}
				t.Logf("%s in the middle of a refresh: %d times, 0 lost", how, len(p.Spends())-1)
			})
		}
	}
}

// stopInTheMiddle lets a refresh wait for its answer, ends the node or its
// configuration, and checks that the answer was kept.
func (r *reloadable) stopInTheMiddle(t *testing.T, p *fakeprovider.Provider, how string) {
	t.Helper()
	release, issued := p.HoldAnswers(1), len(p.Issued())
	defer release()
	// The client leaves: a request that is open would keep the node alive.
	ctx, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() { _, _ = call(ctx, http.MethodGet, r.admin+"/api/token?realm=rt&key=main&flush=true", nil) })
	eventually(t, "the provider commits", func() bool { return len(p.Issued()) > issued })
	leave()
	asking.Wait()
	if how == "reload" {
		loaded, running := make(chan error, 1), r.started()
		go func() { loaded <- r.reload() }()
		eventually(t, "the new configuration serves", func() bool { return r.started() > running })
		release()
		if err := <-loaded; err != nil {
			t.Error(err)
		}
	} else {
		r.signal(syscall.SIGTERM)
		eventually(t, "the node stops serving", func() bool {
			status, _ := r.try(r.proxy + rotationAPI)
			return status == 0
		})
		release()
		r.waitEnd()
		r.start()
	}
	eventually(t, "the token that came in between is there", func() bool { return r.token("rt", "main").Token == p.Newest() })
}
