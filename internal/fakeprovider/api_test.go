package fakeprovider_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestDeadAnswersAreCompressed(t *testing.T) {
	decoders := map[fakeprovider.Encoding]func(io.Reader) (io.Reader, error){
		fakeprovider.Gzip:    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		fakeprovider.Deflate: func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		fakeprovider.Zstd:    func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderConcurrency(1)) },
	}
	b := newBench(t, fakeprovider.Options{Style: fakeprovider.WeChat})
	live := b.get(wechatAsk).text("access_token")
	for encoding, decoder := range decoders {
		b.Set(fakeprovider.Faults{API: fakeprovider.APIFaults{Encoding: encoding}})
		req := b.request(http.MethodGet, "/cgi-bin/x?access_token=never", nil)
		req.Header.Set("Accept-Encoding", "identity")
		a := b.send(req)
		if got := a.header.Get("Content-Encoding"); got != string(encoding) {
			t.Fatalf("%s: Content-Encoding is %q", encoding, got)
		}
		r, err := decoder(bytes.NewReader(a.raw))
		if err != nil {
			t.Fatalf("%s: %v", encoding, err)
		}
		if body, err := io.ReadAll(r); err != nil || !bytes.Contains(body, []byte(`"errcode":40014`)) {
			t.Errorf("%s: %q, %v", encoding, body, err)
		}
		if a := b.get("/cgi-bin/x?access_token=" + live); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: an answer to a live token is compressed", encoding)
		}
	}
}

func TestAPIStatusDoesNotLookAtTheToken(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	b.Set(fakeprovider.Faults{API: fakeprovider.APIFaults{Status: http.StatusBadGateway}})
	if a := b.bearer("/x", b.fetch().text("access_token")); a.status != http.StatusBadGateway {
		t.Errorf("HTTP %d", a.status)
	}
	if b.bearer("/x", "never"); b.Calls() != 0 || len(b.DeadCalls()) != 0 {
		t.Errorf("%d calls, %d dead", b.Calls(), len(b.DeadCalls()))
	}
}

func TestAPIHangsUpAfterTheCallWasActedUpon(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	token := b.fetch().text("access_token")
	b.Set(fakeprovider.Faults{API: fakeprovider.APIFaults{HangUp: true}})
	req := b.request(http.MethodPost, "/orders", []byte("{}"))
	req.Header.Set("Authorization", "Bearer "+token)
	if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
		_ = resp.Body.Close()
		t.Error("there is an answer")
	}
	if b.CallsWith(token) != 1 {
		t.Errorf("%d calls", b.CallsWith(token))
	}
}

// A call is under way when its token dies.
func TestAPILatencyIsBeforeTheLookAtTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fakeprovider.New(fakeprovider.Options{Credentials: map[string]string{"app": "s3cret"}})
		token := p.Steal("app")
		p.RevokeAt(token, time.Now().Add(time.Second))
		for _, c := range []struct {
			latency time.Duration
			status  int
		}{{500 * time.Millisecond, http.StatusOK}, {time.Second, http.StatusUnauthorized}} {
			p.Set(fakeprovider.Faults{API: fakeprovider.APIFaults{Latency: c.latency}})
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/me", nil)
			req.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			p.ServeHTTP(w, req)
			if w.Code != c.status {
				t.Errorf("after %v: HTTP %d", c.latency, w.Code)
			}
		}
	})
}
