package inject

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func gzipped(t tester, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	noError(t, err)
	noError(t, w.Close())
	return b.String()
}

// zstdOf packs in the way of a server that does not know the length.
func zstdOf(t tester, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(8<<20))
	noError(t, err)
	_, err = io.WriteString(w, text)
	noError(t, err)
	noError(t, w.Flush())
	noError(t, w.Close())
	return b.String()
}

// sized fills a document up to so many bytes.
func sized(prefix string, size int) string {
	return prefix + `,"x":"` + strings.Repeat("x", size-len(prefix)-len(`,"x":""}`)) + `"}`
}

const deadHead = `{"errcode":40001`

// Which answers are dead, which are not, and which nobody can tell. Every
// answer comes to the caller byte by byte as it was, in each framing.
func TestJudge(t *testing.T) {
	const jsonType = "application/json"
	for _, c := range []struct {
		name         string
		status       int
		mediaType    string
		more         string // another header line
		body         string
		dead, worked bool
	}{
		{"dead", 200, jsonType, "", deadBody, true, false},
		{"dead, odd type", 200, "Application/JSON;charset=utf-8", "", deadBody, true, false},
		{"dead, suffix", 200, "application/vnd.api+json", "", deadBody, true, false},
		{"dead, text", 200, "text/plain; charset=utf-8", "", deadBody, true, false},
		{"dead, no type", 200, "", "", " \n" + deadBody, true, false},
		{"dead, mark", 200, jsonType, "", "\xef\xbb\xbf" + deadBody, true, false},
		{"dead, with an error", 500, jsonType, "", deadBody, true, false},
		{"dead, gzip", 200, jsonType, "Content-Encoding: gzip", gzipped(t, deadBody), true, false},
		{"dead, x-gzip", 200, jsonType, "Content-Encoding: X-GZIP", gzipped(t, deadBody), true, false},
		{"dead, zstd", 200, jsonType, "Content-Encoding: zstd", zstdOf(t, deadBody), true, false},
		{"dead, identity", 200, jsonType, "Content-Encoding: identity", deadBody, true, false},
		{"dead, at the bound", 200, jsonType, "", sized(deadHead, maxPeek), true, false},
		{"dead, gzip, at the bound", 200, jsonType, "Content-Encoding: gzip", gzipped(t, sized(deadHead, maxPeek)), true, false},
		{"dead, zstd, at the bound", 200, jsonType, "Content-Encoding: zstd", zstdOf(t, sized(deadHead, maxPeek)), true, false},

		{"fine", 200, jsonType, "", goodBody, false, true},
		{"quotes the code", 200, jsonType, "", `{"errcode":0,"list":[{"errcode":40001}],"text":"{\"errcode\":40001}"}`, false, true},
		{"quotes the code, gzip", 200, jsonType, "Content-Encoding: gzip", gzipped(t, `{"data":`+deadBody+`}`), false, true},
		{"array", 200, jsonType, "", `[` + deadBody + `]`, false, true},
		{"empty", 200, jsonType, "", "", false, true},
		{"no JSON", 200, "text/plain", "", "errcode 40001", false, true},
		{"damaged", 200, jsonType, "", deadBody[:20], false, true},
		{"doubled", 200, jsonType, "", `{"errcode":40001,"errcode":0}`, false, true},
		{"too large", 200, jsonType, "", sized(deadHead, maxPeek+1), false, true},
		{"much too large", 200, jsonType, "", sized(deadHead, 20*maxPeek), false, true},
		{"dead, page", 200, "text/html", "", deadBody, true, false},
		{"dead, swapped", 200, "plain/text", "", "\xef\xbb\xbf \n" + deadBody, true, false},
		{"dead, picture", 200, "image/jpeg", "", deadBody, true, false},
		{"dead, bytes", 200, "application/octet-stream", "", deadBody, true, false},
		{"dead, bytes, gzip", 200, "application/octet-stream", "Content-Encoding: gzip", gzipped(t, deadBody), true, false},
		{"dead, bytes, zstd", 200, "application/octet-stream", "Content-Encoding: zstd", zstdOf(t, deadBody), true, false},
		{"dead, bytes, at the bound", 200, "application/octet-stream", "", sized(deadHead, maxPeek), true, false},
		{"events", 200, "text/event-stream", "", "data: " + deadBody + "\n\n", false, true},
		{"lines", 200, "application/x-ndjson", "", deadBody + "\n", false, true},
		{"page", 200, "text/html", "", "<p>" + deadBody, false, true},
		{"page, gzip", 200, "text/html", "Content-Encoding: gzip", gzipped(t, "<p>"+deadBody), false, true},
		{"page, zstd", 200, "text/html", "Content-Encoding: zstd", zstdOf(t, "<p>"+deadBody), false, true},
		{"list", 200, "text/html", "", "[" + deadBody + "]", false, true},
		{"picture", 200, "image/jpeg", "", "\xff\xd8\xff\xe0" + strings.Repeat(deadBody, 1000), false, true},
		{"picture, brotli", 200, "image/jpeg", "Content-Encoding: br", deadBody, false, true},
		{"bytes, too large", 200, "application/octet-stream", "", sized(deadHead, maxPeek+1), false, true},
		{"bytes, fine", 200, "application/octet-stream", "", goodBody, false, true},
		{"parts", 200, "multipart/mixed; boundary=x", "", deadBody, false, true},
		{"messages", 200, "application/grpc", "", deadBody, false, true},
		{"bytes, download", 200, "application/octet-stream", `Content-Disposition: attachment`, deadBody, false, true},
		{"bytes, part", 206, "application/octet-stream", "Content-Range: bytes 0-9/10", deadBody, false, true},
		{"download", 200, jsonType, `Content-Disposition: Attachment; filename="a.json"`, deadBody, false, true},
		{"part", 206, jsonType, "Content-Range: bytes 0-9/10", deadBody, false, true},
		{"not found", 404, jsonType, "", `{"errcode":404}`, false, true},

		{"gzip bomb", 200, jsonType, "Content-Encoding: gzip", gzipped(t, sized(deadHead, 10<<20)), false, false},
		{"zstd bomb", 200, jsonType, "Content-Encoding: zstd", zstdOf(t, sized(deadHead, 100<<20)), false, false},
		{"gzip, cut off", 200, jsonType, "Content-Encoding: gzip", gzipped(t, deadBody)[:40], false, false},
		{"zstd, damaged", 200, jsonType, "Content-Encoding: zstd", "(\xb5/\xfd" + deadBody, false, false},
		{"brotli", 200, jsonType, "Content-Encoding: br", deadBody, false, false},
		{"two codings", 200, jsonType, "Content-Encoding: gzip, gzip", gzipped(t, gzipped(t, deadBody)), false, false},
		{"unauthorized", 401, jsonType, "", `{"errcode":1}`, false, false},
		{"throttled", 429, jsonType, "", `{"errcode":45009}`, false, false},
		{"a gateway in between", 407, jsonType, "", `{"errcode":45009}`, false, false},
		{"down", 503, jsonType, "", `{"errcode":-1}`, false, false},
	} {
		for _, framing := range []string{"length", "chunked", "close"} {
			p := serve(t, false, raw(t, c.status, c.mediaType, c.more, framing, c.body), inHeader)
			h, _ := p.healing(t, onBody)
			h.fetch = nil // the caller gets the answer in each case
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip, zstd") // nothing is unpacked on the way
			got := p.do(t, req)
			what := c.name + ", " + framing
			equal(t, c.status, got.status, what)
			if got.body != c.body {
				t.Errorf("%s: %d bytes came, or others, of %d", what, len(got.body), len(c.body))
			}
			asked, _, worked := h.counts()
			equal(t, c.dead, asked == 1, what+": dead")
			equal(t, c.worked, worked == 1, what+": worked")
		}
	}
}

