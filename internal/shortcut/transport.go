// Package shortcut makes the round trips of common requests by HTTP/1.1 in the
// goroutine that asks for them: it writes the request to a connection that was used
// before, and reads the answer from it. An http.Transport has two goroutines for each
// connection, and the switches between them cost more than the rest of the request.
//
// Whatever is not common is left to the http.Transport that a Transport is made of.
// That one also has the settings, and makes the connections. What is sent, what comes
// back, and when a request is sent again is the same as with it; tests compare them.
package shortcut

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Way tells how a request was sent.
type Way uint8

// Short is the way of this package; each of the others says why an http.Transport
// sent the request.
const (
	Short      Way = iota
	HTTP2          // the upstream speaks HTTP/2, or it is not known yet whether it does
	Expect         // the caller waits for 100 Continue
	OpenBody       // the length of the body is not known
	Unusual        // something in the request is rare, or not allowed
	Unpollable     // the connection cannot be asked whether something has come
	waysEnd
)

// Ways is how many ways there are.
const Ways = int(waysEnd)

// String is the way as metrics name it.
func (w Way) String() string {
	return [Ways]string{"short", "http2", "expect", "open_body", "unusual", "unpollable"}[w]
}

// Transport is an http.RoundTripper for common requests.
type Transport struct {
	rt    *http.Transport
	taken func(*http.Request, Way)
	pool  pool
	// cannotPoll: a connection could not be polled, and so the others cannot.
	cannotPoll atomic.Bool

	mu    sync.Mutex
	hosts map[string]host // https
}

// host is what is known of an https host.
type host struct {
	isPlain bool // its last connection chose HTTP/1.1
	// turned is when it chose HTTP/2 for a connection that was of no use here then.
	turned time.Time
}

const (
	// maxHosts is how many https hosts are remembered.
	maxHosts = 1024
	// mixedTime is how long a host counts as one of HTTP/2 after it has turned to that.
	// Behind one name may be servers of both kinds, and a handshake would be thrown away
	// for each turn.
	mixedTime = time.Minute
)

// connection is what the connections of the http.Transport have to be: HTTP/1.1, and
// able to tell whether something has come that nobody asked for.
type connection interface {
	net.Conn
	CanPoll() bool
	IsQuiet() bool
}

// Suits reports whether a Transport knows all settings of an http.Transport.
func Suits(rt *http.Transport) bool {
	http1 := rt.Protocols == nil || rt.Protocols.HTTP1() && !rt.Protocols.UnencryptedHTTP2()
	return http1 && rt.Proxy == nil && !rt.DisableKeepAlives && rt.MaxIdleConnsPerHost >= 0 && rt.MaxConnsPerHost == 0 &&
		rt.ResponseHeaderTimeout == 0 && rt.WriteBufferSize == 0 && rt.ReadBufferSize == 0 &&
		rt.DialContext != nil && rt.DialTLSContext != nil
}

// New returns a Transport with the settings and the dial functions of an
// http.Transport that suits it. taken is told the way of each round trip.
func New(rt *http.Transport, taken func(*http.Request, Way)) *Transport {
	t := &Transport{rt: rt, taken: taken, hosts: make(map[string]host)}
	t.pool.init(rt)
	return t
}

// CloseIdleConnections closes the connections that are not in use, and each of the
// others when its answer ends.
func (t *Transport) CloseIdleConnections() {
	t.pool.close()
	t.rt.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	to := destination{req.URL.Scheme == "https", req.URL.Host}
	m, way := t.write(req, to)
	if way != Short {
		return t.pass(req, to, way)
	}
	resp, way, err := t.roundTrip(req, to, m)
	if m.isWhole { // who sends a longer one may not have ended
		m.putBack()
	}
	if way != Short {
		return t.pass(req, to, way)
	}
	t.taken(req, Short)
	return resp, err
}

