package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() {
	caddy.RegisterModule((*bodyWatcher)(nil))
	httpcaddyfile.RegisterHandlerDirective("tokens_test_body", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(bodyWatcher), nil
	})
}

// bodyWatcher is a handler in front that sees how the body of a request is read.
type bodyWatcher struct{}

// watchedBody is what bodyWatchers do and see; a test with one sets it.
var watchedBody struct {
	sync.Mutex
	before func() // the first Read
	left   string // what a handler behind the proxy could still read
	err    error  // with which that ended
}

func (*bodyWatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.tokens_test_body", New: func() caddy.Module { return new(bodyWatcher) }}
}

func (*bodyWatcher) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	watchedBody.Lock()
	defer watchedBody.Unlock()
	r.Body = &hookedBody{r.Body, watchedBody.before}
	err := next.ServeHTTP(w, r)
	left, readErr := io.ReadAll(r.Body)
	watchedBody.left, watchedBody.err = string(left), readErr
	return err
}

type hookedBody struct {
	io.ReadCloser
	before func()
}

func (h *hookedBody) Read(p []byte) (int, error) {
	if h.before != nil {
		h.before()
		h.before = nil
	}
	return h.ReadCloser.Read(p)
}

// Who a proxy in front says the caller is stays known to the short way: in header_up,
// for the credential by which he proved that to us, and for the audit.
func TestShortcutBehindForwardAuth(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	asks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Remote-User", "alice") }))
	t.Cleanup(asks.Close)
	site := ""
	for _, way := range []string{"off", "on"} {
		site += `
		handle_path /` + way + `/* {
			route {
				forward_auth ` + asks.URL + ` {
					uri /
				}
				token_proxy {
					realm q
					key main
					auth {http.reverse_proxy.header.Remote-User}
					header_up X-User {http.reverse_proxy.header.Remote-User}
					header_up X-Status {http.reverse_proxy.status_code}
					header_up X-Upstream {http.reverse_proxy.upstream.hostport}
					header_down X-User {http.reverse_proxy.header.Remote-User}
					shortcut ` + way + `
				}
			}
		}`
	}
	i.load(p.realm("q", "inject query access_token\npass Authorization")+"\naudit {\nrequests\n}", site)
	var got [2]string
	for n, way := range []string{"off", "on"} {
		before := shortCount(t, i)
		a := i.get("/"+way+"/x", "Authorization", "Basic "+canary)
		if a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", way, a.Status, a.body)
		}
		if took := shortCount(t, i) - before; took != n {
			t.Errorf("%s: %d requests took the short way", way, took)
		}
		got[n] = fmt.Sprint(a.body, a.Header["X-User"])
		if strings.Contains(a.body, canary+"\r\n") || !strings.Contains(a.body, "X-User: alice\r\n") || !strings.Contains(a.body, "X-Status: 200\r\n") {
			t.Errorf("%s: the API got\n%s", way, a.body)
		}
		count := n + 1
		waitFor(t, "the entry", func() bool {
			entries := i.audited()
			return strings.Count(strings.Join(entries, "\n"), "user:alice 127.0.0.1 access q/main ok") == count
		})
	}
	if got[0] != got[1] {
		t.Errorf("by reverse_proxy:\n%s\nby the short way:\n%s", got[0], got[1])
	}
}

