package inject

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// scrubbing is serve for a realm that scrubs bodies.
func scrubbing(t *testing.T, h2 bool, upstream http.HandlerFunc, places ...realm.Place) *proxied {
	t.Helper()
	p := serve(t, h2, upstream, places...)
	p.lease.Target.Scrub = true
	return p
}

// quotation quotes the token in several ways, and quotationMasked is what has to
// come of it.
var (
	quotation = "token=" + tokenEscaped + "&x=1\n" + `{"a": "canary\/T0ken\u002b4f9c2e71==", "b": "` + token + `"}` + "\n" +
		"Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token)) + "."
	quotationMasked = model(quotation, []string{token, tokenEscaped})
)

// coded puts a content coding on; "" for none.
func coded(t tester, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "":
		return text
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		var err error
		w, err = zstd.NewWriter(&b)
		noError(t, err)
	}
	_, err := io.WriteString(w, text)
	noError(t, err)
	noError(t, w.Close())
	return b.String()
}

// decoded takes it off again.
func decoded(t tester, coding string, body io.Reader) (string, error) {
	t.Helper()
	if coding != "" {
		var err error
		if body, err = decode(coding, body); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(body)
	return string(b), err
}

// The token is masked in bodies without and with a coding, of known and of unknown
// length, over both protocols.
func TestScrubBody(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		for _, coding := range []string{"", "gzip", "x-gzip", "zstd"} {
			for _, known := range []bool{false, true} {
				what := fmt.Sprint("coding ", coding, ", known length ", known)
				body := coded(t, coding, strings.Repeat(quotation, 1000))
				p := scrubbing(t, h2, func(w http.ResponseWriter, _ *http.Request) {
					if coding != "" {
						w.Header().Set("Content-Encoding", coding)
					}
					if known {
						w.Header().Set("Content-Length", fmt.Sprint(len(body)))
					}
					_, _ = io.WriteString(w, body[:len(body)/2])
					_ = http.NewResponseController(w).Flush()
					_, _ = io.WriteString(w, body[len(body)/2:])
				}, inQuery)
				req := p.request(t, http.MethodGet, "/", nil)
				req.Header.Set("Accept-Encoding", "gzip, zstd")
				resp, err := p.front.Client().Do(req)
				noError(t, err)
				equal(t, coding, resp.Header.Get("Content-Encoding"), what)
				length := int64(-1)
				if known && coding == "" {
					length = int64(len(body))
				}
				equal(t, length, resp.ContentLength, what)
				got, err := decoded(t, coding, resp.Body)
				noError(t, err)
				noError(t, resp.Body.Close())
				equal(t, true, strings.Repeat(quotationMasked, 1000) == got, what)
			}
		}
	})
}

// Where the realm does not want it, a body passes as it came.
func TestScrubIsOff(t *testing.T) {
	p := serve(t, false, answers(200, "", quotation), inQuery)
	equal(t, quotation, p.do(t, p.request(t, http.MethodGet, "/", nil)).body, "body")
}

// What is injected is masked, too, where it is another text than the token.
func TestScrubBodyOfInjectedValues(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + token))
	p := scrubbing(t, false, answers(200, "", "a "+basic+" b "+token), inHeader)
	p.lease.Values[0] = "Basic " + basic
	want := "a " + strings.Repeat("*", len(basic)) + " b " + strings.Repeat("*", len(token))
	equal(t, want, p.do(t, p.request(t, http.MethodGet, "/", nil)).body, "body")
}

// A token that is too short to be looked for leaves bodies alone.
func TestScrubBodyOfAShortToken(t *testing.T) {
	p := scrubbing(t, false, answers(200, "", "a short b"), inHeader)
	p.lease.Access, p.lease.Values = "short", []string{"Bearer short"}
	equal(t, "a short b", p.do(t, p.request(t, http.MethodGet, "/", nil)).body, "body")
}