// A bomb is not unpacked beyond what is looked at.
func TestUnpackBombs(t *testing.T) {
	for coding, packed := range map[string]string{
		"gzip": gzipped(t, strings.Repeat(" ", 60<<20)),
		"zstd": zstdOf(t, strings.Repeat(" ", 60<<20)),
	} {
		never := func([]byte) { t.Errorf("%s: judged", coding) }
		equal(t, false, unpacked(coding, []byte(packed), never), coding) // makes what is kept for the next
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		equal(t, false, unpacked(coding, []byte(packed), never), coding)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Errorf("%s: %d KiB allocated", coding, n>>10)
		}
	}
}

// raw answers with exactly these lines and bytes.
func raw(t *testing.T, status int, mediaType, more, framing, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		lines := []string{fmt.Sprintf("HTTP/1.1 %d x", status), "Connection: close"}
		if mediaType != "" {
			lines = append(lines, "Content-Type: "+mediaType)
		}
		if more != "" {
			lines = append(lines, more)
		}
		switch framing {
		case "length":
			lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
		case "chunked":
			lines = append(lines, "Transfer-Encoding: chunked")
			chunked := ""
			for i := 0; i < len(body); i += 7000 {
				part := body[i:min(i+7000, len(body))]
				chunked += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
			}
			body = chunked + "0\r\n\r\n"
		}
		_, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	}
}

