package inject

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lengths are the ways to send a body: with or without its length announced.
var lengths = map[string]func(io.Reader) io.Reader{
	"known":   func(r io.Reader) io.Reader { return r },
	"chunked": func(r io.Reader) io.Reader { return struct{ io.Reader }{r} },
}

// Bodies up to replay_max are sent again, larger ones are sent once, and the
// token is renewed all the same.
func TestReplayBound(t *testing.T) {
	const most = 100_000
	both(t, func(t *testing.T, h2 bool) {
		for name, wrap := range lengths {
			for size, replayed := range map[int]bool{1: true, most - 1: true, most: true, most + 1: false, 5 * most: false} {
				what := fmt.Sprintf("%s, %d bytes", name, size)
				body := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
				var bodies sync.Map
				p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
					got, _ := io.ReadAll(r.Body)
					if carries(r, fresh) {
						bodies.Store("second", got)
						return
					}
					bodies.Store("first", got)
					answers(401, "", "no")(w, r)
				}, inHeader)
				h, logs := p.healing(t, onStatus)
				p.lease.Target.ReplayMax = most
				got := p.do(t, p.request(t, http.MethodPost, "/", wrap(bytes.NewReader(body))))
				want, log := []string{"first"}, []string{tooLarge}
				if replayed {
					want, log = []string{"first", "second"}, nil
				}
				equal(t, log, reasons(logs), what)
				equal(t, replayed, got.status == http.StatusOK, what)
				for _, attempt := range []string{"first", "second"} {
					b, came := bodies.Load(attempt)
					equal(t, slices.Contains(want, attempt), came, what+" "+attempt)
					if came && !bytes.Equal(b.([]byte), body) {
						t.Errorf("%s: the %s body has %d bytes, or others", what, attempt, len(b.([]byte)))
					}
				}
				if asked, _, _ := h.counts(); asked != 1 {
					t.Errorf("%s: asked %d times", what, asked)
				}
			}
		}
	})
}

// An upstream that refuses before it has read the body: the second attempt
// sends what the first one did, and then the rest, while it comes.
func TestReplayBeforeTheBodyEnds(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, refusing(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex() // else it waits for the body
			answers(401, "", "no")(w, r)
		}, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.EnableFullDuplex()
			_ = control.Flush()
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				_, _ = fmt.Fprintf(w, "got %s\n", lines.Text())
				_ = control.Flush()
			}
		}), inHeader)
		p.healing(t, onStatus)
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, "line 0\n") }()
		resp, err := p.front.Client().Do(p.request(t, http.MethodPost, "/", in))
		noError(t, err)
		defer func() { _ = resp.Body.Close() }()
		equal(t, http.StatusOK, resp.StatusCode, "status")
		back := bufio.NewScanner(resp.Body)
		for i := range 5 {
			if !back.Scan() {
				t.Fatalf("the answer ended: %v", back.Err())
			}
			equal(t, fmt.Sprintf("got line %d", i), back.Text(), "line")
			_, err := fmt.Fprintf(out, "line %d\n", i+1)
			noError(t, err)
		}
		noError(t, out.Close())
	})
}

// The caller is asked for its body when an upstream wants it, and not by the
// one that refused.
func TestReplayExpectContinue(t *testing.T) {
	var asked *watchedRead
	var early atomic.Bool
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if !carries(r, fresh) {
			early.Store(asked.read.Load())
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		equal(t, "100-continue", r.Header.Get("Expect"), "Expect")
		_, _ = io.Copy(w, r.Body)
	}, inHeader)
	p.healing(t, onStatus)
	p.upstream.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	p.front.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	asked = &watchedRead{Reader: strings.NewReader("body")}
	req := p.request(t, http.MethodPost, "/", asked)
	req.Header.Set("Expect", "100-continue")
	req.ContentLength = 4
	got := p.do(t, req)
	equal(t, http.StatusOK, got.status, "status")
	equal(t, "body", got.body, "echo")
	equal(t, false, early.Load(), "the body was read for the first attempt")
}

// Trailers go with each attempt, without those that the proxy drops.
func TestReplayTrailers(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		var mu sync.Mutex
		var seen [][]string
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			announced := slices.Sorted(maps.Keys(r.Trailer))
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			seen = append(seen, announced, []string{r.Trailer.Get("X-Checksum"), fmt.Sprint(len(r.Trailer))})
			mu.Unlock()
			if r.Header.Get("X-Access-Token") != fresh {
				answers(401, "", "no")(w, r)
			}
		}, inCustom)
		p.healing(t, onStatus)
		req := p.request(t, http.MethodPost, "/", struct{ io.Reader }{strings.NewReader("body")})
		req.Trailer = http.Header{"X-Checksum": {"fine"}, "X-Access-Token": {"evil"}, "X-Forwarded-For": {"10.0.0.1"}}
		equal(t, http.StatusOK, p.do(t, req).status, "status")
		one := []string{"X-Checksum"}
		equal(t, [][]string{one, {"fine", "1"}, one, {"fine", "1"}}, seen, "trailers")
	})
}

// A large upload to a realm with a rule is not kept.
func TestReplayMemory(t *testing.T) {
	const size, step = 100 << 20, 10 << 20
	both(t, func(t *testing.T, h2 bool) {
		for name, wrap := range lengths {
			var peak uint64
			p := serve(t, h2, func(_ http.ResponseWriter, r *http.Request) {
				for range size / step {
					n, err := io.CopyN(io.Discard, r.Body, step)
					equal(t, nil, err, "body")
					equal(t, step, n, "body")
					runtime.GC()
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapAlloc)
				}
			}, inHeader)
			p.healing(t, onStatus)
			req := p.request(t, http.MethodPost, "/", wrap(&pattern{size: size}))
			if name == "known" {
				req.ContentLength = size
			}
			equal(t, http.StatusOK, p.do(t, req).status, name)
			if peak > 50<<20 {
				t.Errorf("%s: %d MiB are in use", name, peak>>20)
			}
		}
	})
}