// The provider is asked for the whole, in a coding that can be read.
func TestScrubRequest(t *testing.T) {
	for said, want := range map[string]string{
		"gzip, deflate, br, zstd": "gzip, zstd", "br": "identity", "gzip": "gzip", "*": "gzip, zstd", "identity": "identity",
	} {
		for _, place := range []realm.Place{inQuery, inHeader} {
			l := apiLease(place)
			l.Target.Scrub = true
			req := get("/")
			req.Header = http.Header{"Accept-Encoding": {said}, "Range": {"bytes=1-2"}, "If-Range": {`"x"`}, "X_range": {"1"}}
			out, _ := send(t, l, req)
			equal(t, want, out.Header.Get("Accept-Encoding"), said)
			for _, name := range []string{"Range", "If-Range"} {
				equal(t, 0, len(out.Header[name]), name)
			}
			equal(t, 1, len(out.Header["X_range"]), "another field")
		}
	}
	req := get("/")
	req.Header.Set("Range", "bytes=1-2")
	out, _ := send(t, apiLease(inQuery), req)
	equal(t, "bytes=1-2", out.Header.Get("Range"), "a realm that does not scrub")
}

// The header promises nothing about a body that may have been changed. That of an
// answer without a body tells the same as that of one with it.
func TestScrubHeaderOfBodies(t *testing.T) {
	fields := http.Header{
		"Etag": {`"v1"`}, "Accept-Ranges": {"bytes"}, "Content-Md5": {"x"}, "Digest": {"x"}, "Content-Digest": {"x"},
		"Repr-Digest": {"x"}, "Last-Modified": {"Thu, 01 Jan 2026 00:00:00 GMT"},
	}
	for _, tt := range []struct {
		method string
		status int
		coding string
		body   string
	}{
		{http.MethodGet, 200, "", quotation},
		{http.MethodGet, 206, "", quotation},
		{http.MethodGet, 404, "gzip", coded(t, "gzip", quotation)},
		{http.MethodHead, 200, "", ""},
		{http.MethodHead, 200, "gzip", ""},
		{http.MethodHead, 200, "br", ""},
		{http.MethodGet, 304, "", ""},
		{http.MethodGet, 304, "br", ""},
		{http.MethodGet, 204, "", ""},
		{http.MethodGet, 200, "br", ""},
	} {
		both(t, func(t *testing.T, h2 bool) {
			what := fmt.Sprint(tt.method, " ", tt.status, " ", tt.coding, len(tt.body))
			p := scrubbing(t, h2, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range fields {
					w.Header()[name] = values
				}
				if tt.coding != "" {
					w.Header().Set("Content-Encoding", tt.coding)
				}
				if tt.method == http.MethodHead {
					w.Header().Set("Content-Length", "7")
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}, inQuery)
			req := p.request(t, tt.method, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			got := p.do(t, req)
			equal(t, tt.status, got.status, what)
			equal(t, `W/"v1"`, got.header.Get("ETag"), what)
			equal(t, tt.coding, got.header.Get("Content-Encoding"), what)
			equal(t, fields.Get("Last-Modified"), got.header.Get("Last-Modified"), what)
			for _, name := range []string{"Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
				equal(t, "", got.header.Get(name), what+" "+name)
			}
			length := map[bool]string{false: "", true: "7"}[tt.coding == ""]
			if tt.method == http.MethodHead {
				equal(t, length, got.header.Get("Content-Length"), what)
			}
		})
	}
	l := apiLease(inQuery)
	l.Target.Scrub = true
	equal(t, `W/"weak"`, answered(t, l, "GET", http.Header{"Etag": {`W/"weak"`}}).Get("ETag"), "a weak one stays")
}

// A digest that comes as a trailer would be wrong as well; other trailers pass.
func TestScrubTrailersOfBodies(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		for _, coding := range []string{"", "gzip", "zstd"} {
			p := scrubbing(t, h2, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Trailer", "Repr-Digest, X-Fine")
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				_, _ = io.WriteString(w, coded(t, coding, quotation))
				w.Header().Set("Repr-Digest", "sha-256=:x:")
				w.Header().Set("X-Fine", "yes, "+token)
			}, inQuery)
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip, zstd")
			got := p.do(t, req)
			equal(t, http.Header{"X-Fine": {"yes, " + realm.Mask}}, got.trailer, coding)
		}
	})
}

