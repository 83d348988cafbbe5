package inject

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Rules with a text judge the beginning of a body, however long it is, and the caller
// gets all of it.
func TestJudgeText(t *testing.T) {
	const rule = `[{"status":[403],"text":"Bad_OAuth_Token"},{"text":"gone","types":["application/x-javascript"]}]`
	const dead = "<p>Bad_OAuth_Token</p>"
	long := strings.Repeat("0123456789abcdef", maxPeek/8)
	for _, c := range []struct {
		name         string
		status       int
		mediaType    string
		more         string
		body         string
		dead, worked bool
	}{
		{"dead", 403, "text/html; charset=utf-8", "", dead, true, false},
		{"dead, JSON", 403, "application/json", "", `{"m":"Bad_OAuth_Token"}`, true, false},
		{"dead, XML", 403, "application/xml", "", `<m>Bad_OAuth_Token</m>`, true, false},
		{"dead, long", 403, "text/html", "", dead + long, true, false},
		{"dead, at the bound", 403, "text/html", "", long[:maxPeek-len(dead)] + dead + long, true, false},
		{"dead, gzip", 403, "text/html", "Content-Encoding: gzip", gzipped(t, dead), true, false},
		{"dead, zstd", 403, "text/html", "Content-Encoding: zstd", zstdOf(t, dead), true, false},
		{"dead, gzip, long", 403, "text/html", "Content-Encoding: gzip", gzipped(t, dead+strings.Repeat(long, 100)), true, false},
		{"dead, zstd, long", 403, "text/html", "Content-Encoding: zstd", zstdOf(t, dead+strings.Repeat(long, 100)), true, false},
		{"dead, gzip, packed long", 403, "text/html", "Content-Encoding: gzip", gzipped(t, dead+noise(3*maxPeek)), true, false},
		{"dead, named", 200, "application/x-javascript", "", "gone();", true, false},

		{"no right", 403, "text/html", "", "<p>You have no right.</p>", false, true},
		{"another status", 200, "text/html", "", dead, false, true},
		{"behind the bound", 403, "text/html", "", long[:maxPeek-len(dead)+5] + dead, false, true},
		{"gzip, behind the bound", 403, "text/html", "Content-Encoding: gzip", gzipped(t, long[:maxPeek-len(dead)+5]+dead), false, true},
		{"picture", 403, "image/jpeg", "", dead, false, true},
		{"events", 403, "text/event-stream", "", "data: " + dead + "\n\n", false, true},
		{"not named", 200, "application/x-protobuf", "", "gone", false, true},
		{"download", 403, "text/html", "Content-Disposition: attachment", dead, false, true},
		{"damaged", 403, "text/html", "Content-Encoding: gzip", "no gzip " + dead, false, false},
	} {
		for _, framing := range []string{"length", "chunked", "close"} {
			p := serve(t, false, raw(t, c.status, c.mediaType, c.more, framing, c.body), inHeader)
			h, _ := p.healing(t, rule)
			h.fetch = nil // the caller gets the answer in each case
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip, zstd")
			got := p.do(t, req)
			what := c.name + ", " + framing
			if got.body != c.body {
				t.Errorf("%s: %d bytes came, or others, of %d", what, len(got.body), len(c.body))
			}
			asked, _, worked := h.counts()
			equal(t, c.dead, asked == 1, what+": dead")
			equal(t, c.worked, worked == 1, what+": worked")
		}
	}
}

// noise is a text that cannot be packed well.
func noise(size int) string {
	b, x := make([]byte, size), uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// A media endpoint that refuses the token in a picture's clothes is healed, also
// where the refusal is a text or a header field.
func TestHealOddRefusals(t *testing.T) {
	const text = `[{"status":[403],"text":"Bad_OAuth_Token"}]`
	const field = `[{"header":"X-Auth-Error","values":["expired"]}]`
	const graphQL = `[{"json":"errors.*.extensions.code","values":["invalid-jwt"]}]`
	for _, c := range []struct {
		name, rule string
		refusal    http.HandlerFunc
	}{
		{"swapped", onBody, answers(200, "plain/text", deadBody)},
		{"page", onBody, answers(200, "text/html", deadBody)},
		{"picture", onBody, answers(200, "image/jpeg", deadBody)},
		{"bytes", onBody, answers(200, "application/octet-stream", deadBody)},
		{"text", text, answers(403, "text/html", "Bad_OAuth_Token")},
		{"GraphQL", graphQL, answers(200, "application/json",
			`{"errors":[{"extensions":{"code":"x"}},{"extensions":{"code":"invalid-jwt"}}]}`)},
		{"field", field, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Auth-Error", "expired")
			answers(200, "image/jpeg", "nothing")(w, r)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, h2 bool) {
				picture := "\xff\xd8\xff\xe0" + noise(100<<10)
				p := serve(t, h2, refusing(c.refusal, answers(200, "image/jpeg", picture)), inHeader)
				h, _ := p.healing(t, c.rule)
				got := p.do(t, p.request(t, http.MethodGet, "/", nil))
				equal(t, 200, got.status, "status")
				equal(t, true, got.body == picture, "the picture")
				wants(t, h, 1, 1, 1)
			})
		})
	}
}