// A request that takes the short way behind another one, as in handle_errors, has the
// placeholders that reverse_proxy would have set by then.
func TestShortcutPlaceholdersOfTwo(t *testing.T) {
	repl := caddy.NewReplacer()
	ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, make(map[string]any))
	const names = "upstream.host status_code header.A header.B retries"
	expect := func(when, want string) {
		t.Helper()
		got := ""
		for name := range strings.FieldsSeq(names) {
			got += repl.ReplaceAll("{http.reverse_proxy."+name+"} ", "-")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	repl.Set("http.reverse_proxy.upstream.host", "front")
	repl.Set("http.reverse_proxy.header.A", "front")
	expect("in front", "front - front - - ")
	first := &shortRequest{Context: ctx, upstream: realm.Address{Host: "first"}}
	first.show(repl)
	expect("first", "first - front - - ")
	first.resp = &http.Response{StatusCode: http.StatusCreated, Header: http.Header{"A": {"1"}, "B": {"1"}}}
	repl.DeleteByPrefix("http.reverse_proxy.header.")
	first.hasEnded = true
	expect("first, answered", "first 201 1 1 0 ")
	second := &shortRequest{Context: ctx, upstream: realm.Address{Host: "second"}}
	second.show(repl)
	expect("second", "second 201 1 1 0 ")
	second.resp = &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{"A": {"2"}}}
	expect("second, answered", "second 202 2 - 0 ")
	third := &shortRequest{Context: ctx, upstream: realm.Address{Host: "third"}}
	third.show(repl)
	expect("third", "third 202 2 - 0 ")
	if got := repl.ReplaceAll("{http.vars."+shownVar+"}", ""); got != "" {
		t.Errorf("a variable shows %q", got)
	}
}

// A request that is sent again with another token is one request.
func TestShortcutCountsRequestsOnce(t *testing.T) {
	i := newInstance(t)
	i.config = freeAddress(t)
	provider := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": canary + "-secret"}, API: http.HandlerFunc(echo),
	})
	i.load(wechatRealm(provider.Start(t), "secret main {\nappid app\nappsecret "+canary+"-secret\n}"), "token_proxy {\nrealm p\nkey main\n}")
	for n := range 3 {
		before := shortCount(t, i)
		if a := i.get("/a"); a.StatusCode != http.StatusOK || len(provider.DeadCalls()) != n {
			t.Fatalf("%s %s, %d dead calls", a.Status, a.body, len(provider.DeadCalls()))
		}
		if got := shortCount(t, i) - before; got != 1 {
			t.Errorf("counted %d times", got)
		}
		provider.Revoke(provider.Newest())
	}
}

// The body of a slow caller is there before a connection is made. What was read is
// still there for other handlers where nothing was sent.
func TestShortcutReadsBodiesFirst(t *testing.T) {
	address := freeAddress(t)
	i := newInstance(t)
	i.config = freeAddress(t)
	def, block := shortRealm("http://" + address)
	site := ""
	for _, way := range []string{"off", "on"} {
		site += "handle /" + way + "/* {\nroute {\ntokens_test_body\n" + fmt.Sprintf(strings.Replace(block, "/p/", "/"+way+"/", 1), "shortcut "+way) + "\n}\n}\n"
	}
	i.load(def, site)
	send := func(way string, before func()) (a answer, left string, err error) {
		t.Helper()
		watchedBody.Lock()
		watchedBody.before = before
		watchedBody.Unlock()
		a = i.do(http.MethodPost, "http://"+i.host+"/"+way+"/x", "body")
		watchedBody.Lock()
		defer watchedBody.Unlock()
		return a, watchedBody.left, watchedBody.err
	}
	for _, way := range []string{"off", "on"} {
		if a, left, err := send(way, nil); a.StatusCode != http.StatusBadGateway || left != "body" || err != nil {
			t.Errorf("%s: %s, a handler behind it reads %q, %v", way, a.Status, left, err)
		}
	}
	var api *scripted
	a, left, err := send("on", func() {
		api = startScriptedAt(t, address, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	})
	if a.body != "ok" || left != "" || !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Fatalf("%s %s, a handler behind it reads %q, %v", a.Status, a.body, left, err)
	}
	if seen := api.seen(); len(seen) != 1 || !strings.HasSuffix(seen[0], "\r\n\r\nbody") {
		t.Errorf("the API got %q", seen)
	}
}

// startScriptedAt is startScripted at an address, with an answer.
func startScriptedAt(t *testing.T, address, answer string) *scripted {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
	}
	s := &scripted{Listener: l, answer: []string{answer}, closes: true}
	t.Cleanup(func() { _ = l.Close() })
	go s.accept()
	return s
}

// slowBody is a body that comes to its end when a deadline has it.
type slowBody struct{ ended chan struct{} }

var errDeadline = errors.New("deadline")

func (s slowBody) Read(p []byte) (int, error) {
	<-s.ended
	return copy(p, "bo"), errDeadline
}

func (slowBody) Close() error { return nil }

