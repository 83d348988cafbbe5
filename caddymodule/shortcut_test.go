package caddymodule

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scripted is an upstream that writes down what it gets and plays an answer to it.
type scripted struct {
	net.Listener
	mu     sync.Mutex
	got    []string
	answer []string
	closes bool
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go s.accept()
	return s
}

func (s *scripted) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		go s.serve(c)
	}
}

func (s *scripted) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	var seen bytes.Buffer
	r := bufio.NewReader(io.TeeReader(c, &seen))
	for {
		seen.Reset()
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, req.Body)
		s.mu.Lock()
		s.got = append(s.got, seen.String())
		answer, closes := s.answer, s.closes
		s.mu.Unlock()
		if err != nil {
			return
		}
		for _, piece := range answer {
			_, _ = io.WriteString(c, piece)
		}
		if closes {
			return
		}
	}
}

// play sets what is answered from now on, and forgets what came before.
func (s *scripted) play(answer []string, closes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got, s.answer, s.closes = nil, answer, closes
}

func (s *scripted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

const shortToken = "0123456789abcdef0123456789abcdef"

// startBoth starts Caddy with the same proxies twice: below /on, and below /off, where
// nothing takes the short way.
func startBoth(t *testing.T, s *scripted) *instance {
	t.Helper()
	i := newInstance(t)
	i.config = freeAddress(t)
	realms, site := "", ""
	for id, more := range map[string]string{
		"q": "inject query access_token\nrenew_on status 401", "h": "inject header Authorization \"Bearer {token}\"\npass Cookie",
		"f": "inject query access_token\nforwarded",
	} {
		realms += "realm " + id + " {\napi http://" + s.Addr().String() + "\nallow_http\ngrant static\n" + more + "\nsecret main {\ntoken " + shortToken + "\n}\n}\n"
		for _, way := range []string{"on", "off"} {
			site += `
	handle_path /` + way + `/` + id + `/* {
` + shortLogFields + `
		token_proxy {
			realm ` + id + `
			key main
			shortcut ` + way + `
		}
	}
	handle_path /` + way + `-ops/` + id + `/* {
		token_proxy http://` + s.Addr().String() + ` {
			realm ` + id + `
			key main
			header_up X-Up "{http.reverse_proxy.upstream.port} {http.request.header.X-A}"
			header_up -X-Gone
			header_up X-Replaced a b
			header_down X-Down "{http.reverse_proxy.status_code} {http.reverse_proxy.header.Content-Type}"
			header_down -Server
			header_down >X-A 1 9
			header_down Keep-Alive timeout=5
			header_down +Proxy-Authenticate Basic
			flush_interval -1
			shortcut ` + way + `
		}
	}
	handle_path /` + way + `-any/* {
		token_gateway {
			shortcut ` + way + `
		}
	}`
		}
	}
	i.load(realms, site)
	return i
}

// shortPlaceholders are those of the lines of the access log that are compared.
var shortPlaceholders = []string{
	"status_code", "status_text", "retries", "upstream.address", "upstream.hostport", "upstream.host", "upstream.port", "upstream.requests",
	"upstream.max_requests", "upstream.fails", "header.X-A", "header.Connection", "header.Content-Type", "header.Set-Cookie",
}

// shortTimes are those of which it is compared whether they are there.
var shortTimes = []string{"duration", "duration_ms", "upstream.latency", "upstream.latency_ms", "upstream.duration", "upstream.duration_ms"}

var shortLogFields = func() (lines string) {
	for n, name := range slices.Concat(shortPlaceholders, shortTimes) {
		lines += fmt.Sprintf("log_append p%02d {http.reverse_proxy.%s}\n", n, name)
	}
	return lines
}()

// shortBeginnings are the paths of the proxies of startBoth.
var shortBeginnings = []string{"/%s/q", "/%s/h", "/%s/f", "/%s-ops/q", "/%s-ops/h", "/%s-any/q/main", "/%s-any/h/main"}

// sniffed is the type that net/http gives to an answer without one, if the header of
// the answer is sent together with the body. Of a stream that is chance, for
// reverse_proxy.
const sniffed = "text/plain; charset=utf-8"

var (
	ports = regexp.MustCompile(`:\d+`)
	dates = regexp.MustCompile(`(?m)^Date: .*\r\n`)
	// emptyStream is the end of an answer of unknown length without a body. Which of
	// the two reverse_proxy makes of it is chance as well.
	emptyStream = regexp.MustCompile(`Content-Length: 0\r\nConnection: close\r\n\r\n$|Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$`)

	line = regexp.MustCompile(`^([A-Za-z]+) (http://[^/]*)?/(on|off)`)
)

// exchange sends a raw request by one of the ways. It returns what the caller and what
// the upstream got.
func (s *scripted) exchange(t *testing.T, i *instance, raw, beginning, way string, answer []string, closes bool) string {
	t.Helper()
	s.play(answer, closes)
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, "{begin}", fmt.Sprintf(beginning, way)), "{host}", i.host)
	got := dates.ReplaceAllString(rawTo(t, i.host, raw), "")
	if strings.Contains(beginning, "-ops") || strings.Contains(got, "Transfer-Encoding: chunked") {
		got = strings.ReplaceAll(got, "Content-Type: "+sniffed+"\r\n", "")
	}
	return fmt.Sprintf("caller: %q\nupstream: %q", emptyStream.ReplaceAllString(got, "(empty)"), s.seen())
}

