package broker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"time"
)

// fate is what becomes of a request at the provider.
type fate uint8

const (
	answered  fate = iota
	unheard        // it waits, and is not decided
	undecided      // 503: the provider did nothing
	withheld       // it is decided, and the answer waits
	cut            // it is decided, and the connection breaks
	halved         // it is decided, and breaks in the midst of the answer
	dropped        // the connection breaks before it is decided
)

var fates = []fate{answered, unheard, undecided, withheld, cut, halved, dropped}

func (f fate) String() string {
	return [...]string{"answered", "unheard", "undecided", "withheld", "cut", "halved", "dropped"}[f]
}

// request is one token request at the provider.
type request struct {
	node    *modelNode
	caller  *callerConn
	app     string
	refresh string
	code    string
	secret  string         // that the request holds
	asks    *authorization // what is asked for at the authorization endpoint; nil elsewhere
	at      time.Time
	version int64         // of the secret, see model.changed
	fate    chan fate     // what becomes of a request that waits
	gone    chan struct{} // the caller has gone away
	free    bool          // made without a claim, because none can be written
	waits   bool

	decided   bool
	status    int    // of the answer
	issue     *issue // what was issued; nil for nothing
	delivered bool   // the answer was read to its end
	refused   bool   // and it says that nothing was done
	broken    bool   // the provider has nothing more to say
}

// dial connects a node with the provider, within memory: the clock of the
// bubble goes on while somebody waits for it.
func (n *modelNode) dial(_ context.Context, _, _ string) (net.Conn, error) {
	m := n.model
	m.mu.Lock()
	defer m.mu.Unlock()
	if !n.up || m.providerDown || m.broken != "" { // in a broken world nothing goes on, or it might never rest
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	n.conns = append(n.conns, near)
	conn := &callerConn{Conn: near}
	go m.serve(conn, n, far) //nolint:contextcheck // what the provider does belongs to no caller
	return conn, nil
}

// callerConn is the caller's end of a connection. It knows at once that the
// caller has closed it, where the provider has to be told.
type callerConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *callerConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// serve is the provider's end of a connection.
func (m *model) serve(caller *callerConn, n *modelNode, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	form, _ := url.ParseQuery(string(body))
	r := &request{
		node: n, caller: caller, app: form.Get("client_id"), refresh: form.Get("refresh_token"), code: form.Get("code"),
		secret: form.Get("client_secret"), at: time.Now(), fate: make(chan fate), gone: make(chan struct{}),
	}
	if req.URL.Path == modelDoor {
		m.asked(r, req.URL.Query())
	}
	go func() {
		defer close(r.gone)
		_, _ = conn.Read(make([]byte, 1)) // ends when the caller goes away
	}()
	f := m.arrived(r)
	defer m.left(r)
	if f = m.wait(r, f, unheard); f == unheard || f == dropped {
		return
	}
	if f == undecided {
		r.broken = true
		_ = (&http.Response{StatusCode: http.StatusServiceUnavailable, ProtoMajor: 1, ProtoMinor: 1, Close: true}).Write(conn)
		return
	}
	recorder := httptest.NewRecorder()
	req.Body = io.NopCloser(bytes.NewReader(body))
	m.decide(r, func() int { m.answer(r, recorder, req); return recorder.Code })
	m.callFirst(r)
	f = m.wait(r, f, withheld)
	var answer bytes.Buffer
	result := recorder.Result()
	result.Close, result.ContentLength = true, int64(recorder.Body.Len())
	_ = result.Write(&answer)
	if f == halved && recorder.Body.Len() == 0 {
		f = answered // a redirect has no half
	}
	switch f {
	case cut, withheld, dropped:
	case halved:
		_, _ = conn.Write(answer.Bytes()[:answer.Len()-recorder.Body.Len()/2])
		m.begunToAnswer(r)
	default:
		// A pipe has no buffer: what was written was read.
		_, err := conn.Write(answer.Bytes())
		m.delivered(r, err == nil)
		m.callLater(r)
	}
}

// wait keeps a request whose fate is to wait until it gets another one, or its
// caller is gone.
func (m *model) wait(r *request, f, waiting fate) fate {
	if f != waiting {
		return f
	}
	m.mu.Lock()
	r.waits = true
	m.mu.Unlock()
	select {
	case f = <-r.fate:
	case <-r.gone:
	}
	m.mu.Lock()
	r.waits = false
	m.mu.Unlock()
	return f
}