// deadlines is what a caller's answer goes to, with the deadline of his request.
type deadlines struct {
	http.ResponseWriter
	body slowBody
}

func (d deadlines) SetReadDeadline(at time.Time) error {
	if !at.After(time.Now()) {
		close(d.body.ended)
	}
	return nil
}

// Nobody waits for the body of a client that was revoked.
func TestShortcutBodyOfRevokedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, revoke := newPassage(t)
		defer p.end()
		body := slowBody{make(chan struct{})}
		r := (&http.Request{Body: body, ContentLength: 4}).WithContext(p)
		time.AfterFunc(time.Minute, revoke)
		var b bodyAhead
		b.read(deadlines{body: body}, r, p)
		if !isRevoked(p) {
			t.Error("it did not wait")
		}
		if got, err := io.ReadAll(&b); string(got) != "bo" || !errors.Is(err, errDeadline) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// shortWriter takes a byte of each piece.
type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 1, nil }

// The errors of a body that is not copied to its end say on which side that was.
func TestCopyBody(t *testing.T) {
	if err := copyBody(io.Discard, slowBody{closedChannel()}); !errors.Is(err, errDeadline) || err.Error() != "reading: deadline" {
		t.Error(err)
	}
	_, w := io.Pipe()
	_ = w.CloseWithError(errDeadline)
	if err := copyBody(w, strings.NewReader("body")); err == nil || !strings.HasPrefix(err.Error(), "writing: ") {
		t.Error(err)
	}
	if err := copyBody(shortWriter{}, strings.NewReader("body")); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Options of the transport that are not known to the short way lead to the usual one.
func TestShortcutKnowsOptions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *reverseproxy.HTTPTransport)
		want   bool
	}{
		"none":             {func(*reverseproxy.HTTPTransport) {}, true},
		"TLS":              {func(h *reverseproxy.HTTPTransport) { h.TLS = &reverseproxy.TLSConfig{ServerName: "x"} }, true},
		"server name":      {func(h *reverseproxy.HTTPTransport) { h.TLS = &reverseproxy.TLSConfig{ServerName: "{x}"} }, false},
		"renegotiation":    {func(h *reverseproxy.HTTPTransport) { h.TLS = &reverseproxy.TLSConfig{Renegotiation: "once"} }, false},
		"versions":         {func(h *reverseproxy.HTTPTransport) { h.Versions = []string{"1.1", "2"} }, true},
		"h2c":              {func(h *reverseproxy.HTTPTransport) { h.Versions = []string{"h2c"} }, false},
		"timeouts":         {func(h *reverseproxy.HTTPTransport) { h.DialTimeout = 1 }, true},
		"unknown timeouts": {func(h *reverseproxy.HTTPTransport) { h.ResponseHeaderTimeout = 1 }, false},
	} {
		var h reverseproxy.HTTPTransport
		if c.change(&h); hasCommonOptions(h) != c.want {
			t.Errorf("%s: common %v", name, !c.want)
		}
	}
}

// lateConn takes its time to be closed.
type lateConn struct {
	net.Conn
	may chan struct{}
}

func (l lateConn) Close() error {
	<-l.may
	return l.Conn.Close()
}

// Nobody waits for the connections of a transport that is given up.
func TestTransportIsGivenUpAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		may := make(chan struct{})
		oldest := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				_, _ = http.ReadRequest(bufio.NewReader(far))
				_, _ = io.WriteString(far, plainAnswer[0])
			}()
			return lateConn{near, may}, nil
		}}
		resp, err := oldest.RoundTrip(httptest.NewRequest(http.MethodGet, "http://api.example/", nil))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		synctest.Wait() // the connection is idle
		w := &wayTransports{network: new(outbound.Network), template: new(http.Transport), byKey: make(map[wayKey]*wayTransport), uses: maxWays}
		for n := range maxWays {
			w.byKey[wayKey{id: [32]byte{1: byte(n)}}] = &wayTransport{transport: oldest, used: 1 + uint64(n)}
		}
		w.kept(nil, true)
		if got := len(w.byKey); got != maxWays {
			t.Errorf("%d transports", got)
		}
		close(may)
	})
}