// compareBoth plays an exchange by both ways, and another one behind it.
func (s *scripted) compareBoth(t *testing.T, i *instance, raw, beginning string, answer []string, closes bool) {
	t.Helper()
	var all [2]string
	for n, way := range []string{"off", "on"} {
		for _, step := range []struct {
			raw, beginning string
			answer         []string
			closes         bool
		}{{plainRequest, beginning, plainAnswer, false}, {raw, beginning, answer, closes}, {plainRequest, beginning, plainAnswer, false}} {
			all[n] += s.exchange(t, i, step.raw, step.beginning, way, step.answer, step.closes) + "\n"
		}
	}
	if diff := cmp.Diff(strings.Split(all[0], "\n"), strings.Split(all[1], "\n")); diff != "" {
		t.Errorf("by reverse_proxy (-), by the short way (+):\n%.3000s", diff)
	}
}

const plainRequest = "GET {begin}/plain HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"

var plainAnswer = []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}

// What the API and the caller get does not depend on the way that a request takes.
func TestShortcutIsTheSame(t *testing.T) {
	s := startScripted(t)
	i := startBoth(t, s)
	for _, beginning := range shortBeginnings {
		before := shortCount(t, i)
		s.exchange(t, i, plainRequest, beginning, "off", plainAnswer, false)
		s.exchange(t, i, plainRequest, beginning, "on", plainAnswer, false)
		want := before + 1
		if strings.Contains(beginning, "/f") { // forwarded
			want = before
		}
		if now := shortCount(t, i); now != want {
			t.Errorf("%s: %d requests took the short way, want %d", beginning, now-before, want-before)
		}
	}
	for name, raw := range rawRequests() {
		for _, beginning := range shortBeginnings {
			t.Run(name+" "+beginning[1:], func(t *testing.T) {
				s.compareBoth(t, i, raw, beginning, plainAnswer, false)
			})
		}
	}
	for name, answer := range readAnswers(t) {
		if strings.HasSuffix(name, " later") {
			continue // it is chance whether the next request is faster; package shortcut has no chance in it
		}
		for _, method := range []string{"GET", "HEAD", "POST"} {
			for _, beginning := range shortBeginnings[:4] {
				t.Run(name+" to "+method+" "+beginning[1:], func(t *testing.T) {
					raw := method + strings.TrimPrefix(plainRequest, "GET")
					s.compareBoth(t, i, raw, beginning, answer, true)
				})
			}
		}
	}
	compareLogs(t, i)
	if metrics := i.metrics(); !strings.Contains(metrics, `caddy_tokens_ways_total{way="short"} `) || !strings.Contains(metrics, `caddy_tokens_ways_total{way="off"} `) {
		t.Error("the ways are not counted")
	}
}

// shortCount is how many requests took the short way.
func shortCount(t *testing.T, i *instance) int {
	t.Helper()
	_, after, _ := strings.Cut(i.metrics(), `caddy_tokens_ways_total{way="short"} `)
	text, _, _ := strings.Cut(after, "\n")
	n, _ := strconv.Atoi(text)
	return n
}