// write writes the header of a request that takes the short way.
func (t *Transport) write(req *http.Request, to destination) (*message, Way) {
	switch {
	case t.cannotPoll.Load():
		return nil, Unpollable
	case to.secure && !t.isPlain(to.host):
		return nil, HTTP2
	}
	if way := wayOf(req); way != Short {
		return nil, way
	}
	m := newMessage()
	if !m.appendHead(req, t.wantsGzip(req)) {
		m.putBack()
		return nil, Unusual
	}
	return m, Short
}

// roundTrip sends a request. With another way than Short nothing of it is gone.
func (t *Transport) roundTrip(req *http.Request, to destination, m *message) (*http.Response, Way, error) {
	for {
		if ctx := req.Context(); ctx.Err() != nil {
			closeBody(req)
			return nil, Short, context.Cause(ctx)
		}
		c := t.pool.take(to)
		if c == nil {
			var way Way
			var err error
			if c, way, err = t.dial(req, to); way != Short || err != nil {
				if way != Short {
					m.giveBody(req)
				} else {
					closeBody(req)
				}
				return nil, way, err
			}
		}
		if c.reused && !c.net.IsQuiet() {
			c.close()
			continue
		}
		didRead, err := m.readBody(req)
		switch {
		case err != nil || req.Context().Err() != nil: // nothing was sent
			t.pool.put(c)
			closeBody(req)
			return nil, Short, errorOf(req, err)
		case didRead && !c.net.IsQuiet(): // the upstream did not wait for it
			c.close()
			continue
		}
		resp, mayRepeat, err := c.exchange(req, m)
		if err != nil && mayRepeat {
			continue
		}
		return resp, Short, err
	}
}

// pass has the http.Transport send a request. The first common request to an https
// host shows which protocol that chooses.
func (t *Transport) pass(req *http.Request, to destination, way Way) (*http.Response, error) {
	t.taken(req, way)
	resp, err := t.rt.RoundTrip(req)
	if err == nil && way == HTTP2 && resp.ProtoMajor == 1 && wayOf(req) == Short {
		t.learn(to.host, true)
	}
	return resp, err
}

// dial makes a connection. With another way than Short there is none that is of use
// here: the host chose HTTP/2.
func (t *Transport) dial(req *http.Request, to destination) (*conn, Way, error) {
	dial := t.rt.DialContext
	if to.secure {
		dial = t.rt.DialTLSContext
	}
	c, err := dial(req.Context(), "tcp", to.address())
	if err != nil {
		return nil, Short, err
	}
	usable, ok := c.(connection)
	switch {
	case ok && usable.CanPoll():
		return newConn(t, to, usable), Short, nil
	case ok:
		_ = c.Close()
		t.cannotPoll.Store(true)
		return nil, Unpollable, nil
	}
	_ = c.Close()
	t.learn(to.host, false)
	return nil, HTTP2, nil
}

func (t *Transport) isPlain(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hosts[name].isPlain
}

// learn notes whether an https host chose HTTP/1.1. Where there are too many, all
// show it once more.
func (t *Transport) learn(name string, isPlain bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.hosts[name]
	if !ok && len(t.hosts) >= maxHosts {
		clear(t.hosts)
	}
	switch now := time.Now(); {
	case !isPlain:
		t.hosts[name] = host{turned: now}
	case known.turned.IsZero() || now.Sub(known.turned) >= mixedTime:
		t.hosts[name] = host{isPlain: true}
	}
}

// wantsGzip reports whether the upstream is asked for gzip, which is unpacked here.
func (t *Transport) wantsGzip(req *http.Request) bool {
	return !t.rt.DisableCompression && req.Method != http.MethodHead &&
		first(req.Header["Accept-Encoding"]) == "" && first(req.Header["Range"]) == ""
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// errorOf is the error of a request: that of its context, if that has ended.
func errorOf(req *http.Request, err error) error {
	if ctx := req.Context(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

var _ http.RoundTripper = (*Transport)(nil)
