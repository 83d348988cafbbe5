//go:build !race

package caddymodule

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// TestAllocationsBesideReverseProxy counts through the whole of Caddy what a
// request costs more than with plain reverse_proxy and the same connection
// settings. Client and upstream are loops over buffers, which allocate
// nothing, so that only the proxy is counted. It is not built with the race
// detector, under which sync.Pool forgets at random.
func TestAllocationsBesideReverseProxy(t *testing.T) {
	i := newInstance(t)
	upstream := "http://" + cannedUpstream(t)
	key, _ := access.NewKey()
	t.Setenv("TOKENS_TEST_KEY", key.Reveal())
	authorization := "Authorization: Bearer " + key.Reveal() + "\r\n"
	// By the short way.
	compareAllocations(t, i, allocationConfig(i, upstream, "", ""), []allocationCase{
		{"query", "/query", "", -94},
		{"query behind a query", "/query?a=1&b=2", "", -94},
		{"header", "/header", "", -97},
		{"header, many fields", "/header", strings.Repeat("X-Field: value\r\n", 3) + "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\n", -111},
		{"nobody's token", "/query", "Authorization: Bearer " + strings.Repeat("x", len(key)) + "\r\n", -97},
	})
	compareAllocations(t, i, allocationConfig(i, upstream, "shortcut off", ""), []allocationCase{
		{"query, behind reverse_proxy", "/query", "", -1},
		{"header, behind reverse_proxy", "/header", "", -5},
	})
	// A client's request can be ended, which reverse_proxy waits for, pays for its
	// token requests, and has the last word about what is sent. It has the same
	// header as the last one above.
	compareAllocations(t, i, allocationConfig(i, upstream, "", "client app {\nkey {env.TOKENS_TEST_KEY}\nallow use q main {\npaths /query /x/**\n}\n}"), []allocationCase{
		{"a client with a key", "/query", authorization, -87},
	})
}

// TestAllocationsOfReadOuts counts what GET /api/token costs more than respond,
// for the admin token and for a client. Both read-outs are in the audit, and so
// are their repeats, which are counted here.
func TestAllocationsOfReadOuts(t *testing.T) {
	i := newInstance(t)
	key, _ := access.NewKey()
	t.Setenv("TOKENS_TEST_KEY", key.Reveal())
	const end, adminToken = "\"lineage\":0}", "0123456789abcdef"
	loadCaddyfile(t, `{
	admin off
	auto_https off
	storage file_system `+i.dir+`/caddy
	log {
		level ERROR
	}
	tokens {
		client app {
			key {env.TOKENS_TEST_KEY}
			allow read q main
		}
		realm q {
			api http://127.0.0.1:1
			grant static
			secret main {
				token 0123456789abcdef0123456789abcdef
			}
		}
	}
}
http://`+i.host+` {
	respond /plain* "{\"token\":\"0123456789abcdef0123456789abcdef\",\"lineage\":0}"
	token_admin {
		admin_token `+adminToken+`
	}
}
`)
	for _, c := range []struct {
		name, credential string
		most             float64
	}{
		{"the admin token", adminToken, 5},
		{"a client with a key", key.Reveal(), 7}, // its limits count, and it can be ended
	} {
		fields := "Authorization: Bearer " + c.credential + "\r\n"
		plain := leastAllocations(t, i.host, "/plain?realm=q&key=main", fields, end)
		ours := leastAllocations(t, i.host, "/api/token?realm=q&key=main", fields, end)
		t.Logf("%s: %.2f allocations more than respond's %.2f", c.name, ours-plain, plain)
		if ours-plain > c.most+0.3 {
			t.Errorf("%s: %.2f allocations more than respond, want at most %v", c.name, ours-plain, c.most)
		}
	}
}

// allocationCase is a request, and how much more it may cost.
type allocationCase struct {
	name, path, fields string
	most               float64
}

func compareAllocations(t *testing.T, i *instance, caddyfile string, cases []allocationCase) {
	t.Helper()
	loadCaddyfile(t, caddyfile)
	for _, c := range cases {
		_, query, _ := strings.Cut(c.path, "?")
		plain := leastAllocations(t, i.host, "/plain?"+query, c.fields, cannedBody)
		ours := leastAllocations(t, i.host, c.path, c.fields, cannedBody)
		t.Logf("%s: %.2f allocations more than reverse_proxy's %.2f", c.name, ours-plain, plain)
		if ours-plain > c.most+0.3 {
			t.Errorf("%s: %.2f allocations more than reverse_proxy, want at most %v", c.name, ours-plain, c.most)
		}
	}
}

func loadCaddyfile(t *testing.T, caddyfile string) {
	t.Helper()
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		t.Fatal(err)
	}
}

// leastAllocations counts those of one request. Noise only adds, so that the
// least of several counts is the truth.
func leastAllocations(t *testing.T, host, path, fields, end string) float64 {
	t.Helper()
	least := math.Inf(1)
	for range 5 {
		least = min(least, allocations(t, host, path, fields, end))
	}
	return least
}

// cannedBody ends every answer of the upstream.
const cannedBody = `{"ok":true,"end":"END"}`

// cannedUpstream answers every request alike, without reading what it says.
func cannedUpstream(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	response := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(cannedBody), cannedBody))
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				buf := make([]byte, 64<<10)
				for readUntil(conn, buf, []byte("\r\n\r\n")) {
					if _, err := conn.Write(response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// readUntil reads until what was read ends with the mark.
func readUntil(conn net.Conn, buf, mark []byte) bool {
	for n := 0; n < len(buf); {
		k, err := conn.Read(buf[n:])
		n += k
		if err != nil {
			return false
		}
		if bytes.HasSuffix(buf[:n], mark) {
			return true
		}
	}
	return false
}

// allocations counts those of one request in the proxy; end is the end of its
// answer.
func allocations(t *testing.T, host, path, fields, end string) float64 {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + fields + "\r\n")
	buf, mark := make([]byte, 64<<10), []byte(end)
	send := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		if !readUntil(conn, buf, mark) {
			t.Fatalf("%s: %s", path, buf[:300])
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

func allocationConfig(i *instance, upstream, option, client string) string {
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
			` + option + `
		}
	}`
	return `{
	admin off
	auto_https off
	storage file_system ` + i.dir + `/caddy
	log {
		level ERROR
	}
	tokens {
		` + client + fmt.Sprintf(realm, "q", "query access_token") + fmt.Sprintf(realm, "h", `header Authorization "Bearer {token}"`) + `
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
