package shortcut

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// step is a request and what the upstream does with it.
type step struct {
	method, target string
	header         http.Header
	body           string
	breaksOff      bool // the caller's body ends with an error
	isSlow         bool // it takes longer than anybody waits
	isOpen         bool // the length of the body is not announced
	// pieces are written one after the other.
	pieces []string
	when   moment
	closes bool // the upstream closes the connection behind the answer
	// cancels: the caller goes away when the header of the answer is there; leaves:
	// he reads nothing of the body.
	cancels, leaves bool
}

// moment tells when the upstream answers.
type moment uint8

const (
	afterRequest  moment = iota
	afterHeader          // although the body has not been read
	beforeRequest        // of its own accord, on the idle connection
	never                // it closes instead
	moments
)

// script plays the upstream for one of the ways.
type script struct {
	mu    sync.Mutex
	steps []step
	conns []*memory
	got   []*bytes.Buffer // by connection
	all   bytes.Buffer    // by all of them
	now   int             // the step that is played
}

func (s *script) dial(context.Context, string, string) (net.Conn, error) {
	client, server := newMemory()
	got := new(bytes.Buffer)
	s.mu.Lock()
	s.conns, s.got = append(s.conns, server), append(s.got, got)
	s.mu.Unlock()
	go s.serve(server, got)
	return client, nil
}

// patience is how long the upstream waits where everybody waits for it.
const patience = 2 * time.Minute

func (s *script) closeWhenTired(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(patience):
			s.close()
		}
	}
}

// close closes all connections.
func (s *script) close() {
	s.mu.Lock()
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (s *script) step() step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steps[s.now]
}

// serve plays the upstream on one connection.
func (s *script) serve(c *memory, got *bytes.Buffer) {
	r, note := bufio.NewReader(c), &lockedWriter{&s.mu, io.MultiWriter(got, &s.all)}
	for {
		length, err := readHeader(r, note)
		if err != nil {
			return
		}
		st := s.step()
		if st.when == never {
			_ = c.Close()
			return
		}
		read := func() bool { return readBody(r, note, length) }
		if st.when == afterRequest && !read() {
			return
		}
		st.answer(c)
		if st.when != afterRequest && !st.closes && !read() {
			return
		}
		if st.closes {
			_ = c.Close()
			return
		}
	}
}

// answer writes the answer. Everybody else has come to rest before the next piece.
func (st step) answer(c io.Writer) {
	for _, piece := range st.pieces {
		_, _ = io.WriteString(c, piece)
		time.Sleep(time.Millisecond)
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// readHeader reads the header of a request, and returns the length of its body; -1
// for chunks. What was sent and not read is not noted: how much that is, is chance.
func readHeader(r *bufio.Reader, note io.Writer) (length int, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		_, _ = io.WriteString(note, line)
		_, _ = fmt.Sscanf(line, "Content-Length: %d", &length)
		if strings.HasPrefix(line, "Transfer-Encoding") {
			length = -1
		}
		if line == "\r\n" {
			return length, nil
		}
	}
}

func readBody(r *bufio.Reader, note io.Writer, length int) bool {
	if length >= 0 {
		_, err := io.CopyN(note, r, int64(length))
		return err == nil
	}
	for {
		line, err := r.ReadString('\n')
		_, _ = io.WriteString(note, line)
		if err != nil {
			return false
		}
		if line == "0\r\n" {
			line, err := r.ReadString('\n')
			_, _ = io.WriteString(note, line)
			return err == nil
		}
	}
}

// play plays the steps by one of the ways, and returns everything that somebody saw.
func play(t *testing.T, steps []step, isShort bool, ways io.Writer) string {
	t.Helper()
	var seen strings.Builder
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: steps}
		surplus := 0
		rt := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 10}
		inject.GuardConnections(rt, func() { s.mu.Lock(); defer s.mu.Unlock(); surplus++ })
		var way http.RoundTripper = rt
		closeIdle := rt.CloseIdleConnections
		if isShort {
			if !Suits(rt) {
				t.Fatal("the settings do not suit")
			}
			short := New(rt, func(_ *http.Request, w Way) { fmt.Fprintf(ways, "%v ", w) })
			way, closeIdle = short, short.CloseIdleConnections
		}
		for n, st := range steps {
			s.mu.Lock()
			s.now = n
			conns := slices.Clone(s.conns)
			s.mu.Unlock()
			if st.when == beforeRequest && len(conns) > 0 {
				st.answer(conns[len(conns)-1])
			}
			synctest.Wait()
			done := make(chan struct{})
			go s.closeWhenTired(done)
			begin := time.Now()
			fmt.Fprintf(&seen, "%d: %s", n, st.send(way))
			fmt.Fprintf(&seen, ", after %v\n", time.Since(begin).Round(time.Minute))
			close(done)
			synctest.Wait()
			time.Sleep(10 * time.Second) // what is idle is looked at
			synctest.Wait()
		}
		s.mu.Lock()
		fmt.Fprintf(&seen, "sent: %q\n", s.all.String())
		for n, c := range s.conns {
			fmt.Fprintf(&seen, "idle %d, closed %v\n", n, c.isClosed())
		}
		s.mu.Unlock()
		closeIdle()
		synctest.Wait()
		s.mu.Lock()
		for n, c := range s.conns {
			fmt.Fprintf(&seen, "connection %d, closed %v: %q\n", n, c.isClosed(), s.got[n])
		}
		fmt.Fprintf(&seen, "surplus: %d\n", surplus)
		s.mu.Unlock()
		s.close()
		time.Sleep(2 * time.Hour) // a slow body has come to its end
	})
	return seen.String()
}

