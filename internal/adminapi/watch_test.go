package adminapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
)

// watched is a server whose streams do not end by themselves.
type watched struct {
	*server
	url    string
	ending chan struct{}
	// who is the caller of all requests.
	who Caller
}

func newWatched(t *testing.T, s *server, who Caller) *watched {
	t.Helper()
	w := &watched{server: s, ending: make(chan struct{}), who: who}
	api := New(s.view, s.view.Catalog(), Options{Clients: s.clients, Ending: w.ending})
	h := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(rw, r.WithContext(WithCaller(r.Context(), w.who)))
	}))
	t.Cleanup(h.Close)
	w.url = h.URL
	return w
}

// events reads a stream line by line, without the empty ones.
type events struct {
	t *testing.T
	*bufio.Scanner
}

// open begins a stream, which ends with the test.
func (w *watched) open(t *testing.T) events {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != typeEvents {
		t.Fatalf("%s %s", resp.Status, kind)
	}
	e := events{t, bufio.NewScanner(resp.Body)}
	e.want("event: ready", "data: {}")
	return e
}

func (e events) want(lines ...string) {
	e.t.Helper()
	for _, want := range lines {
		if got := e.next(); got != want {
			e.t.Fatalf("got %q, not %q", got, want)
		}
	}
}

// next is the next line; "" at the end.
func (e events) next() string {
	for e.Scan() {
		if line := e.Text(); line != "" {
			return line
		}
	}
	return ""
}

func TestWatch(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { // behind all others
		http.DefaultClient.CloseIdleConnections()
		leaktest.VerifyNone(t, before)
	})
	s := newServer(t)
	s.wxgzh()
	w := newWatched(t, s, Caller{Kind: KindAdmin})
	e := w.open(t)
	s.must(http.MethodGet, "/api/token?realm=wxgzh&key=wxgzh_secret", "")
	e.want(`data: {"realm":"wxgzh","key":"wxgzh_secret","lineage":1,"state":"live"}`)
	s.must(http.MethodDelete, "/api/realm/wxgzh?cascade=true", "")
	e.want(`data: {"realm":"wxgzh","lineage":0,"state":"deleted"}`)
	close(w.ending)
	if line := e.next(); line != "" || e.Err() != nil {
		t.Errorf("after the end: %q %v", line, e.Err())
	}
}

// A client is told of what it may read, as its rights are when something changes, and
// that they changed; its stream ends with the last of them.
func TestWatchIsFiltered(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	s.must(http.MethodPost, "/api/secret", `{"realm":"wxgzh","key":"other","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`)
	rules := func(rule string) string {
		key, _ := s.must(http.MethodPost, "/api/client", `{"id":"app","rules":[`+rule+`]}`).document()["key"].(string)
		return key
	}
	key := rules(`{"effect":"allow","rights":["read"],"realms":["wxgzh"],"keys":["other"]}`)
	client, err := s.clients.Identify(access.Caller{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	e := newWatched(t, s, Caller{Kind: KindClient, ID: "app", Client: client}).open(t)
	flush := func(key string) {
		s.must(http.MethodPost, "/api/token", fmt.Sprintf(`{"realm":"wxgzh","key":%q,"flush":true}`, key))
	}
	flush("wxgzh_secret")
	flush("other")
	e.want(`data: {"realm":"wxgzh","key":"other","lineage":1,"state":"live"}`)
	rules(`{"effect":"allow","rights":["admin_read"],"realms":["wxgzh"],"keys":["wxgzh_secret"]}`)
	flush("other")
	flush("wxgzh_secret")
	// What was lost with the old rights is in no event.
	e.want("event: gap", "data: {}", `data: {"realm":"wxgzh","key":"wxgzh_secret","lineage":2,"state":"live"}`)
	rules(`{"effect":"allow","rights":["use"],"realms":["*"]}`)
	began := time.Now()
	if line := e.next(); line != "" {
		t.Errorf("without a right: %q", line)
	}
	if took := time.Since(began); took > 3*rightsCheck {
		t.Errorf("the stream ended after %s", took)
	}
}

// A client that is deleted, and one whose key is replaced, is told nothing more.
func TestWatchEndsWithTheKey(t *testing.T) {
	for name, end := range map[string]string{"deleted": "DELETE /api/client/app", "rotated": "POST /api/client/app/rotate"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			key, _ := s.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["read"],"realms":["*"]}]}`).document()["key"].(string)
			client, err := s.clients.Identify(access.Caller{Key: key})
			if err != nil {
				t.Fatal(err)
			}
			e := newWatched(t, s, Caller{Kind: KindClient, ID: "app", Client: client}).open(t)
			method, path, _ := strings.Cut(end, " ")
			s.must(method, path, "")
			if line := e.next(); line != "" {
				t.Errorf("%q", line)
			}
		})
	}
}

// A caller has so many streams and no more, whatever lets him in; the end of one makes
// room. Those of the admin token, in a session or not, and of callers without a
// credential had no bound.
func TestWatchLimit(t *testing.T) {
	for _, one := range []Caller{
		{Kind: KindUser, ID: "alice"}, {Kind: KindClient, ID: "alice"}, {Kind: KindAdmin, Address: "192.0.2.1"}, {Kind: KindLocal, Address: "192.0.2.1"},
	} {
		var s streams
		var leave func()
		for range maxStreams {
			var err error
			if leave, err = s.enter(one); err != nil {
				t.Fatal(err)
			}
		}
		same := one
		same.SessionEnds = noon
		if one.Kind != KindLocal {
			same.Address = "192.0.2.2"
		}
		_, err := s.enter(same)
		if d := document(nil, err); err == nil || d.Status != http.StatusTooManyRequests || d.RetryAfter == 0 {
			t.Errorf("one more of %v: %v", one, err)
		}
		for _, other := range []Caller{
			{Kind: KindUser, ID: "bob"}, {Kind: KindClient, ID: "bob"}, {Kind: KindUser, ID: "admin"}, {Kind: KindLocal, Address: "192.0.2.2"},
		} {
			if _, err := s.enter(other); err != nil {
				t.Errorf("%v beside %v: %v", other, one, err)
			}
		}
		leave()
		if _, err := s.enter(one); err != nil {
			t.Error(err)
		}
	}
}
