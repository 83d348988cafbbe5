package adminapi

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
)

// A line is with the caller before the next account is done.
func TestLinesAsTheyHappen(t *testing.T) {
	p, c := newPuppet(t)
	p.keys = []string{"a", "b"}
	read := make(chan struct{})
	p.onRenew = func(ctx context.Context, key string) error {
		if key == "b" {
			select {
			case <-read:
			case <-ctx.Done():
			}
		}
		return nil
	}
	server := httptest.NewServer(c.h)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // where no line comes, this one fails and the others go on
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/jd-account/init-all-token", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", typeLines)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var keys []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var result account.Result
		if err := json.Unmarshal(lines.Bytes(), &result); err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, result.Key); len(keys) == 1 {
			close(read)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", ""}, keys); diff != "" {
		t.Error(diff)
	}
}

// A caller that does not read, and does not hang up, holds nobody for ever.
func TestLinesThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newPuppet(t)
		p.keys = slices.Repeat([]string{"k"}, 100)
		ours, theirs := net.Pipe() // which holds nothing that is not read
		gone := make(chan struct{})
		server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(gone)
			c.h.ServeHTTP(w, r)
		})}
		go func() { _ = server.Serve(&oneConn{conns: []net.Conn{theirs}}) }()
		_, err := io.WriteString(ours, "POST /jd-account/init-all-token HTTP/1.1\r\nHost: x\r\nAccept: "+typeLines+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		<-gone
		_ = ours.Close()
	})
}

// oneConn is a listener that has the connections already.
type oneConn struct{ conns []net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		return nil, net.ErrClosed
	}
	conn := l.conns[0]
	l.conns = l.conns[1:]
	return conn, nil
}

func (*oneConn) Close() error   { return nil }
func (*oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// What breaks after the first line must not look whole.
func TestBrokenLines(t *testing.T) {
	p, c := newPuppet(t)
	p.keys = []string{"a", "b"}
	ctx, leave := context.WithCancel(t.Context())
	p.onRenew = func(_ context.Context, key string) error {
		if key == "b" {
			leave()
		}
		return nil
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/jd-account/init-all-token", nil)
	r.Header.Set("Accept", typeLines)
	w := httptest.NewRecorder()
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // it is the value itself that net/http looks for
			t.Errorf("panic: %v", v)
		}
		if strings.Contains(w.Body.String(), "total") || strings.Contains(w.Body.String(), "internal") {
			t.Error(w.Body)
		}
	}()
	c.h.ServeHTTP(w, r)
}
