package caddymodule

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shortRealm is a realm with a fixed token, and a block for it.
func shortRealm(api string) (realm, block string) {
	return "realm q {\napi " + api + "\nallow_http\ngrant static\ninject query access_token\nsecret main {\ntoken " + shortToken + "\n}\n}", `
	handle_path /p/* {
		token_proxy {
			realm q
			key main
			%s
		}
	}`
}

// Over https the first request shows which protocol the API chooses. HTTP/2 stays as
// it is; with HTTP/1.1 the next ones take the short way, by one connection.
func TestShortcutOverTLS(t *testing.T) {
	for _, isHTTP2 := range []bool{false, true} {
		connections := make(chan struct{}, 100)
		far := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, r.Proto, " ", r.URL.Query().Get("access_token") == shortToken)
		}))
		far.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections <- struct{}{}
			}
		}
		far.EnableHTTP2 = isHTTP2
		far.StartTLS()
		t.Cleanup(far.Close)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: far.Certificate().Raw})))
		i := newInstance(t)
		i.config = freeAddress(t)
		realm, block := shortRealm(far.URL)
		i.load(realm, fmt.Sprintf(block, "transport token {\ntls_trust_pool file "+ca+"\n}"))
		before, want, proto := shortCount(t, i), 4, "HTTP/1.1 true"
		if isHTTP2 {
			want, proto = 0, "HTTP/2.0 true"
		}
		for range 5 {
			if a := i.get("/p/x"); a.body != proto {
				t.Fatalf("%s %q", a.Status, a.body)
			}
		}
		if got := shortCount(t, i) - before; got != want {
			t.Errorf("HTTP/2 %v: %d requests took the short way, want %d", isHTTP2, got, want)
		}
		if got := len(connections); !isHTTP2 && got != 2 || isHTTP2 && got != 1 {
			t.Errorf("HTTP/2 %v: %d connections", isHTTP2, got)
		}
	}
}

// hangingUpstream sends the given bytes for each request, and nothing more. It reports
// the connections that were closed meanwhile.
func hangingUpstream(t *testing.T, answer string) (url string, asked, closed chan struct{}) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked, closed = make(chan struct{}, 10), make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				r := bufio.NewReader(c)
				for {
					if _, err := http.ReadRequest(r); err != nil {
						closed <- struct{}{}
						return
					}
					_, _ = io.WriteString(c, answer)
					asked <- struct{}{}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), asked, closed
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
}

// A caller that goes away ends what is done for it at once, wherever that is.
func TestShortcutEndsWithTheCaller(t *testing.T) {
	for name, answer := range map[string]string{
		"before the answer": "", "within the header": "HTTP/1.1 200 OK\r\nX:", "within the body": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nb",
	} {
		t.Run(name, func(t *testing.T) {
			url, asked, closed := hangingUpstream(t, answer)
			i := newInstance(t)
			i.config = freeAddress(t)
			realm, block := shortRealm(url)
			i.load(realm, fmt.Sprintf(block, ""))
			before := shortCount(t, i)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.host+"/p/x", nil)
				if resp, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}()
			await(t, "the request", asked)
			cancel()
			await(t, "the end of the connection", closed)
			await(t, "the caller", ended)
			waitFor(t, "the line in the log", func() bool { return strings.Contains(i.log(), `"msg":"handled request"`) })
			if short := shortCount(t, i) - before; short != 1 {
				t.Errorf("%d requests took the short way", short)
			}
			if log := i.log(); name != "within the body" && !strings.Contains(log, `"status":499`) {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}

// A reload closes the connections that nobody uses, and those in use when they are free.
func TestShortcutClosesOnReload(t *testing.T) {
	url, asked, closed := hangingUpstream(t, plainAnswer[0])
	i := newInstance(t)
	i.config = freeAddress(t)
	realm, block := shortRealm(url)
	i.load(realm, fmt.Sprintf(block, ""))
	before := shortCount(t, i)
	if a := i.get("/p/x"); a.body != "ok" {
		t.Fatalf("%s %q", a.Status, a.body)
	}
	if got := shortCount(t, i) - before; got != 1 {
		t.Fatalf("%d requests took the short way", got)
	}
	await(t, "the request", asked)
	i.load(realm, fmt.Sprintf(block, "shortcut off"))
	await(t, "the end of the connection", closed)
}

// An API that is not reached is answered in the same way.
func TestShortcutWithoutUpstream(t *testing.T) {
	nobody := "http://" + freeAddress(t)
	i := newInstance(t)
	i.config = freeAddress(t)
	realm, block := shortRealm(nobody)
	var bodies [2]string
	for n, option := range []string{"shortcut off", "shortcut on"} {
		i.load(realm, fmt.Sprintf(block, option))
		before := shortCount(t, i)
		a := i.do(http.MethodPost, "http://"+i.host+"/p/x", "body")
		bodies[n] = fmt.Sprint(a.StatusCode, a.body)
		if short := shortCount(t, i) - before; short != n {
			t.Errorf("%s: %d requests took the short way", option, short)
		}
	}
	if bodies[0] != bodies[1] || !strings.Contains(bodies[1], "connection refused") {
		t.Errorf("%s\n%s", bodies[0], bodies[1])
	}
}

// A caller over HTTP/2 takes the short way without a body, and the usual one with it.
func TestShortcutOfHTTP2Callers(t *testing.T) {
	s := startScripted(t)
	i := startBoth(t, s)
	s.play(plainAnswer, false)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	t.Cleanup(h2.CloseIdleConnections)
	for body, want := range map[string]int{"": 1, "body": 0} {
		before := shortCount(t, i)
		var got [2]string
		for n, way := range []string{"off", "on"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+i.host+"/"+way+"/q/x", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h2.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			content, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			resp.Header.Del("Date")
			got[n] = fmt.Sprint(resp.Status, resp.Header, string(content))
		}
		if got[0] != got[1] {
			t.Errorf("%s\n%s", got[0], got[1])
		}
		if short := shortCount(t, i) - before; short != want {
			t.Errorf("body %q: %d took the short way", body, short)
		}
	}
}