// Real media comes with its first byte, whatever its length, and however slowly the
// rest comes.
func TestPeekLeavesMediaAlone(t *testing.T) {
	for _, c := range []struct{ name, mediaType, coding, length, first string }{
		{"picture", "image/jpeg", "", "", "\xff\xd8"},
		{"picture of known length", "image/jpeg", "", strconv.Itoa(maxPeek), "\xff\xd8"},
		{"bytes", "application/octet-stream", "", "", "["},
		{"much", "application/octet-stream", "", strconv.Itoa(1 << 30), "{"},
		{"page", "text/html", "", "", "<"},
		{"page in gzip", "text/html", "gzip", "", gzipped(t, "<html>"+noise(2000))[:1500]},
		{"events", "text/event-stream", "", "", "{"},
		{"lines", "application/x-ndjson", "", "", "{"},
		{"messages", "application/grpc", "", "", "{"},
		{"parts", "multipart/x-mixed-replace", "", "", "{"},
	} {
		t.Run(c.name, func(t *testing.T) {
			release := make(chan struct{})
			p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.mediaType)
				for name, value := range map[string]string{"Content-Encoding": c.coding, "Content-Length": c.length} {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
				_, _ = io.WriteString(w, c.first)
				w.(http.Flusher).Flush()
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}, inHeader)
			h, _ := p.healing(t, onBody)
			p.transport.after = make(hand).after // it never expires
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := p.front.Client().Do(req)
			noError(t, err)
			first := make([]byte, len(c.first))
			_, err = io.ReadFull(resp.Body, first)
			noError(t, err)
			equal(t, c.first, string(first), "the beginning")
			close(release)
			_ = resp.Body.Close()
			wants(t, h, 0, 0, 1)
		})
	}
}

// What may be JSON by its first byte waits for a second, and then streams.
func TestPeekReleasesSlowObjects(t *testing.T) {
	expired := make(hand)
	release := make(chan struct{})
	p := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.WriteString(w, " {")
		w.(http.Flusher).Flush()
		expired <- time.Time{}
		<-release
		_, _ = io.WriteString(w, "}")
	}, inHeader)
	h, _ := p.healing(t, onBody)
	p.transport.after = expired.after
	resp, err := p.front.Client().Do(p.request(t, http.MethodGet, "/", nil))
	noError(t, err)
	first := make([]byte, 2)
	_, err = io.ReadFull(resp.Body, first)
	noError(t, err)
	close(release)
	equal(t, " {", string(first), "the beginning")
	equal(t, "}", read(t, resp).body, "the rest")
	wants(t, h, 0, 0, 0)
}

// Of a long text, the beginning is waited for, and not the rest, whatever length it
// announces.
func TestPeekReleasesLongTexts(t *testing.T) {
	release := make(chan struct{})
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		_, _ = io.WriteString(w, strings.Repeat("x", maxPeek+1))
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}, inHeader)
	h, _ := p.healing(t, `[{"text":"Bad_OAuth_Token"}]`)
	p.transport.after = make(hand).after // it never expires
	resp, err := p.front.Client().Do(p.request(t, http.MethodGet, "/", nil))
	noError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, maxPeek+1))
	noError(t, err)
	close(release)
	_ = resp.Body.Close()
	wants(t, h, 0, 0, 1)
}

// A body in gzip shows its first byte as soon as it can be unpacked.
func TestBeginsObjectIn(t *testing.T) {
	for text, want := range map[string]bool{" \n{\"a\":1}": true, "\xef\xbb\xbf{}": true, "<html>": false, "[1]": false, "": true} {
		packed := []byte(gzipped(t, text+strings.Repeat(" ", 100)))
		if text == "" {
			packed = nil
		}
		equal(t, want, beginsObjectIn("gzip", packed), text)
		equal(t, true, beginsObjectIn("gzip", packed[:min(len(packed), 5)]), text+", before anything can be unpacked")
	}
	equal(t, false, beginsObjectIn("gzip", []byte("this is no gzip at all")), "damaged")
}
