package inject

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// hand is a clock that a test moves by hand: it expires what is waited for.
type hand chan time.Time

func (h hand) after(d time.Duration) (<-chan time.Time, func() bool) {
	if d != peekTimeout {
		panic(d)
	}
	return h, func() bool { return true }
}

// An answer that takes its time streams on, with every byte in order and with
// its trailers, and nobody knows whether the token worked.
func TestPeekSlowAnswer(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		late := make(hand)
		came := make(chan struct{})
		p := serve(t, h2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Trailer", "X-Announced")
			for i := range 5 {
				_, _ = fmt.Fprintf(w, "[%d,\n", i)
				w.(http.Flusher).Flush()
				if i == 0 {
					late <- time.Time{}
				}
				<-came // the caller has it, before there is more
			}
			_, _ = io.WriteString(w, "0]]]]]")
			w.Header().Set("X-Announced", "fine")
			w.Header().Set(http.TrailerPrefix+"X-Late", "fine too")
		}, inHeader)
		h, _ := p.healing(t, onBody)
		p.transport.after = late.after
		resp, err := p.front.Client().Do(p.request(t, http.MethodGet, "/", nil))
		noError(t, err)
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewReader(resp.Body)
		for i := range 5 {
			line, err := lines.ReadString('\n')
			noError(t, err)
			equal(t, fmt.Sprintf("[%d,\n", i), line, "line")
			came <- struct{}{}
		}
		rest, err := io.ReadAll(lines)
		noError(t, err)
		equal(t, "0]]]]]", string(rest), "the end")
		equal(t, "fine", resp.Trailer.Get("X-Announced"), "announced")
		equal(t, "fine too", resp.Trailer.Get("X-Late"), "unannounced")
		wants(t, h, 0, 0, 0)
	})
}

// Text that is no JSON is handed on with its first byte, also where more may
// come for a long time.
func TestPeekLeavesTextAlone(t *testing.T) {
	came := make(chan struct{})
	p := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for range 3 {
			_, _ = io.WriteString(w, "line\n")
			w.(http.Flusher).Flush()
			<-came
		}
	}, inHeader)
	h, _ := p.healing(t, onBody)
	p.transport.after = make(hand).after // it never expires
	resp, err := p.front.Client().Do(p.request(t, http.MethodGet, "/", nil))
	noError(t, err)
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for range 3 {
		equal(t, true, lines.Scan(), "a line")
		came <- struct{}{}
	}
	equal(t, false, lines.Scan(), "more")
	wants(t, h, 0, 0, 1)
}

// An answer that says itself that it is too large to be looked at is handed on
// with its first byte, whatever it is and however it is packed.
func TestPeekLeavesLargeAnswersAlone(t *testing.T) {
	for _, rule := range []string{onStatus, onBody} {
		for _, coding := range []string{"", "gzip"} {
			came := make(chan struct{})
			p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", fmt.Sprint(maxPeek+1))
				if coding != "" {
					w.Header().Set("Content-Encoding", coding)
				}
				if rule == onStatus {
					w.WriteHeader(http.StatusUnauthorized)
				}
				_, _ = io.WriteString(w, "[")
				w.(http.Flusher).Flush()
				select {
				case <-came:
				case <-r.Context().Done():
				}
				_, _ = w.Write(bytes.Repeat([]byte(" "), maxPeek))
			}, inHeader)
			h, _ := p.healing(t, rule)
			h.fetch = nil                        // there is no other token
			p.transport.after = make(hand).after // it never expires
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			req := p.request(t, http.MethodGet, "/", nil).WithContext(ctx)
			req.Header.Set("Accept-Encoding", "gzip")
			resp, err := p.front.Client().Do(req)
			noError(t, err)
			_, err = io.ReadFull(resp.Body, make([]byte, 1))
			noError(t, err)
			close(came)
			rest, err := io.ReadAll(resp.Body)
			noError(t, err)
			equal(t, maxPeek, len(rest), "the rest")
			noError(t, resp.Body.Close())
			cancel()
		}
	}
}