// A caller that says nothing of codings gets what net/http unpacks, and that
// is judged.
func TestJudgeUnasked(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
			equal(t, "gzip", r.Header.Get("Accept-Encoding"), "Accept-Encoding")
			w.Header().Set("Content-Encoding", "gzip")
			answers(200, "application/json", gzipped(t, deadBody))(w, r)
		}, answers(200, "", "fine")), inHeader)
		p.healing(t, onBody)
		p.front.Client().Transport.(*http.Transport).DisableCompression = true
		equal(t, "fine", p.do(t, p.request(t, http.MethodGet, "/", nil)).body, "body")
	})
}

// HEAD and 304 have no body, whatever they announce.
func TestJudgeWithoutBody(t *testing.T) {
	for method, status := range map[string]int{http.MethodHead: 200, http.MethodGet: 304} {
		p := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if method == http.MethodHead {
				w.Header().Set("Content-Length", "999999999999")
			}
			w.WriteHeader(status)
		}, inHeader)
		h, _ := p.healing(t, onBody)
		got := p.do(t, p.request(t, method, "/", nil))
		equal(t, status, got.status, method)
		if asked, _, worked := h.counts(); asked != 0 || worked == 1 != (method == http.MethodGet) {
			t.Errorf("%s: asked %d, worked %d", method, asked, worked)
		}
	}
}

// FuzzJudge: the caller gets what the upstream sent, and what is judged
// neither panics nor is dead without a rule's word in it.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(deadBody), "application/json", "", true)
	f.Add([]byte(gzipped(f, deadBody)), "application/json", "gzip", false)
	f.Add([]byte(zstdOf(f, deadBody)), "text/plain", "zstd", true)
	f.Add([]byte(sized(deadHead, maxPeek+1)), "", "", false)
	rule := ruleOf(f, onBody)
	f.Fuzz(func(t *testing.T, body []byte, mediaType, coding string, known bool) {
		resp := &http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ContentLength: -1, Body: io.NopCloser(bytes.NewReader(body)),
			Header: http.Header{"Content-Type": {mediaType}, "Content-Encoding": {coding}},
		}
		if known {
			resp.ContentLength = int64(len(body))
		}
		got, j := (&Transport{}).judge(resp, http.MethodGet, rule)
		if coding == "" && j.verdict == realm.Dead && !bytes.Contains(body, []byte("err")) && !bytes.Contains(body, []byte(`\`)) {
			t.Errorf("%q is dead", body)
		}
		back, err := io.ReadAll(got.Body)
		noError(t, err)
		noError(t, got.Body.Close())
		if !bytes.Equal(back, body) {
			t.Errorf("%q became %q", body, back)
		}
	})
}