var errBrokenOff = errors.New("the caller broke off")

// send sends the request of the step, and returns what the caller sees.
func (st step) send(way http.RoundTripper) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var from io.Reader = strings.NewReader(st.body)
	switch {
	case st.breaksOff:
		from = io.MultiReader(from, failing{})
	case st.isSlow:
		from = io.MultiReader(strings.NewReader(st.body[:len(st.body)/2]), sleeping{}, strings.NewReader(st.body[len(st.body)/2:]))
	}
	req, err := http.NewRequestWithContext(ctx, st.method, "http://api.example"+st.target, io.NopCloser(from))
	if err != nil {
		return ""
	}
	req.Header, req.ContentLength = st.header.Clone(), int64(len(st.body))
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	switch {
	case st.breaksOff:
		req.ContentLength += 10
	case st.isOpen:
		req.ContentLength = -1
	case len(st.body) == 0:
		req.Body = nil
	}
	resp, err := way.RoundTrip(req)
	if err != nil {
		return "error " + errorText(err)
	}
	defer func() { _ = resp.Body.Close() }()
	head := fmt.Sprintf("%s %q, length %d, close %v, coding %v, unpacked %v, %s",
		resp.Proto, resp.Status, resp.ContentLength, resp.Close, resp.TransferEncoding, resp.Uncompressed, fields(resp.Header))
	if st.cancels {
		cancel()
		synctest.Wait()
	}
	if st.leaves {
		return head
	}
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%s, body %q, error %s, trailer %s", head, body, errorText(err), fields(resp.Trailer))
}

// errorText is an error as far as somebody goes by it. What the two ways say of a
// connection that does not exist any more is not the same; what they say of an answer
// is.
func errorText(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.Is(err, errBrokenOff), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "end"
	}
	return err.Error()
}

func fields(h http.Header) string { return fmt.Sprint(map[string][]string(h)) }

// sleeping is a part of a body, without a byte, for which everybody waits.
type sleeping struct{}

func (sleeping) Read([]byte) (int, error) {
	time.Sleep(time.Hour)
	return 0, io.EOF
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBrokenOff }

// compare plays the steps by both ways, and returns which ways the requests took.
func compare(t *testing.T, steps ...step) (ways string) {
	t.Helper()
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	var taken strings.Builder
	usual, short := play(t, steps, false, nil), play(t, steps, true, &taken)
	if taken.String() != strings.Repeat("short ", len(steps)) { // the other requests have connections of their own
		usual, _, _ = strings.Cut(usual, "idle 0")
		short, _, _ = strings.Cut(short, "idle 0")
	}
	if diff := cmp.Diff(strings.Split(usual, "\n"), strings.Split(short, "\n")); diff != "" {
		t.Errorf("by http.Transport (-), by the short way (+):\n%s\nsteps: %.2000q", diff, fmt.Sprint(steps))
	}
	return taken.String()
}

const plainAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func get(pieces ...string) step { return step{method: "GET", target: "/a?b=c", pieces: pieces} }

// Each answer is played to a request, and another request comes after it.
func TestAnswersAreTheSame(t *testing.T) {
	answers := readAnswers(t)
	for name, pieces := range answers {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			for _, closes := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s to %s, closes %v", name, method, closes), func(t *testing.T) {
					first := step{method: method, target: "/", pieces: pieces, closes: closes}
					if ways := compare(t, first, get(plainAnswer), get(plainAnswer)); ways != "short short short " {
						t.Error(ways)
					}
					compare(t, get(plainAnswer), first, get(plainAnswer)) // by a connection that was used before
					compare(t, first)                                     // what becomes of the connection that nobody uses again
					first.leaves = true
					compare(t, first, get(plainAnswer))
				})
			}
		}
	}
}

// readAnswers reads testdata/answers.
func readAnswers(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("testdata/answers")
	if err != nil {
		t.Fatal(err)
	}
	answers := make(map[string][]string)
	for line := range strings.Lines(string(content)) {
		if name, pieces, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok && name[0] != '#' {
			answers[name] = readPieces(t, pieces)
		}
	}
	return answers
}

var manyBytes = regexp.MustCompile(`\{\d+\}`)

func readPieces(t *testing.T, line string) (pieces []string) {
	t.Helper()
	for line != "" {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		line = strings.TrimPrefix(line[len(quoted):], ", ")
		piece, _ := strconv.Unquote(quoted)
		pieces = append(pieces, manyBytes.ReplaceAllStringFunc(piece, func(n string) string {
			count, _ := strconv.Atoi(strings.Trim(n, "{}"))
			return strings.Repeat("x", count)
		}))
	}
	return pieces
}

// packed is "ok" in gzip.
const packed = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xca\xcf\x06\x04\x00\x00\xff\xff\x47\xdd\xdc\x79\x02\x00\x00\x00"

// Each request is sent by a connection that was used before, and another one comes
// after it.
func TestRequestsAreTheSame(t *testing.T) {
	long := strings.Repeat("body ", 100<<10)
	for name, c := range map[string]struct {
		step
		way string
	}{
		"fields": {step{header: http.Header{
			"X-B": {"2", "1"}, "X-A": {" trimmed\t"}, "A": {""}, "Z": {}, "Te": {"trailers"}, "Content-Length": {"9"}, "Trailer": {"X"}, "Host": {"evil"}, "lower": {"x"},
		}}, "short"},
		"no agent":            {step{header: http.Header{"User-Agent": {""}}}, "short"},
		"two agents":          {step{header: http.Header{"User-Agent": {" a ", "b"}}}, "short"},
		"nil agent":           {step{header: http.Header{"User-Agent": nil}}, "short"},
		"coding":              {step{header: http.Header{"Accept-Encoding": {"gzip, br"}}}, "short"},
		"empty coding":        {step{header: http.Header{"Accept-Encoding": {"", "br"}}}, "short"},
		"range":               {step{header: http.Header{"Range": {"bytes=0-1"}}}, "short"},
		"latin":               {step{header: http.Header{"X": {"\xe4"}}}, "short"},
		"line break":          {step{header: http.Header{"X": {"a\r\nY: b"}}}, "unusual"},
		"blank in a name":     {step{header: http.Header{"X Y": {"a"}}}, "unusual"},
		"connection":          {step{header: http.Header{"Connection": {"X-A"}, "X-A": {"1"}}}, "unusual"},
		"upgrade":             {step{header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}}, "unusual"},
		"target":              {step{target: "/%2f/a%20b/ä?x=%zz&y"}, "short"},
		"two slashes":         {step{target: "//a//b"}, "short"},
		"no path":             {step{target: "?"}, "short"},
		"long header":         {step{header: http.Header{"X": {long[:100<<10]}}}, "short"},
		"own method":          {step{method: "PURGE"}, "short"},
		"lower case method":   {step{method: "get"}, "unusual"},
		"odd method":          {step{method: "M-SEARCH"}, "unusual"},
		"empty POST":          {step{method: "POST"}, "short"},
		"empty DELETE":        {step{method: "DELETE"}, "short"},
		"body":                {step{method: "POST", body: "body"}, "short"},
		"body of a GET":       {step{body: "body"}, "short"},
		"long body":           {step{method: "POST", body: long}, "short"},
		"open body":           {step{method: "POST", body: "body", isOpen: true}, "open_body"},
		"continue":            {step{method: "POST", body: "body", header: http.Header{"Expect": {"100-continue"}}}, "expect"},
		"early answer":        {step{method: "POST", body: long, when: afterHeader}, "short"},
		"early answer, close": {step{method: "POST", body: long, when: afterHeader, closes: true}, "short"},
		"answer first":        {step{when: beforeRequest}, "short"},
		"closed":              {step{when: never}, "short"},
		"closed POST":         {step{method: "POST", when: never}, "short"},
		"closed, with a key":  {step{method: "POST", when: never, header: http.Header{"Idempotency-Key": {"1"}}}, "short"},
		"closed, with a body": {step{method: "POST", when: never, body: "body", header: http.Header{"Idempotency-Key": {"1"}}}, "short"},
		"closed, long body":   {step{method: "POST", when: never, body: long}, "short"},
		"caller goes away":    {step{cancels: true, pieces: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbo", "dy"}}, "short"},
		"left early":          {step{leaves: true, pieces: []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "body"}}, "short"},
		"slow body":           {step{method: "POST", body: long, isSlow: true, when: afterHeader}, "short"},
		"body breaks off":     {step{method: "POST", body: long, breaksOff: true, when: afterHeader, pieces: []string{}}, "short"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = "GET"
			}
			if c.target == "" {
				c.target = "/"
			}
			if c.pieces == nil {
				c.pieces = []string{plainAnswer}
			}
			if ways := compare(t, get(plainAnswer), c.step, get(plainAnswer)); ways != "short "+c.way+" short " {
				t.Errorf("ways: %s", ways)
			}
		})
	}
}