// A caller that leaves in the middle of a slow answer leaves no goroutine.
func TestPeekLeavesNoGoroutine(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprint(h2), func(t *testing.T) {
			running := goleak.IgnoreCurrent()
			t.Run("calls", func(t *testing.T) {
				late := make(hand)
				p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, "[")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				}, inHeader)
				p.healing(t, onBody)
				p.transport.after = late.after
				for range 3 {
					ctx, cancel := context.WithCancel(t.Context())
					go func() { late <- time.Time{} }()
					req := p.request(t, http.MethodGet, "/", nil).WithContext(ctx)
					resp, err := p.front.Client().Do(req)
					noError(t, err)
					_, err = resp.Body.Read(make([]byte, 1))
					noError(t, err)
					cancel()
					_ = resp.Body.Close()
				}
				p.upstream.CloseClientConnections()
				p.front.CloseClientConnections()
			})
			leaktest.VerifyNone(t, running)
		})
	}
}

// inPieces is a body that comes in pieces, each with the error of its Read.
type inPieces struct {
	list []piece
	wait chan struct{} // before each; nil: at once
}

type piece struct {
	text string
	err  error
}

func (p *inPieces) Read(b []byte) (int, error) {
	if p.wait != nil {
		<-p.wait
	}
	if len(p.list) == 0 {
		return 0, io.EOF
	}
	now := p.list[0]
	n := copy(b, now.text)
	if n < len(now.text) {
		p.list[0].text = now.text[n:]
		return n, nil
	}
	p.list = p.list[1:]
	return n, now.err
}

func (p *inPieces) Close() error { return nil }

// Errors come where they came, behind the bytes before them.
func TestPeekKeepsErrors(t *testing.T) {
	for _, length := range []int64{-1, 20} {
		for _, list := range [][]piece{
			{{"{\"errcode\":40001}", nil}, {"", errBroken}},
			{{"{\"errcode\":", nil}, {"40001}", errBroken}},
			{{"[", io.ErrUnexpectedEOF}},
		} {
			want := ""
			for _, p := range list {
				want += p.text
			}
			last := list[len(list)-1].err
			resp := &http.Response{StatusCode: http.StatusOK, ContentLength: length, Body: &inPieces{list: slices.Clone(list)}, Header: http.Header{"Content-Type": {"application/json"}}}
			got, j := (&Transport{}).judge(resp, http.MethodGet, ruleOf(t, onBody))
			equal(t, realm.AskBody, j.verdict, "verdict")
			back, err := io.ReadAll(got.Body)
			equal(t, want, string(back), "bytes")
			equal(t, true, errors.Is(err, last), fmt.Sprint(err))
			noError(t, got.Body.Close())
		}
	}
}

// However the pieces of an answer and the end of our patience fall: the caller
// gets all of it, in order.
func TestPeekAnyTiming(t *testing.T) {
	text := strings.Repeat("[0123456789", 1000)
	wholes := 0
	for patience := range 20 {
		synctest.Test(t, func(t *testing.T) {
			source := &inPieces{wait: make(chan struct{})}
			for i := 0; i < len(text); i += 1100 {
				source.list = append(source.list, piece{text[i : i+1100], nil})
			}
			clock := make(hand, 1)
			done := make(chan struct{})
			defer close(done)
			go func() {
				for i := 0; ; i++ {
					if i == patience {
						clock <- time.Time{}
						synctest.Wait()
					}
					select {
					case source.wait <- struct{}{}:
					case <-done:
						return
					}
				}
			}()
			resp := &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: source, Trailer: http.Header{"X": nil}}
			got, _, whole := (&Transport{after: clock.after}).peek(resp, always)
			wholes += map[bool]int{true: 1}[whole]
			back, err := io.ReadAll(got.Body)
			noError(t, err)
			noError(t, got.Body.Close())
			if !bytes.Equal(back, []byte(text)) {
				t.Errorf("%d: %d bytes of %d, or others", patience, len(back), len(text))
			}
			equal(t, []string{"X"}, slices.Collect(maps.Keys(got.Trailer)), "trailer")
		})
	}
	equal(t, true, 0 < wholes && wholes < 20, fmt.Sprintf("%d of 20 came in time", wholes))
}
