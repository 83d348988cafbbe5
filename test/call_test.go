package test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// client makes the calls of the tests. It follows no redirects and keeps no
// connection to a node that was killed.
var client = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// try sends a GET; status 0 means that no answer came.
func (n *node) try(url string) (int, []byte) {
	return call(n.t.Context(), http.MethodGet, url, nil)
}

// call sends a request, with a JSON body where one is given.
func call(ctx context.Context, method, url string, body []byte) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return send(req)
}

// send returns the status and the body of the answer; status 0 means that none
// came.
func send(req *http.Request) (int, []byte) { return sendBy(client, req) }

func sendBy(client *http.Client, req *http.Request) (int, []byte) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, answer
}

// get sends a GET that must be answered with the status.
func (n *node) get(url string, status int) []byte {
	n.t.Helper()
	got, body := n.try(url)
	if got != status {
		n.t.Fatalf("GET %s: got %d, want %d: %s", url, got, status, body)
	}
	return body
}

// post sends a document to the admin API, which must accept it.
func (n *node) post(path string, document any) []byte {
	n.t.Helper()
	var status int
	var answer []byte
	// A store on a busy machine may not be open yet, or be slow.
	eventually(n.t, "the store answers", func() bool {
		status, answer = n.tryPost(path, document)
		return status != http.StatusServiceUnavailable || !bytes.Contains(answer, []byte(`"store_unavailable"`))
	})
	if status != http.StatusOK {
		n.t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	return answer
}

func (n *node) tryPost(path string, document any) (int, []byte) {
	body, err := json.Marshal(document)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return call(n.t.Context(), http.MethodPost, n.admin+path, body)
}

// tokenAnswer is the answer of GET /api/token.
type tokenAnswer struct {
	Token     string `json:"token"`
	ExpiresIn int64  `json:"expires_in"` // milliseconds
	Source    string `json:"source"`
}

// token asks for a token, which must be given.
func (n *node) token(realm, key string) tokenAnswer {
	n.t.Helper()
	return decode[tokenAnswer](n.t, n.get(n.admin+"/api/token?realm="+url.QueryEscape(realm)+"&key="+url.QueryEscape(key), http.StatusOK))
}

func decode[T any](t testing.TB, document []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(document, &v); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return v
}

// curl runs the real curl, and returns the status and the body.
func curl(t *testing.T, args ...string) (int, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"-q", "--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"}, args...)
	out, err := exec.CommandContext(ctx, "curl", args...).Output() // #nosec G204 -- a test's own words
	if err != nil {
		t.Fatalf("curl: %v", err)
	}
	cut := bytes.LastIndexByte(out, '\n')
	status, err := strconv.Atoi(string(out[cut+1:]))
	if err != nil {
		t.Fatalf("curl printed %s", out)
	}
	return status, out[:cut]
}

// keepsSecret checks, when the test ends, that no token of the provider and
// none of the given values stands in the node's log.
func (n *node) keepsSecret(p *fakeprovider.Provider, values ...string) {
	n.neverLogs(func() []string { return append(p.Issued(), values...) })
}

// neverLogs checks, when the test ends, that none of the values stands in the
// node's log, which is written at level debug.
func (n *node) neverLogs(values func() []string) {
	n.t.Cleanup(func() {
		log := n.log()
		if !bytes.Contains(log, []byte("upstream roundtrip")) {
			n.t.Error("the log is not written at level debug: it proves nothing")
		}
		for _, value := range values() {
			if bytes.Contains(log, []byte(value)) {
				n.t.Errorf("%.4s... stands in the log", value)
			}
		}
	})
}

// within is a context that ends with patience.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
