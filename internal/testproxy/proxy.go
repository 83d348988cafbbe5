// Package testproxy is a strict http, https or socks5 proxy for tests. It writes down
// what it was asked for, and every byte that passes.
package testproxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// Options say what a proxy is like.
type Options struct {
	// SOCKS makes it a SOCKS5 proxy, in place of an HTTP one.
	SOCKS bool
	// TLS is that of an https proxy.
	TLS *tls.Config
	// User and Password are asked for, unless both are empty.
	User, Password string
	// Names are what the proxy resolves itself, to "ip:port", by "host:port". It knows
	// no other names.
	Names map[string]string
	// Refuse, where it is not 0, answers every request: a status of HTTP, or a reply
	// of SOCKS5.
	Refuse int
	// RefuseFirst is Refuse for as many requests.
	RefuseFirst int
}

// Proxy is a proxy that runs.
type Proxy struct {
	// Addr is its host:port.
	Addr string

	options  Options
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	asked []string
	seen  bytes.Buffer
	conns map[net.Conn]bool
}

// Start starts a proxy on a loopback address, until the test ends.
func Start(tb testing.TB, o Options) *Proxy {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), options: o, listener: listener, conns: make(map[net.Conn]bool)}
	p.work.Go(p.serve)
	tb.Cleanup(p.Stop)
	return p
}

// Stop ends the proxy and all of its connections.
func (p *Proxy) Stop() {
	_ = p.listener.Close()
	p.mu.Lock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// Asked are the targets that the proxy was asked for, host:port.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// Saw reports whether a text was among the bytes that passed, or that it was sent.
func (p *Proxy) Saw(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.seen.Bytes(), []byte(text))
}

func (p *Proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.track(conn) {
			return
		}
		p.work.Go(func() {
			defer p.forget(conn)
			served := net.Conn(&tap{conn, p})
			if p.options.TLS != nil {
				served = &tap{tls.Server(conn, p.options.TLS), p}
			}
			_ = p.handle(served)
		})
	}
}

func (p *Proxy) track(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
	return true
}

func (p *Proxy) forget(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// tap writes down what the client of the proxy sends.
type tap struct {
	net.Conn
	p *Proxy
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.p.mu.Lock()
	t.p.seen.Write(b[:n])
	t.p.mu.Unlock()
	return n, err
}

func (p *Proxy) handle(conn net.Conn) error {
	from := bufio.NewReader(conn)
	if p.options.SOCKS {
		return p.handleSOCKS(conn, from)
	}
	return p.handleHTTP(conn, from)
}

// refusal is what a request is answered with; 0 for none.
func (p *Proxy) refusal(target string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, target)
	if p.options.RefuseFirst > 0 && len(p.asked) > p.options.RefuseFirst {
		return 0
	}
	return p.options.Refuse
}

// dial connects to a target: an address, or a name that it knows.
func (p *Proxy) dial(target string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		known, ok := p.options.Names[target]
		if !ok {
			return nil, errors.New("unknown name")
		}
		target = known
	}
	return net.Dial("tcp", target) //nolint:noctx // Stop closes it
}

// handleHTTP serves CONNECT and nothing else.
func (p *Proxy) handleHTTP(conn net.Conn, from *bufio.Reader) error {
	req, err := http.ReadRequest(from)
	if err != nil {
		return err
	}
	answer := func(status int) error {
		_, err := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status))
		return err
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.options.User+":"+p.options.Password))
	switch {
	case req.Method != http.MethodConnect || req.URL.Host != req.Host || len(req.Header.Values("Authorization")) > 0:
		_ = p.refusal(req.Method + " " + req.RequestURI)
		return answer(http.StatusMethodNotAllowed)
	case p.options.User+p.options.Password != "" && req.Header.Get("Proxy-Authorization") != want:
		return answer(http.StatusProxyAuthRequired)
	}
	if refuse := p.refusal(req.Host); refuse != 0 {
		return answer(refuse)
	}
	to, err := p.dial(req.Host)
	if err != nil {
		return answer(http.StatusBadGateway)
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return err
	}
	return p.pass(conn, from, to)
}

// handleSOCKS serves CONNECT (RFC 1928), with a user and a password (RFC 1929).
func (p *Proxy) handleSOCKS(conn net.Conn, from *bufio.Reader) error {
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(from, b); err != nil {
			return make([]byte, n)
		}
		return b
	}
	head := read(2)
	methods := read(int(head[1]))
	method := byte(0)
	if p.options.User != "" {
		method = 2
	}
	if head[0] != 5 || !slices.Contains(methods, method) {
		_, err := conn.Write([]byte{5, 0xff})
		return err
	}
	if _, err := conn.Write([]byte{5, method}); err != nil {
		return err
	}
	if method == 2 {
		user := read(int(read(2)[1]))
		password := read(int(read(1)[0]))
		isGood := string(user) == p.options.User && string(password) == p.options.Password
		if _, err := conn.Write([]byte{1, map[bool]byte{false: 1}[isGood]}); err != nil || !isGood {
			return err
		}
	}
	var host string
	switch head := read(4); head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	}
	target := net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2)))))
	answer := func(reply byte) error {
		_, err := conn.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0})
		return err
	}
	if refuse := p.refusal(target); refuse != 0 {
		return answer(byte(refuse))
	}
	to, err := p.dial(target)
	if err != nil {
		return answer(4)
	}
	if err := answer(0); err != nil {
		return err
	}
	return p.pass(conn, from, to)
}

// pass passes bytes in both directions until one side ends.
func (p *Proxy) pass(conn net.Conn, from io.Reader, to net.Conn) error {
	defer func() { _ = to.Close() }()
	p.work.Go(func() {
		_, _ = io.Copy(conn, to)
		_ = conn.Close()
	})
	_, err := io.Copy(to, from)
	return err
}