func rawRequests() map[string]string {
	const begin = "GET {begin}/a/b?x=1&y=%zz HTTP/1.1\r\nHost: {host}\r\n"
	const post = "POST {begin}/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
	long := strings.Repeat("0123456789", 2000)
	return map[string]string{
		"plain":                 begin + "Connection: close\r\n\r\n",
		"fields":                begin + "Connection: close, X-Hop\r\nX-Hop: 1\r\nX-A: 2\r\nX-A: 1\r\nx-lower:  v \r\nX-Gone: 1\r\nX-Replaced: banana\r\nTE: trailers, deflate\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTrailer: X\r\n\r\n",
		"listed TE":             begin + "Connection: close, TE\r\nTE: trailers\r\n\r\n",
		"network":               begin + "Connection: close\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Foo: 1\r\nForwarded: for=1\r\nVia: 1.1 x\r\nX-Real-IP: 1\r\n\r\n",
		"credentials":           begin + "Connection: close\r\nAuthorization: Bearer x\r\nProxy-Authorization: Basic x\r\nCookie: a=b\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
		"aliases":               begin + "Connection: close, Authorization\r\nauthorization: 1\r\nAccess_Token: 2\r\nX_Access_Token: 3\r\n\r\n",
		"own token":             "GET {begin}/a?access_token=evil&b=1&ACCESS%5ftoken=2 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
		"agent":                 begin + "Connection: close\r\nUser-Agent: curl\r\nAccept-Encoding: gzip, br\r\n\r\n",
		"empty agent":           begin + "Connection: close\r\nUser-Agent:\r\n\r\n",
		"range":                 begin + "Connection: close\r\nRange: bytes=0-1\r\n\r\n",
		"absolute":              "GET http://{host}{begin}/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
		"dots":                  "GET {begin}/a//b/../c/%2e%2e/d%2Fe HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
		"odd path":              "GET {begin}/\xc3\xa4/{}|^ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
		"old":                   "GET {begin}/a HTTP/1.0\r\nHost: {host}\r\n\r\n",
		"expect":                post + "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
		"body":                  post + "Content-Length: 4\r\n\r\nbody",
		"empty body":            post + "Content-Length: 0\r\n\r\n",
		"no length":             post + "\r\n",
		"long body":             post + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(long)) + long,
		"chunks":                post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"chunks with a trailer": post + "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n4\r\nbody\r\n0\r\nX-T: 1\r\n\r\n",
		"incremental":           post + "Incremental: ?1\r\nContent-Length: 4\r\n\r\nbody",
		"upgrade":               begin + "Connection: close, upgrade\r\nUpgrade: websocket\r\n\r\n",
		"unasked upgrade":       begin + "Connection: close\r\nUpgrade: websocket\r\n\r\n",
		"TRACE":                 "TRACE" + strings.TrimPrefix(begin, "GET") + "Connection: close\r\n\r\n",
		"CONNECT":               "CONNECT x:1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
		"own method":            "PURGE" + strings.TrimPrefix(begin, "GET") + "Connection: close\r\n\r\n",
		"lower case":            "get" + strings.TrimPrefix(begin, "GET") + "Connection: close\r\n\r\n",
		"body of a GET":         begin + "Connection: close\r\nContent-Length: 4\r\n\r\nbody",
		"two lengths":           post + "Content-Length: 0\r\nContent-Length: 4\r\n\r\nbody",
		"length and chunks":     post + "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n",
		"chunks in disguise":    post + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n",
		"bare line feed":        begin + "Connection: close\nX: y\n\n",
		"pipelined":             strings.Replace(plainRequest, "Connection: close\r\n", "", 1) + plainRequest,
	}
}

// compareLogs compares the access logs of the two ways.
func compareLogs(t *testing.T, i *instance) {
	t.Helper()
	var logs [2][]string
	var aborted []string // by turns
	for text := range strings.Lines(i.log()) {
		entry := make(map[string]any)
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			continue
		}
		if entry["msg"] == "aborting with incomplete response" {
			aborted = append(aborted, ports.ReplaceAllString(fmt.Sprint(entry["level"], entry["error"]), ":port"))
		}
		if entry["msg"] != "handled request" {
			continue
		}
		request := entry["request"].(map[string]any)
		uri := fmt.Sprint(request["method"], " ", request["uri"])
		way := 0
		if strings.Contains(uri, "/on") {
			way = 1
		}
		headers := entry["resp_headers"].(map[string]any)
		delete(headers, "Date")
		if reflect.DeepEqual(headers["Content-Type"], []any{sniffed}) {
			delete(headers, "Content-Type")
		}
		seen := line.ReplaceAllString(uri, "$1 ") + fmt.Sprint(entry["status"], entry["size"], entry["bytes_read"], headers)
		for n := range shortPlaceholders {
			seen += fmt.Sprintf(" %q %T", fmt.Sprint(entry[fmt.Sprintf("p%02d", n)]), entry[fmt.Sprintf("p%02d", n)])
		}
		for n := range shortTimes {
			seen += fmt.Sprintf(" %T", entry[fmt.Sprintf("p%02d", len(shortPlaceholders)+n)])
		}
		logs[way] = append(logs[way], seen)
	}
	for n, text := range aborted {
		if text != aborted[n&^1] || len(aborted)%2 != 0 || !strings.Contains(text, "reading: ") {
			t.Errorf("of an aborted answer: %q", aborted)
			break
		}
	}
	if len(logs[0]) < 1000 || len(aborted) < 10 {
		t.Errorf("%d lines, %d of aborted answers", len(logs[0]), len(aborted))
	}
	if diff := cmp.Diff(logs[0], logs[1]); diff != "" {
		t.Errorf("the access log by reverse_proxy (-), by the short way (+):\n%.3000s", diff)
	}
}

// readAnswers reads the answers that package shortcut is tested with.
func readAnswers(t *testing.T) map[string][]string {
	t.Helper()
	many := regexp.MustCompile(`\{\d+\}`)
	answers := make(map[string][]string)
	for text := range strings.Lines(readText(t, "../internal/shortcut/testdata/answers")) {
		name, rest, ok := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		if !ok || name[0] == '#' {
			continue
		}
		answers[name] = nil
		for rest != "" {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			rest = strings.TrimPrefix(rest[len(quoted):], ", ")
			piece, _ := strconv.Unquote(quoted)
			answers[name] = append(answers[name], many.ReplaceAllStringFunc(piece, func(n string) string {
				count, _ := strconv.Atoi(strings.Trim(n, "{}"))
				return strings.Repeat("x", count)
			}))
		}
	}
	if len(answers) < 60 {
		t.Fatalf("%d answers", len(answers))
	}
	return answers
}
