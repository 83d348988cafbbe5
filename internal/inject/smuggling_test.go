package inject

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// What the proxy takes for one request, the upstream takes for one, and
// none of the caller's bytes becomes a request line of a hop that carries a
// token.
func TestProxySmuggling(t *testing.T) {
	const inner = "GET /smuggled?access_token=evil HTTP/1.1\r\nHost: x\r\n\r\n"
	const begin = "POST /outer HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n"
	for what, raw := range map[string]string{
		"two lengths":          begin + "Content-Length: 0\r\nContent-Length: 56\r\n\r\n" + inner,
		"length and chunks":    begin + "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"chunks twice":         begin + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + inner,
		"chunks in disguise":   begin + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + inner,
		"chunks with a tab":    begin + "Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner,
		"an odd chunk size":    begin + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + inner,
		"a chunk extension":    begin + "Transfer-Encoding: chunked\r\n\r\n0;\n" + inner + "\r\n\r\n",
		"a folded field":       begin + "X: y\r\n " + inner,
		"a bare line feed":     begin + "X: y\n\n" + inner,
		"a signed length":      begin + "Content-Length: +0\r\n\r\n" + inner,
		"a line in the target": "GET /outer\rX HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n" + inner,
		"a blank in the query": "GET /outer?a HTTP/1.1&b HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n" + inner,
	} {
		t.Run(what, func(t *testing.T) {
			var taken, arrived, smuggled atomic.Int64
			p := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {
				arrived.Add(1)
				if strings.Contains(r.RequestURI, "evil") {
					smuggled.Add(1)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				checkQuery(t, r.URL.RawQuery)
			}, inQuery)
			handler := p.front.Config.Handler
			p.front = start(t, false, func(w http.ResponseWriter, r *http.Request) {
				taken.Add(1)
				handler.ServeHTTP(w, r)
			})
			c, answers := p.dial(t)
			_, err := io.WriteString(c, raw)
			noError(t, err)
			_, _ = io.Copy(io.Discard, answers) // to the end of the connection, or its reset
			equal(t, 0, smuggled.Load(), "smuggled")
			if arrived.Load() > taken.Load() {
				t.Errorf("%d requests became %d", taken.Load(), arrived.Load())
			}
		})
	}
}