// blocking is a body whose Reads wait until they are let go.
type blocking struct {
	lines  chan string
	closes atomic.Int64
}

func (b *blocking) Read(p []byte) (int, error) {
	line, more := <-b.lines
	if !more {
		return 0, io.EOF
	}
	return copy(p, line), nil
}

func (b *blocking) Close() error {
	b.closes.Add(1)
	return nil
}

// The write loop of the first attempt hangs in a Read when the second one
// begins: what that Read brings belongs to the second.
func TestRecordKeepsWhatTheFirstReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &blocking{lines: make(chan string, 4)}
		req := get("/")
		req.Body, req.ContentLength = source, -1
		sent, r := recordBody(req, 3)
		source.lines <- "a"
		_, err := sent.Body.Read(make([]byte, 9))
		noError(t, err)
		var late error
		go func() {
			_, late = sent.Body.Read(make([]byte, 99))
			_ = sent.Body.Close()
		}()
		synctest.Wait()
		equal(t, true, r.startReplay(), "the replay began")
		source.lines <- "beyond the bound"
		close(source.lines)
		all, err := io.ReadAll(r.secondRequest(req).Body)
		noError(t, err)
		synctest.Wait()
		equal(t, "abeyond the bound", string(all), "the second reading")
		equal(t, true, errors.Is(late, errReplayed), "the first reading")
		equal(t, 0, source.closes.Load(), "closed by the first")
	})
}

// In a replay the first attempt takes nothing more of the source. One that read
// too much keeps nothing, and cannot be repeated.
func TestRecordEndsTheFirstAttempt(t *testing.T) {
	for body, kept := range map[string]string{"abc": "abc", "abcd": ""} {
		replayed := kept != ""
		req := get("/")
		parts := io.MultiReader(strings.NewReader(body[:2]), strings.NewReader(body[2:]), strings.NewReader("rest"))
		req.Body, req.ContentLength = io.NopCloser(parts), -1
		sent, r := recordBody(req, 3)
		for range 2 {
			_, err := sent.Body.Read(make([]byte, 4))
			noError(t, err)
		}
		equal(t, replayed, r.startReplay(), body)
		n, err := sent.Body.Read(make([]byte, 9))
		equal(t, !replayed, n == 4 && err == nil, body+": what the first attempt reads")
		equal(t, replayed, errors.Is(err, errReplayed), body+": the end of the first attempt")
		equal(t, kept, string(r.kept), body+": what is kept")
		if replayed {
			all, err := io.ReadAll(r.secondRequest(req).Body)
			noError(t, err)
			equal(t, body+"rest", string(all), "the second attempt")
		}
	}
}

// The source is closed once, by the attempt that is the last, and never while
// it is read: a server's body would make that wait.
func TestRecordCloses(t *testing.T) {
	for name, steps := range map[string]func(first io.Closer, second func() io.Closer, r *record){
		"released, closed": func(first io.Closer, _ func() io.Closer, r *record) { r.release(); _ = first.Close() },
		"closed, released": func(first io.Closer, _ func() io.Closer, r *record) { _ = first.Close(); r.release() },
		"replayed": func(first io.Closer, second func() io.Closer, r *record) {
			r.startReplay()
			_ = first.Close()
			_ = second().Close()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			source := &blocking{lines: make(chan string)}
			req := get("/")
			req.Body, req.ContentLength = source, -1
			sent, r := recordBody(req, 3)
			go func() { _, _ = sent.Body.Read(make([]byte, 9)) }()
			synctest.Wait()
			steps(sent.Body, func() io.Closer { return r.secondRequest(req).Body }, r)
			equal(t, 0, source.closes.Load(), name+": closed while it was read")
			close(source.lines)
			synctest.Wait()
			equal(t, 1, source.closes.Load(), name+": closed")
			_ = sent.Body.Close() // once more
			equal(t, 1, source.closes.Load(), name+": closed")
		})
	}
}

// When there is no second attempt, nothing is kept while the answer streams,
// and the body is closed, as every RoundTripper has to do.
func TestRecordIsReleased(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"a live token": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		},
		"no other token": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		},
		"no answer": func(*http.Request) (*http.Response, error) { return nil, errBroken },
	} {
		var first *firstReading
		l := apiLease(inHeader)
		tr := over(roundTripper(func(r *http.Request) (*http.Response, error) {
			first = r.Body.(*firstReading)
			_, err := io.ReadAll(first)
			noError(t, err)
			noError(t, first.Close())
			return answer(r)
		}), Job{Lease: l, Dial: "api.example.com:443"})
		l.Target.Dead, l.Target.ReplayMax = ruleOf(t, onStatus), 99
		tr.Source = &healer{current: l}
		source := &blocking{lines: make(chan string, 1)}
		source.lines <- "body"
		close(source.lines)
		req := get("/")
		req.Body, req.ContentLength = source, 4
		resp, err := tr.RoundTrip(req)
		if err == nil {
			noError(t, resp.Body.Close())
		}
		equal(t, 1, source.closes.Load(), name+": closed")
		equal(t, 0, len(first.kept), name+": bytes that are kept")
	}
}

// Bodies that cannot be kept are not wrapped.
func TestRecordNothing(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"none":      func(r *http.Request) { r.Body = nil },
		"empty":     func(r *http.Request) { r.Body = http.NoBody },
		"too large": func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), 4 },
	} {
		req := get("/")
		change(req)
		sent, r := recordBody(req, 3)
		equal(t, true, sent == req && r == nil, name)
	}
}