// What cannot be read is not handed on.
func TestScrubRefusesOtherCodings(t *testing.T) {
	for _, coding := range []string{"br", "deflate", "compress", "gzip, gzip", "gzip, br", "dcz"} {
		p := scrubbing(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", coding)
			_, _ = io.WriteString(w, quotation)
		}, inQuery)
		got := p.do(t, p.request(t, http.MethodGet, "/", nil))
		equal(t, http.StatusBadGateway, got.status, coding)
		equal(t, realm.CodeForbidden, problemOf(t, got).Code, coding)
		equal(t, false, strings.Contains(got.body, "canary"), coding)
	}
	p := scrubbing(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Encoding"] = []string{"gzip", "gzip"}
		_, _ = io.WriteString(w, quotation)
	}, inQuery)
	core, logs := observer.New(zap.WarnLevel)
	p.transport.Log = zap.New(core)
	equal(t, http.StatusBadGateway, p.do(t, p.request(t, http.MethodGet, "/", nil)).status, "two fields")
	equal(t, []string{errCoding.Detail}, reasons(logs), "the log")
	p = scrubbing(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "identity")
		_, _ = io.WriteString(w, quotation)
	}, inQuery)
	equal(t, quotationMasked, p.do(t, p.request(t, http.MethodGet, "/", nil)).body, "identity")
}

// A connection that is no longer HTTP cannot be scrubbed: the request is refused
// before the token leaves, whatever else the realm allows.
func TestScrubRefusesUpgrades(t *testing.T) {
	for _, kind := range []http.Header{{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, {":protocol": {"websocket"}}} {
		req := get("/")
		if req.Header = kind; kind.Get("Upgrade") == "" {
			req.Method = http.MethodConnect
		}
		l := apiLease(inHeader)
		l.Target.Upgrade, l.Target.Scrub = true, true
		out, got := send(t, l, req)
		equal(t, true, out == nil, "nothing is sent")
		equal(t, http.StatusForbidden, got.status, "status")
		equal(t, realm.CodeForbidden, problemOf(t, got).Code, "code")
	}
}

// A body that is cut off or damaged ends with an error. What came before is masked,
// and nothing looks like the end.
func TestScrubDamagedBodies(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		whole := coded(t, coding, strings.Repeat(quotation, 2000)+string(period[:100_000]))
		var damaged []string
		for i := 1; i < 8; i++ {
			at := len(whole) * i / 8
			damaged = append(damaged, whole[:at], whole[:at]+"\xff\x00\xff"+whole[at:])
		}
		damaged = append(damaged, whole[:len(whole)-1], whole[:1], whole[:3], "no "+coding, whole+"surplus")
		for i, body := range damaged {
			p := scrubbing(t, false, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", coding)
				_, _ = io.WriteString(w, body)
			}, inQuery)
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", coding)
			resp, err := p.front.Client().Do(req)
			if err != nil {
				continue // it was given up before its header was sent
			}
			b, err := io.ReadAll(resp.Body)
			noError(t, resp.Body.Close())
			text, wrong := decoded(t, coding, bytes.NewReader(b))
			if err == nil || wrong == nil && len(b) > 0 {
				t.Errorf("%s %d: read without an error (%v, %v)", coding, i, err, wrong)
			}
			if strings.Contains(text, "4f9c2e71") {
				t.Errorf("%s %d: the token is there", coding, i)
			}
		}
	}
}

// A coded body without a byte is none that is damaged.
func TestScrubEmptyCodedBody(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		p := scrubbing(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", coding)
			_ = http.NewResponseController(w).Flush()
		}, inQuery)
		req := p.request(t, http.MethodGet, "/", nil)
		req.Header.Set("Accept-Encoding", coding)
		equal(t, "", p.do(t, req).body, coding)
	}
}

// Nobody knows the length of a body that is encoded again, and the first token of a
// heal may be the only one whose realm scrubs.
func TestScrubBodyLength(t *testing.T) {
	for coding, want := range map[string]int64{"": 5, "gzip": -1} {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Encoding": {coding}}, ContentLength: 5, Body: io.NopCloser(strings.NewReader("12345"))}
		old := leaseOf("an old token")
		old.Target.Scrub = true
		tokens := sentTokens{leaseOf("a new token"), old}
		equal(t, true, tokens.wantScrubbed(), "both")
		equal(t, false, sentTokens{tokens[0]}.wantScrubbed(), "the new one")
		over(nil, Job{}).scrubBody(resp, http.MethodGet, tokens)
		equal(t, want, resp.ContentLength, coding)
	}
}

