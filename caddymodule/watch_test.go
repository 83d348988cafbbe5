package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// watcher reads a stream of the admin API.
type watcher struct {
	*bufio.Scanner
	body io.Closer
}

// watch opens a stream, by HTTP/2 without TLS where isH2 is set.
func (i *instance) watch(t *testing.T, isH2 bool, header ...string) watcher {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!isH2)
	transport.Protocols.SetUnencryptedHTTP2(isH2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.api+"/api/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if isH2 != (resp.ProtoMajor == 2) || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Proto, resp.Status)
	}
	w := watcher{bufio.NewScanner(resp.Body), resp.Body}
	if line := w.next(); line != "event: ready" {
		t.Fatalf("%q", line)
	}
	w.next()
	return w
}

// next is the next line that is not empty; "" at the end.
func (w watcher) next() string {
	for w.Scan() {
		if w.Text() != "" {
			return w.Text()
		}
	}
	return ""
}

// A stream tells what happens to tokens at once, over HTTP/1.1 and HTTP/2, and ends
// with its configuration, however many there are: it delays neither a reload nor
// the end of the process, for which Caddy would wait.
func TestWatchEndsWithTheConfiguration(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	const many = 50
	open := func() (all []watcher) {
		for n := range many {
			all = append(all, i.watch(t, n%2 == 0))
		}
		return all
	}
	over := func(what string, all []watcher) {
		t.Helper()
		for _, w := range all {
			if line := w.next(); line != "" || w.Err() != nil { // nil: it ended, and was not cut
				t.Errorf("%s: %q %v", what, line, w.Err())
			}
		}
	}
	all := open()
	i.get("/p/x")
	for _, w := range all {
		if line := w.next(); line != `data: {"realm":"p","key":"main","lineage":1,"state":"live"}` {
			t.Fatalf("%q", line)
		}
	}
	began := time.Now()
	i.load(p.realm("p", "inject query access_token\ncomment edited"), proxyMain)
	over("a reload", all)
	all = open()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	over("the end", all)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The stream of a client ends when its key is revoked.
func TestWatchOfARevokedClient(t *testing.T) {
	i := newInstance(t)
	i.load("", "")
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["read"],"realms":["*"]}]}`)), &made); err != nil {
		t.Fatal(err)
	}
	w := i.watch(t, false, "Authorization", "Bearer "+made.Key)
	began := time.Now()
	i.must(http.MethodDelete, "/api/client/app", "")
	if line := w.next(); line != "" {
		t.Errorf("%q", line)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it ended after %s", took)
	}
}

// A thousand who watch, one of whom does not read, are all served; what changes is
// not held up by them.
func TestWatchOfAThousand(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	i.watch(t, false)            // nobody reads this one
	const many, each = 1000, 100 // one client has so many streams at most
	var keys []string
	for n := range many / each {
		keys = append(keys, i.newClient(fmt.Sprint("watcher-", n), `"read"`))
	}
	var told, opened sync.WaitGroup
	gate := make(chan struct{}, 50)
	all := make(chan watcher, many)
	for n := range many {
		opened.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			all <- i.watch(t, false, "Authorization", "Bearer "+keys[n%len(keys)])
		})
	}
	opened.Wait()
	close(all)
	for w := range all {
		told.Go(func() {
			for n := 1; n <= 3; n++ {
				if line := w.next(); !strings.HasPrefix(line, `data: {"realm":"p"`) {
					t.Errorf("%q", line)
					return
				}
			}
			_ = w.body.Close()
		})
	}
	for range 3 {
		i.must(http.MethodPost, "/api/token", `{"realm":"p","key":"main","flush":true}`)
	}
	told.Wait()
}