// A body that a handler in front bounds is refused in the same way.
func TestShortcutOfBoundedBody(t *testing.T) {
	s, i := startScripted(t), newInstance(t)
	i.config = freeAddress(t)
	def, block := shortRealm("http://" + s.Addr().String())
	site := ""
	for _, way := range []string{"off", "on"} {
		site += "handle /" + way + "/* {\nroute {\nrequest_body {\nmax_size 2\n}\n" + fmt.Sprintf(strings.Replace(block, "/p/", "/"+way+"/", 1), "shortcut "+way) + "\n}\n}\n"
	}
	i.load(def, site)
	s.play(plainAnswer, false)
	for body, status := range map[string]int{"ok": http.StatusOK, "body": http.StatusRequestEntityTooLarge, strings.Repeat("body", 10000): http.StatusRequestEntityTooLarge} {
		var got [2]string
		for n, way := range []string{"off", "on"} {
			before := shortCount(t, i)
			a := i.do(http.MethodPost, "http://"+i.host+"/"+way+"/x", body)
			got[n] = fmt.Sprint(a.StatusCode, a.body)
			// What is refused before anything is sent has gone no way.
			if short := shortCount(t, i) - before; short != n && (status == http.StatusOK || short > 0) {
				t.Errorf("%s, %d bytes: %d requests took the short way", way, len(body), short)
			}
			if a.StatusCode != status {
				t.Errorf("%s, %d bytes: %s, want %d", way, len(body), a.Status, status)
			}
		}
		if got[0] != got[1] {
			t.Errorf("%d bytes: by reverse_proxy %s, by the short way %s", len(body), got[0], got[1])
		}
	}
}

// A client that is revoked within its body is answered at once, as by reverse_proxy
// when the body is there. The API gets nothing.
func TestShortcutRevokedWithinItsBody(t *testing.T) {
	s, i := startScripted(t), newInstance(t)
	i.config = freeAddress(t)
	def, block := shortRealm("http://" + s.Addr().String())
	i.load(def, "route {\ntokens_test_body\n"+fmt.Sprintf(block, "")+"\n}")
	var made struct{ Key string }
	body := i.must(http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["q"]}]}`)
	if err := json.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	watchedBody.Lock()
	watchedBody.before = func() { close(reading) }
	watchedBody.Unlock()
	answered := make(chan string, 1)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", i.host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /p/x HTTP/1.1\r\nHost: "+i.host+"\r\nAuthorization: Bearer "+made.Key+"\r\nContent-Length: 4\r\n\r\nbo")
	go func() {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		answered <- line
	}()
	await(t, "the reading", reading)
	i.must(http.MethodDelete, "/api/client/app", "")
	select {
	case line := <-answered:
		if !strings.HasPrefix(line, "HTTP/1.1 499 ") {
			t.Error(line)
		}
	case <-time.After(patience):
		t.Error("no answer")
	}
	if seen := s.seen(); len(seen) > 0 {
		t.Errorf("the API got %q", seen)
	}
}

// slowDeadline is a ResponseWriter whose read deadline takes its time.
type slowDeadline struct {
	http.ResponseWriter
	begun, goOn chan struct{}
	isSet       atomic.Bool
}

func (s *slowDeadline) SetReadDeadline(time.Time) error {
	close(s.begun)
	<-s.goOn
	s.isSet.Store(true)
	return nil
}

// A deadline by which a revoked client's body ends does not come to the next request of
// its connection.
func TestDeadlineEndsWithItsBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &slowDeadline{begun: make(chan struct{}), goOn: make(chan struct{})}
		from, to := io.Pipe()
		r := &http.Request{Body: from, ContentLength: 4}
		p := &passage{came: t.Context(), isOver: true} // it has ended
		wasRead := make(chan struct{})
		go func() {
			defer close(wasRead)
			new(bodyAhead).read(w, r, p)
			if !w.isSet.Load() {
				t.Error("the deadline comes after the body")
			}
		}()
		<-w.begun
		_, _ = io.WriteString(to, "body") // it was under way
		synctest.Wait()
		close(w.goOn)
		<-wasRead
	})
}
