package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	observed "go.uber.org/zap/zaptest/observer"
)

// TestWrongTokensWait: 300 wrong admin tokens were tried in 0.2 s, and nothing
// in the log told of it.
func TestWrongTokensWait(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	core, logs := observed.New(zap.DebugLevel)
	a := &Admin{token: newAdminToken("s3cret"), failures: newFailures("admin token", zap.New(core), func() time.Time { return now }), refusals: zap.NewNop()}
	a.api = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	send := func(peer, token string) *httptest.ResponseRecorder {
		r := request(peer, "a.example", caddy.NewReplacer())
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		if err := a.ServeHTTP(w, r, nil); err != nil {
			t.Fatal(err)
		}
		return w
	}
	const here, there = "192.0.2.1:1", "192.0.2.2:1"
	for n := range maxFailures {
		if w := send(here, "guess"); w.Code != http.StatusForbidden {
			t.Fatalf("guess %d: %d", n, w.Code)
		}
	}
	for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		wait := time.Duration(seconds) * time.Second
		for _, token := range []string{"guess", "s3cret"} { // the right one is not compared either
			w := send(here, token)
			if code, _ := problemOf(t, answer{w.Result(), w.Body.String()}); w.Code != http.StatusTooManyRequests || code != "rate_limited" ||
				w.Header().Get("Retry-After") != fmt.Sprint(int(wait.Seconds())) {
				t.Fatalf("%s: %d %v", wait, w.Code, w.Header())
			}
		}
		if w := send(here, ""); w.Code != http.StatusForbidden {
			t.Errorf("a request without a token: %d", w.Code)
		}
		if w := send(there, "s3cret"); w.Code != http.StatusOK {
			t.Errorf("another address: %d", w.Code)
		}
		now = now.Add(wait - time.Millisecond)
		if w := send(here, "s3cret"); w.Code != http.StatusTooManyRequests {
			t.Fatalf("too early, after %s: %d", wait, w.Code)
		}
		now = now.Add(time.Millisecond)
		if w := send(here, "guess"); w.Code != http.StatusForbidden {
			t.Fatalf("after %s: %d", wait, w.Code)
		}
	}
	now = now.Add(time.Minute)
	if w := send(here, "s3cret"); w.Code != http.StatusOK {
		t.Errorf("the right token: %d", w.Code)
	}
	if w := send(here, "guess"); w.Code != http.StatusForbidden {
		t.Errorf("a wrong one behind the right one: %d", w.Code)
	}
	// One line a minute, with what came since the one before.
	elapsed := now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if got, most := logs.Len(), int(elapsed/time.Minute)+1; got < 2 || got > most {
		t.Errorf("%d lines in %s", got, elapsed)
	}
	for _, line := range logs.All() {
		if line.Level != zap.WarnLevel || line.ContextMap()["address"] != "192.0.2.1" || strings.Contains(fmt.Sprint(line), "guess") {
			t.Errorf("%v", line)
		}
	}
}

// TestFailuresAreForgotten: whoever waits long enough begins anew, and the
// memory of a flood is bounded.
func TestFailuresAreForgotten(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newFailures("admin token", zap.NewNop(), func() time.Time { return now })
	addr := netip.MustParseAddr("192.0.2.1")
	for range maxFailures {
		f.record(addr, false)
	}
	if f.wait(addr) != time.Second {
		t.Errorf("it waits %s", f.wait(addr))
	}
	now = now.Add(failuresLife)
	f.record(addr, false)
	if f.wait(addr) != 0 {
		t.Errorf("it waits %s", f.wait(addr))
	}
	for i := range 3 * maxAddresses {
		f.record(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), false)
	}
	if len(f.byAddress) > maxAddresses {
		t.Errorf("%d addresses", len(f.byAddress))
	}
	// A network of IPv6 is one address: whoever has one has all of it.
	for i := range maxFailures {
		f.record(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)), false)
	}
	if f.wait(netip.MustParseAddr("2001:db8::ffff")) == 0 || f.wait(netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("IPv6")
	}
}

// TestStrangersLearnNothing: whoever is not let in gets the same answer for a
// realm and key that there are and for others.
func TestStrangersLearnNothing(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	address, site := openSites(t, i, map[string]string{"": `
		handle_path /any/* {
			token_gateway
		}
		handle_path /long/* {
			reverse_proxy ` + p.URL + ` {
				transport token {
					realm {header.X-Realm}
					key {header.X-Key}
				}
			}
		}
		handle_path /header/* {
			token_proxy {
				realm {header.X-Realm}
				key {header.X-Key}
			}
		}
		token_admin`})
	i.load(p.realm("p", "inject query access_token"), site)
	seen := make(map[string]string)
	for _, ref := range [][2]string{{"p", "main"}, {"p", "nope"}, {"nope", "main"}, {"P", "main"}, {"p%2Fq", "x"}} {
		for way, path := range map[string]string{
			"gateway": "/any/" + ref[0] + "/" + ref[1] + "/x", "long": "/long/x", "header": "/header/x",
			"realm": "/api/realm/" + ref[0], "secret": "/api/secret/" + ref[0] + "/" + ref[1],
			"authorize": "/api/secret/" + ref[0] + "/" + ref[1] + "/authorize",
			"token":     "/api/token?realm=" + ref[0] + "&key=" + ref[1], "account": "/" + ref[0] + "-account/get-access-token",
			"nothing": "/api/" + ref[0],
		} {
			// A name that was pointed at this machine is a stranger's.
			got := rawTo(t, address[""], "POST "+path+" HTTP/1.1\r\nHost: evil.example\r\nX-Realm: "+ref[0]+"\r\nX-Key: "+ref[1]+
				"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			var lines []string
			for line := range strings.Lines(got) {
				if !strings.HasPrefix(line, "Date: ") {
					lines = append(lines, line)
				}
			}
			got = strings.Join(lines, "")
			if before, ok := seen[way]; ok && before != got || !strings.HasPrefix(got, "HTTP/1.1 403 ") {
				t.Errorf("%s of %v:\n%s\nbefore:\n%s", way, ref, got, before)
			}
			seen[way] = got
		}
	}
}
