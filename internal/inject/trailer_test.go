package inject

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// harmfulTrailers are trailers by which a server that merges them into the
// header would frame, route or read the message in another way (RFC 9110 section
// 6.5.1), in spellings that some servers take for the same.
const harmfulTrailers = "Host: other.example\r\nContent-Length: 1\r\ncontent-length: 1\r\nTransfer-Encoding: chunked\r\n" +
	"Trailer: X-Other\r\nConnection: close\r\nKeep-Alive: 1\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: x\r\n" +
	"Content_Length: 1\r\nContent-Encoding: gzip\r\nContent-Type: text/x\r\nContent-Range: bytes 0-1/2\r\nExpect: 100-continue\r\n" +
	"X-Access-Token: evil\r\nx_access_token: evil\r\n"

// A request's trailers go through only if they were announced, so that the
// provider knew of them when it read the header, and none of them is harmful. Go
// refuses the announcement of some by itself.
func TestTrailersOfARawClient(t *testing.T) {
	got := make(chan http.Header, 1)
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- maps.Clone(r.Trailer)
		_, _ = io.WriteString(w, "ok")
	}, inCustom)
	for announced, want := range map[string][]string{
		"":                                      nil,
		"Trailer: X-Checksum\r\n":               {"X-Checksum"},
		"Trailer: x-checksum, Host, Expect\r\n": {"X-Checksum"},
	} {
		c, answers := p.dial(t)
		_, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: chunked\r\n%s\r\n"+
			"4\r\nbody\r\n0\r\nX-Checksum: fine\r\nX-Late: evil\r\n%s\r\n", announced, harmfulTrailers)
		noError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		noError(t, err)
		equal(t, "ok", read(t, resp).body, announced)
		equal(t, want, slices.Sorted(maps.Keys(<-got)), announced)
	}
}

// What is announced twice, for each attempt, is judged for each.
func TestTrailersUnannouncedInAReplay(t *testing.T) {
	got := make(chan http.Header, 2)
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- maps.Clone(r.Trailer)
		if r.Header.Get("X-Access-Token") != fresh {
			answers(401, "", "no")(w, r)
		}
	}, inCustom)
	p.healing(t, onStatus)
	c, answers := p.dial(t)
	_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n"+
		"4\r\nbody\r\n0\r\nX-Checksum: fine\r\nHost: other.example\r\nX-Late: evil\r\n\r\n")
	noError(t, err)
	resp, err := http.ReadResponse(answers, nil)
	noError(t, err)
	equal(t, http.StatusOK, read(t, resp).status, "status")
	for range 2 {
		equal(t, http.Header{"X-Checksum": {"fine"}}, <-got, "trailers")
	}
}

// An answer's trailers need no announcement: with HTTP/2 it is not usual. But
// none of them is harmful to a caller that merges them.
func TestTrailersOfARawUpstream(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		conn, out, err := w.(http.Hijacker).Hijack()
		noError(t, err)
		defer func() { _ = conn.Close() }()
		noError(t, writeTrailed(out.Writer))
	}, inQuery)
	got := p.do(t, p.request(t, http.MethodGet, "/", nil))
	equal(t, "body", got.body, "body")
	equal(t, []string{"X-Access-Token", "X-Checksum", "X_access_token"}, slices.Sorted(maps.Keys(got.trailer)), "trailers")
}

func writeTrailed(out *bufio.Writer) error {
	_, err := io.Copy(out, strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n"+
		"X-Checksum: fine\r\n"+harmfulTrailers+"Set-Cookie: session=1\r\n\r\n"))
	if err != nil {
		return err
	}
	return out.Flush()
}
