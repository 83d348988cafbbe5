package caddymodule

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSurplusIsNotLogged: an API that quotes the token behind its answer does not get
// it into a log, also not into what net/http prints by itself, which Caddy's log takes.
func TestSurplusIsNotLogged(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t) // for the metrics
	upstream := quotingUpstream(t)
	realm := strings.Replace(p.realm("p", "inject query access_token"), "api "+p.URL, "api "+upstream, 1)
	i.load(realm, proxyMain)
	for range 2 {
		if a := i.get("/p/x"); a.StatusCode != http.StatusNoContent {
			t.Fatalf("%s\n%s", a.Status, a.body)
		}
	}
	for begin := time.Now(); strings.Contains(i.metrics(), "caddy_tokens_surplus_answers_total 0"); {
		if time.Since(begin) > patience {
			t.Fatal("the surplus was not counted")
		}
		time.Sleep(time.Millisecond)
	}
	if log := i.log(); leaks(log) != nil || strings.Contains(log, "Unsolicited") {
		t.Errorf("the log:\n%s", around(log))
	}
}

// quotingUpstream answers 204, and with the request's target behind it.
func quotingUpstream(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for requests := bufio.NewReader(conn); ; {
					req, err := http.ReadRequest(requests)
					if err != nil {
						return
					}
					_, _ = fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n\r\nyou asked for %s", req.RequestURI)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
