package caddymodule

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// scrubToken has characters that JSON, URLs and base64 write in several ways.
const scrubToken = canary + `/scrub+"5"=\x`

// reflected is what an API says of the token that it got.
func reflected(r *http.Request) string {
	token := r.Header.Get("X-Access-Token")
	text, _ := json.Marshal(map[string]string{"token": token, "url": "https://a.example/?t=" + url.QueryEscape(token)})
	return strings.ReplaceAll(string(text), "/", `\/`) + " " + token + " " + base64.StdEncoding.EncodeToString([]byte("u:"+token)) + " end"
}

// reflecting answers in many ways, and always with the token.
func reflecting(w http.ResponseWriter, r *http.Request) {
	text := reflected(r)
	w.Header().Set("X-Range", r.Header.Get("Range"))
	switch path := r.URL.Path; path {
	case "/known":
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, text)
	case "/chunked":
		for i := range len(text) {
			_, _ = io.WriteString(w, text[i:i+1])
			_ = http.NewResponseController(w).Flush()
		}
	case "/range":
		w.Header().Set("Content-Type", "text/plain")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	case "/gzip", "/zstd":
		var out io.WriteCloser = gzip.NewWriter(w)
		if path == "/zstd" {
			out, _ = zstd.NewWriter(w)
		}
		w.Header().Set("Content-Encoding", path[1:])
		_, _ = io.WriteString(out, text)
		_ = out.Close()
	case "/br":
		w.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(w, text)
	case "/head":
		w.Header().Set("Content-Length", "12345")
	case "/304":
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	case "/close":
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(rw, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s", text)
		_ = rw.Flush()
		_ = conn.Close()
	}
}

// scrubbingInstance is Caddy with a realm that scrubs, and a client; both speak
// HTTP/2, as does the API, or none of them.
func scrubbingInstance(t *testing.T, h2 bool, api http.HandlerFunc) (*provider, *instance, *http.Client) {
	t.Helper()
	p, i := &provider{api: api}, newInstance(t)
	p.Server = httptest.NewUnstartedServer(p)
	p.EnableHTTP2 = h2
	p.StartTLS()
	t.Cleanup(p.Close)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	t.Setenv("TOKENS_TEST_SCRUB", scrubToken)
	realm := strings.Replace(p.tokenless("p", "{env.TOKENS_TEST_SCRUB}"), "grant static", "grant static\nscrub\nupgrade", 1)
	i.load(realm, `
		token_proxy {
			realm p
			key main
			transport token {
				tls_insecure_skip_verify
			}
		}`)
	return p, i, &http.Client{Transport: transport, Timeout: patience}
}

// bothProtocols runs a test over HTTP/1.1 and over HTTP/2.
func bothProtocols(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Run("HTTP1", func(t *testing.T) { test(t, false) })
	t.Run("HTTP2", func(t *testing.T) { test(t, true) })
}

// TestScrub: an API that sends the token back does not get it to the caller, however
// the answer comes.
func TestScrub(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		_, i, client := scrubbingInstance(t, h2, reflecting)
		paths := []string{"/known", "/chunked", "/range", "/gzip", "/zstd", "/br", "/head", "/304"}
		if !h2 {
			paths = append(paths, "/close")
		}
		for _, path := range paths {
			method := http.MethodGet
			if path == "/head" {
				method = http.MethodHead
			}
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+i.host+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "br, gzip, zstd")
			req.Header.Set("Range", "bytes=3-9")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = resp.Body
			switch resp.Header.Get("Content-Encoding") {
			case "gzip":
				body, err = gzip.NewReader(body)
			case "zstd":
				body, err = zstd.NewReader(body)
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			content, err := io.ReadAll(body)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
			_ = resp.Body.Close()
			checkScrubbed(t, path, resp, string(content))
		}
	})
}

// checkScrubbed checks an answer of reflecting.
func checkScrubbed(t *testing.T, path string, resp *http.Response, body string) {
	t.Helper()
	status, isText := http.StatusOK, true
	switch path {
	case "/br":
		status, isText = http.StatusBadGateway, false
	case "/304":
		status, isText = http.StatusNotModified, false
	case "/head":
		isText = false
		if resp.ContentLength != 12345 {
			t.Errorf("HEAD: a length of %d", resp.ContentLength)
		}
	case "/known":
		if resp.ContentLength < 0 || resp.ContentLength != int64(len(body)) {
			t.Errorf("%s: a length of %d", path, resp.ContentLength)
		}
	}
	if resp.StatusCode != status || resp.Header.Get("X-Range") != "" {
		t.Errorf("%s: %s, Range %q\n%s", path, resp.Status, resp.Header.Get("X-Range"), body)
	}
	if found := leaks(body); found != nil {
		t.Errorf("%s shows the token (%v):\n%s", path, found, body)
	}
	if isText && (!strings.HasPrefix(body, `{"token":"****`) || !strings.HasSuffix(body, " end")) {
		t.Errorf("%s:\n%s", path, body)
	}
	if tag := resp.Header.Get("ETag"); strings.HasPrefix(tag, `"`) {
		t.Errorf("%s: a strong ETag", path)
	}
}

// TestScrubEvents: an event arrives while the next one is not sent yet, also where
// it ends like the beginning of the token.
func TestScrubEvents(t *testing.T) {
	bothProtocols(t, func(t *testing.T, h2 bool) {
		for _, coding := range []string{"", "gzip"} {
			next := make(chan struct{})
			_, i, client := scrubbingInstance(t, h2, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				var out io.Writer = w
				packed := gzip.NewWriter(w)
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
					out = packed
				}
				token := r.Header.Get("X-Access-Token")
				for n := range 3 {
					_, _ = fmt.Fprintf(out, "data: %s\ndata: %d %s\n\n", token, n, token[:n+2])
					if coding != "" {
						_ = packed.Flush()
					}
					_ = http.NewResponseController(w).Flush()
					<-next
				}
			})
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+i.host+"/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body io.Reader = resp.Body
			if coding != "" {
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewScanner(body)
			for n := range 3 {
				for _, want := range []string{"data: " + strings.Repeat("*", len(scrubToken)), fmt.Sprintf("data: %d %s", n, scrubToken[:n+2]), ""} {
					if !lines.Scan() || lines.Text() != want {
						t.Fatalf("event %d: %q, want %q (%v)", n, lines.Text(), want, lines.Err())
					}
				}
				next <- struct{}{}
			}
			_ = resp.Body.Close()
		}
	})
}

// TestScrubRefusesUpgrades: the token does not leave for a connection that cannot be
// scrubbed, although the realm allows upgrades.
func TestScrubRefusesUpgrades(t *testing.T) {
	p, i, _ := scrubbingInstance(t, false, reflecting)
	got := i.raw("GET /ws HTTP/1.1\r\nHost: " + i.host + "\r\nConnection: close\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.Contains(got, "application/problem+json") || p.calls.Load() != 0 {
		t.Errorf("%d calls:\n%s", p.calls.Load(), got)
	}
}
