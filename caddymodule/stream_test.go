package caddymodule

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestServerSentEvents: an event arrives while the next one is not sent yet.
func TestServerSentEvents(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	next := make(chan struct{})
	p.api = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d %v\n\n", n, r.URL.Query().Has("access_token"))
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+i.host+"/p/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for n := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d true", n) || !lines.Scan() {
			t.Fatalf("event %d: %q %v", n, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
}

// TestUpgrade: a realm has to allow that a request leaves HTTP.
func TestUpgrade(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s\n", r.URL.Query().Get("access_token")[:len(canary)])
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = fmt.Fprintf(rw, "echo %s", line)
		_ = rw.Flush()
	}
	i.load(p.realm("p", "inject query access_token")+p.realm("u", "inject query access_token\nupgrade"), `
		handle_path /u/* {
			token_proxy {
				realm u
				key main
			}
		}`+proxyMain)
	const upgrade = " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	got := i.raw("GET /u/ws" + strings.Replace(upgrade, "Host: x", "Host: "+i.host, 1) + "hello\n")
	if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, canary+"\necho hello\n") {
		t.Errorf("allowed:\n%s", got)
	}
	got = i.raw("GET /p/ws" + strings.Replace(upgrade, "Host: x\r\n", "Host: "+i.host+"\r\nConnection: close\r\n", 1))
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") || p.calls.Load() != 1 {
		t.Errorf("not allowed (%d calls):\n%s", p.calls.Load(), got)
	}
}

// big is 100 MB that take no memory.
const big = 100_000_000

// pattern is an endless stream.
type pattern struct{ n int }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte((p.n + i) % 251)
	}
	p.n = (p.n + len(b)) % 251
	return len(b), nil
}

func digest(r io.Reader) string {
	h := sha256.New()
	_, _ = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil))
}

// TestBigBodies: 100 MB go up and down, and are not kept in memory.
func TestBigBodies(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	var peak uint64
	heap := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	p.api = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Digest", digest(r.Body))
		heap()
		_, _ = io.Copy(w, io.LimitReader(&pattern{}, big))
	}
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	i.get("/any/nope/x/") // what the first request allocates is not counted
	runtime.GC()
	heap()
	before := peak
	want := digest(io.LimitReader(&pattern{}, big))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+i.host+"/p/big", io.LimitReader(&pattern{}, big))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got := digest(resp.Body); got != want || resp.Header.Get("X-Digest") != want {
		t.Errorf("up %s, down %s, want %s", resp.Header.Get("X-Digest"), got, want)
	}
	heap()
	if grown := int64(peak) - int64(before); grown > big/4 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestHTTP2 speaks HTTP/2 on both sides, and sends trailers.
func TestHTTP2(t *testing.T) {
	p := &provider{}
	p.Server = httptest.NewUnstartedServer(p)
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	i := newInstance(t)
	i.load(p.tokenless("p", canary), `
		token_proxy {
			realm p
			key main
			transport token {
				tls_insecure_skip_verify
			}
		}`)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Transport{Protocols: protocols}
	defer h2.CloseIdleConnections()
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+i.host+"/x", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Sum": nil, "X-Access-Token": nil}
	go func() {
		_, _ = io.WriteString(send, "body")
		req.Trailer.Set("X-Sum", "4")
		req.Trailer.Set("X-Access-Token", "evil")
		_ = send.Close()
	}()
	resp, err := h2.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := string(content)
	if resp.ProtoMajor != 2 || !strings.HasPrefix(got, "POST /x HTTP/2.0") {
		t.Errorf("%s\n%s", resp.Proto, got)
	}
	if !strings.Contains(got, "X-Access-Token: "+canary) || strings.Contains(got, "evil") || !strings.Contains(got, "X-Sum:[4]") {
		t.Errorf("header and trailers:\n%s", got)
	}
}

// tokenless is a realm with a fixed token in a header, for providers whose
// certificate only the proxy is told to believe.
func (p *provider) tokenless(id, token string) string {
	return fmt.Sprintf(`
		realm %s {
			api %s
			grant static
			inject header X-Access-Token
			secret main {
				token %s
			}
		}`, id, p.URL, token)
}

// TestRedirects are handed to the caller: following one would carry the token
// to wherever the upstream points.
func TestRedirects(t *testing.T) {
	p, sink, i := newProvider(t), newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		w.Header().Set("Location", sink.URL+"/?stolen="+r.URL.Query().Get("access_token"))
		w.WriteHeader(code)
	}
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	for _, code := range []int{301, 302, 303, 307, 308} {
		a := i.get(fmt.Sprintf("/p/%d", code))
		if a.StatusCode != code || !strings.HasPrefix(a.Header.Get("Location"), sink.URL) {
			t.Errorf("%d: %s %v", code, a.Status, a.Header)
		}
		if strings.Contains(a.Header.Get("Location"), canary) {
			t.Errorf("%d: the caller got the token: %v", code, a.Header)
		}
	}
	if n := sink.calls.Load(); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

// TestGuardedConnections: a connection that was dialled for a trusted realm is
// never used for another one, HTTP/2 connections included.
func TestGuardedConnections(t *testing.T) {
	p := &provider{}
	p.Server = httptest.NewUnstartedServer(p)
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	i := newInstance(t)
	i.load(p.tokenless("p", canary), `
		token_gateway {
			transport token {
				tls_insecure_skip_verify
			}
		}`)
	i.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id": "db", "config": {"api": %q, "grant": {"name": "static"},
		"inject": [{"place": "header", "name": "X-Access-Token"}]}}`, p.URL))
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "db", "key": "main", "fields": {"token": "%s2"}}`, canary))
	for range 2 {
		if a := i.get("/p/main/x"); a.StatusCode != http.StatusOK {
			t.Fatalf("trusted: %s\n%s", a.Status, a.body)
		}
		a := i.get("/db/main/x")
		if code, _ := problemOf(t, a); a.StatusCode != http.StatusBadGateway || code != "host_not_allowed" {
			t.Errorf("guarded: %s\n%s", a.Status, a.body)
		}
	}
	if n := p.calls.Load(); n != 2 {
		t.Errorf("%d requests arrived instead of 2", n)
	}
}

// TestHandshakeBound: an upstream that never finishes a TLS handshake does not
// hold a request for ever.
func TestHandshakeBound(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p, i := &provider{Server: &httptest.Server{URL: "https://" + l.Addr().String()}}, newInstance(t)
	i.load(p.tokenless("p", canary), `
		token_proxy {
			realm p
			key main
			transport token {
				tls_timeout 50ms
			}
		}`)
	if a := i.get("/x"); a.StatusCode != http.StatusBadGateway && a.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	limited := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	limitHandshake(limited)
	if limited.TLSHandshakeTimeout != 10*time.Second {
		t.Errorf("the default is %s", limited.TLSHandshakeTimeout)
	}
}
