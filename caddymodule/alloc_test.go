//go:build !race

package caddymodule

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestAllocationsBesideReverseProxy is P1 through the whole of Caddy: what a
// request costs more than with plain reverse_proxy and the same connection
// settings. It is not built with the race detector, under which sync.Pool
// forgets at random.
func TestAllocationsBesideReverseProxy(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ok":true}`)
	}))
	defer upstream.Close()
	i := newInstance(t)
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(allocationConfig(i, upstream.URL)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		t.Fatal(err)
	}
	keep := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	defer keep.CloseIdleConnections()
	const plain, query, header, wide = "/plain", "/query", "/header", "/header-wide"
	least := map[string]float64{plain: math.Inf(1), query: math.Inf(1), header: math.Inf(1), wide: math.Inf(1), "/plain-wide": math.Inf(1)}
	for range 5 { // noise only adds: the least is the truth
		for path, before := range least {
			least[path] = min(before, allocations(t, keep, "http://"+i.host+path))
		}
	}
	for _, c := range []struct {
		path, base string
		most       float64
	}{{query, plain, 3}, {header, plain, 3}, {wide, "/plain-wide", 5}} {
		t.Logf("%s: %.2f more than %.2f", c.path, least[c.path]-least[c.base], least[c.base])
		if more := least[c.path] - least[c.base]; more > c.most+0.3 {
			t.Errorf("%s: %.2f allocations more than reverse_proxy (%.2f), want at most %v", c.path, more, least[c.base], c.most)
		}
	}
}

// allocations counts those of one request, in client, proxy and upstream.
func allocations(t *testing.T, c *http.Client, url string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(url, "-wide") {
		for n := range 12 {
			req.Header.Set(fmt.Sprintf("X-Field-%d", n), "value")
		}
	}
	send := func() {
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	const warm, counted = 50, 400
	for range warm {
		send()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range counted {
		send()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / counted
}

func allocationConfig(i *instance, upstream string) string {
	realm := `
		realm %s {
			api ` + upstream + `
			grant static
			inject %s
			secret main {
				token 0123456789abcdef0123456789abcdef
			}
		}`
	proxy := `
	handle %s* {
		token_proxy {
			realm %s
			key main
		}
	}`
	return `{
	admin off
	auto_https off
	storage file_system ` + i.dir + `/caddy
	log {
		level ERROR
	}
	tokens {` + fmt.Sprintf(realm, "q", "query access_token") + fmt.Sprintf(realm, "h", `header Authorization "Bearer {token}"`) + `
	}
}
http://` + i.host + ` {
	handle /plain* {
		reverse_proxy ` + upstream + ` {
			transport http {
				keepalive_idle_conns 1024
				keepalive_idle_conns_per_host 512
			}
		}
	}` + fmt.Sprintf(proxy, "/query", "q") + fmt.Sprintf(proxy, "/header", "h") + `
}
`
}