// What is different: of a short request whose caller breaks off nothing is sent.
func TestShortBodyIsReadFirst(t *testing.T) {
	st := step{method: "POST", target: "/", body: "body", breaksOff: true, pieces: []string{plainAnswer}}
	for isShort, want := range map[bool]string{
		false: "0: error end, after 0s\nsent: \"POST / HTTP/1.1\\r\\nHost: api.example",
		true:  "0: error end, after 0s\nsent: \"\"\nidle 0, closed false\nconnection 0, closed true: \"\"\nsurplus: 0\n",
	} {
		if seen := play(t, []step{st}, isShort, io.Discard); !strings.HasPrefix(seen, want) {
			t.Errorf("short %v: %s", isShort, seen)
		}
	}
}

// FuzzShortcut compares the two ways with whatever requests and answers.
func FuzzShortcut(f *testing.F) {
	f.Add("GET", "/a?b=c", "X-A: 1\nB: 2", "", []byte(plainAnswer), uint8(0), uint8(0))
	f.Add("HEAD", "/", "", "", []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), uint8(0), uint8(1))
	f.Add("POST", "/", "Content-Type: text/plain", "body", []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n"), uint8(50), uint8(2))
	f.Add("PUT", "/", "", "body", []byte("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"), uint8(27), uint8(4))
	f.Add("GET", "/", "Accept-Encoding: gzip", "", []byte("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok"), uint8(9), uint8(3))
	f.Add("GET", "/", "", "", []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 26\r\n\r\n"+packed), uint8(99), uint8(32))
	f.Fuzz(func(t *testing.T, method, target, header, body string, answer []byte, cut, how uint8) {
		st := step{method: method, target: target, body: body, header: make(http.Header)}
		for line := range strings.SplitSeq(header, "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				st.header.Add(name, value)
			}
		}
		at := min(int(cut), len(answer))
		st.pieces = []string{string(answer[:at]), string(answer[at:])}
		st.when, st.closes = moment(how)%moments, how&4 != 0
		st.leaves, st.cancels = how&8 != 0, how&16 != 0
		if !strings.HasPrefix(target, "/") { // it would be a part of the host
			return
		}
		compare(t, get(plainAnswer), st, get(plainAnswer))
	})
}