// An event is handed on when it comes, also through a coding, and while the next
// one begins like the token.
func TestScrubEvents(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		for _, coding := range []string{"", "gzip", "zstd"} {
			next := make(chan struct{})
			p := scrubbing(t, h2, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				var out interface {
					io.Writer
					Flush() error
				} = struct {
					io.Writer
					*http.ResponseController
				}{w, http.NewResponseController(w)}
				control := http.NewResponseController(w)
				switch coding {
				case "gzip":
					out = gzip.NewWriter(w)
				case "zstd":
					out, _ = zstd.NewWriter(w)
				}
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				for i := range 4 {
					_, _ = fmt.Fprintf(out, "data: %d %s\n\n", i, token[:len(token)-i])
					_ = out.Flush()
					_ = control.Flush()
					<-next
				}
				if c, ok := out.(io.Closer); ok {
					_ = c.Close()
				}
			}, inHeader)
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip, zstd")
			resp, err := p.front.Client().Do(req)
			noError(t, err)
			var body io.Reader = resp.Body
			if coding != "" {
				body, err = decode(coding, resp.Body)
				noError(t, err)
			}
			events := bufio.NewReader(body)
			for i := range 4 {
				want := fmt.Sprintf("data: %d %s\n", i, token[:len(token)-i])
				if i == 0 {
					want = strings.ReplaceAll(want, token, strings.Repeat("*", len(token)))
				}
				line, err := events.ReadString('\n')
				noError(t, err)
				equal(t, want, line, coding)
				_, err = events.ReadString('\n')
				noError(t, err)
				next <- struct{}{}
			}
			rest, err := io.ReadAll(events)
			noError(t, err)
			equal(t, "", string(rest), "the rest")
			noError(t, resp.Body.Close())
		}
	})
}

// A dead token is told by what the API answered, and a request that was sent twice
// has both of its tokens masked.
func TestScrubBodyOfAHeal(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		for _, coding := range []string{"", "gzip"} {
			var calls atomic.Int64
			p := scrubbing(t, h2, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				text := deadBody[:len(deadBody)-1] + `, "token": "` + token + `"}`
				if carries(r, fresh) {
					text = `{"errcode": 0, "was": "` + token + `", "is": "` + fresh + `"}`
				}
				w.Header().Set("Content-Type", "application/json")
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				_, _ = io.WriteString(w, coded(t, coding, text))
			}, inHeader)
			h, _ := p.healing(t, onBody)
			req := p.request(t, http.MethodGet, "/", nil)
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := p.front.Client().Do(req)
			noError(t, err)
			got, err := decoded(t, coding, resp.Body)
			noError(t, err)
			noError(t, resp.Body.Close())
			want := `{"errcode": 0, "was": "` + strings.Repeat("*", len(token)) + `", "is": "` + strings.Repeat("*", len(fresh)) + `"}`
			equal(t, want, got, "body")
			equal(t, 2, calls.Load(), "calls")
			wants(t, h, 1, 1, 1)
		}
	})
}

// Whatever the pieces are in which a coded body comes, what is decoded from the
// answer is the masked text.
func TestRecodedBodyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secrets := []string{aSecret(t), aSecret(t)}
		coding := rapid.SampledFrom([]string{"gzip", "zstd", "X-GZIP"}).Draw(t, "coding")
		text := aBody(t, secrets)
		body := &recodedBody{coding: coding, trie: newTrie(secrets), source: cut(t, coded(t, strings.ToLower(coding), text))}
		got, err := decoded(t, coding, body)
		noError(t, err)
		if want := model(text, secrets); got != want {
			t.Fatalf("want %q\ngot  %q", want, got)
		}
	})
}

// What it costs to scrub an answer of 1 MB, with and without a coding.
func BenchmarkScrubBody(b *testing.B) {
	text := strings.Repeat(`{"id": 12345, "name": "a name", "url": "https://api.example.com/x?a=1&b=2", "list": [true, null]}, `, 10_000)
	for _, coding := range []string{"", "gzip", "zstd"} {
		body := coded(b, coding, text)
		for _, scrub := range []bool{false, true} {
			b.Run(fmt.Sprintf("coding %q scrub %v", coding, scrub), func(b *testing.B) {
				l := apiLease(inHeader)
				l.Target.Scrub = scrub
				transport := over(roundTripper(func(*http.Request) (*http.Response, error) {
					resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}
					if coding != "" {
						resp.Header.Set("Content-Encoding", coding)
					}
					return resp, nil
				}), Job{Lease: l, Dial: "api.example.com:443"})
				b.SetBytes(int64(len(text)))
				buf := make([]byte, 32<<10)
				for b.Loop() {
					resp, err := transport.RoundTrip(get("/"))
					noError(b, err)
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, buf)
					_ = resp.Body.Close()
				}
			})
		}
	}
}
