package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const testKey = "ctk_edge-key-that-nobody-is-to-see"

var wx = realm.Ref{Realm: "w/x", Key: "a b"}

// serve is another instance in the test's hands, and a store that asks it.
func serve(t *testing.T, h http.HandlerFunc) (*Store, *observer.ObservedLogs) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	u, err := ParseURL(server.URL + "/below/")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	return New(Config{URL: u, Key: testKey, Log: zap.New(core)}), logs
}

// answers answers every request with one document.
func answers(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const typeProblem = "application/problem+json"

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://tokens.internal":        "",
		"https://tokens.internal:8081/x": "",
		"http://127.0.0.1:8081":          "",
		"http://10.1.2.3":                "",
		"http://[::1]:80":                "",
		"http://tokens.internal":         "", // its address is looked at when it is dialled
		"":                               "cannot be read",
		"tokens.internal":                "must begin with https://",
		"ftp://tokens.internal":          "must begin with https://",
		"https://":                       "must begin with https://",
		"https://u:p4ssw0rd@tokens":      "user or a password",
		"https://tokens/?a=b":            "no query",
		"https://tokens#x":               "no fragment",
		"http://8.8.8.8":                 "must be https",
		"http://[2606:4700::1111]:8081":  "must be https",
		"http://[::ffff:8.8.8.8]":        "must be https",
		"http://192.168.0.9":             "",
		"http://172.31.0.9":              "",
		"http://100.64.0.9":              "",
		"http://169.254.0.9":             "",
		"http://[fe80::1]":               "",
		"http://[fd00::1]":               "",
		"http://[64:ff9b::808:808]":      "must be https", // NAT64 of 8.8.8.8
		"http://[64:ff9b:1::808:808]":    "must be https",
		"http://[2002:808:808::1]":       "must be https", // 6to4
		"http://[2001:0:808:808::1]":     "must be https", // Teredo
		"http://[::8.8.8.8]":             "must be https",
		"http://168.63.129.16":           "must be https",
		"http://198.18.0.1":              "must be https",
		"http://172.32.0.9":              "must be https",
		"http://100.128.0.9":             "must be https",
		"https://tokens%zz":              "cannot be read",
	} {
		_, err := ParseURL(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || err != nil && strings.Contains(err.Error(), "p4ssw0rd") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := refusePublic(t.Context(), "tcp", "8.8.8.8:80", nil); err == nil {
		t.Error("a name with a public address is dialled in clear")
	}
	if err := refusePublic(t.Context(), "tcp", "[64:ff9b::808:808]:80", nil); err == nil {
		t.Error("a public address behind NAT64 is dialled in clear")
	}
	for _, address := range []string{"10.0.0.1:80", "[fe80::1%eth0]:80", "[::ffff:127.0.0.1]:80"} {
		if err := refusePublic(t.Context(), "tcp", address, nil); err != nil {
			t.Error(err)
		}
	}
}

// What is asked: the key in one header, ids as they are, the digest of a token and
// not the token.
func TestQuestions(t *testing.T) {
	var got []string
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+string(body))
		if r.Header.Get("Authorization") != "Bearer "+testKey || r.Header.Get("Cookie") != "" {
			t.Errorf("the header: %v", r.Header)
		}
		answers(http.StatusOK, "application/json", `{"id":"w/x","token":"T","expires_in":5000,"expires_at":1,"source":"upstream","lineage":7,"more":1}`)(w, r)
	})
	given, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{})
	if err != nil || given.Access != "T" || given.Left != 5*time.Second || !given.HasEnd || given.Lineage != 7 || given.Source != realm.FromUpstream {
		t.Errorf("%+v %v", given, err)
	}
	for _, want := range []tokenstore.Wanted{{Flush: true}, {Rejected: "T"}} {
		if _, err := s.Obtain(t.Context(), wx, want); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Realm(t.Context(), "w/x"); err != nil {
		t.Error(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{
		"GET /below/api/token?key=a+b&realm=w%2Fx ",
		`POST /below/api/token {"flush":true,"key":"a b","realm":"w/x"}`,
		`POST /below/api/token {"key":"a b","realm":"w/x","rejected":"e632b7095b0bf32c260fa4c539e9fd7b852d0de454e9be26f24d0d6f91d069d3"}`,
		"GET /below/api/realm/w%2Fx ",
		"GET /below/api/session ",
	}
	if text := strings.Join(got, "\n"); text != strings.Join(want, "\n") {
		t.Errorf("asked:\n%s", text)
	}
}

// What cannot be the name of anything is not asked for: a long key would make the other
// instance, or a proxy in front of it, break off, as if it were away.
func TestNoQuestionAboutNoName(t *testing.T) {
	s, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%d bytes are asked", len(r.URL.String())) })
	for _, id := range []string{"", "..", "a\nb", "\xff", strings.Repeat("k", 256), strings.Repeat("k", 1<<20)} {
		for _, ref := range []realm.Ref{{Realm: "wx", Key: id}, {Realm: id, Key: "k"}} {
			for _, want := range []tokenstore.Wanted{{}, {Flush: true}, {Rejected: "T"}} {
				var refused *realm.Error
				if _, err := s.Obtain(t.Context(), ref, want); !errors.As(err, &refused) || refused.Code != realm.CodeSecretNotFound || refused.Status != http.StatusNotFound {
					t.Errorf("%d bytes: %.100v", len(id), err)
				}
			}
		}
		if _, err := s.Realm(t.Context(), id); !errors.Is(err, tokenstore.ErrRealmNotFound) {
			t.Errorf("the realm of %d bytes: %.100v", len(id), err)
		}
	}
}

// The key is in nothing that is printed.
func TestKeyIsNotPrinted(t *testing.T) {
	s, _ := serve(t, nil)
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(text, testKey) {
		t.Error(text)
	}
}

// A life that no token has is cut, and one without an end has none.
func TestLives(t *testing.T) {
	for in, want := range map[string]time.Duration{`-5`: 0, `9223372036854775807`: maxLife, `null`: -1} {
		s, _ := serve(t, answers(http.StatusOK, "application/json", `{"token":"T","expires_in":`+in+`}`))
		given, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{})
		if err != nil || given.HasEnd != (want >= 0) || given.HasEnd && given.Left != want {
			t.Errorf("%s: %+v %v", in, given, err)
		}
	}
}

// A refusal is told as it was told here, in English, with what it says about waiting.
// What another server answers is no refusal: the instance cannot be reached.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		status       int
		body         string
		kind         string
		code         realm.Code
		at           int
		detail       string
		isNotReached bool
	}{
		{400, `{"code":"secret_not_found","detail":"该 key","reason":"there is no such secret"}`, typeProblem, "secret_not_found", 404, "there is no such secret", false},
		{400, `{"code":"realm_not_found","detail":"none"}`, typeProblem, "realm_not_found", 404, "none", false},
		{503, `{"code":"reauth_required","detail":"x"}`, typeProblem, "reauth_required", 502, "x", false},
		{503, `{"code":"token_unavailable","detail":"x","class":"hopeless","provider_code":"40013"}`, typeProblem, "token_unavailable", 503, "x", false},
		{429, `{"code":"rate_limited","detail":"x"}`, typeProblem, "rate_limited", 429, "x", false},
		{403, `{"code":"forbidden","detail":"no"}`, typeProblem, "forbidden", 403, "no", false},
		{404, `{"code":"not_found","detail":"nothing is at this path"}`, typeProblem, "", 0, "", true},
		{403, `<html>T0PS3CRET</html>`, "text/html", "", 0, "", true},
		{502, `{"code":"bad"}`, "application/json", "", 0, "", true},
		{302, ``, "text/html", "", 0, "", true},
		{302, `{"code":"forbidden","detail":"x"}`, typeProblem, "", 0, "", true},
		{204, ``, "", "", 0, "", true},
		{403, `{"code":"T0PS3CRET","detail":"x"}`, typeProblem, "", 0, "", true},
		{200, `T0PS3CRET`, "application/json", "", 0, "", true},
		{200, `{"token":""}`, "application/json", "", 0, "", true},
		{200, `{"token":["T0PS3CRET"]}`, "application/json", "", 0, "", true},
	} {
		s, _ := serve(t, answers(tt.status, tt.kind, tt.body, "Retry-After", "17", "Location", "https://elsewhere.example.com"))
		_, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{})
		if strings.Contains(fmt.Sprint(err), "T0PS3CRET") || strings.Contains(fmt.Sprint(err), testKey) || strings.Contains(fmt.Sprint(err), "key=") {
			t.Errorf("the error quotes the answer, the key or the question: %v", err)
		}
		var refused *realm.Error
		switch {
		case tt.isNotReached:
			if !errors.Is(err, tokenstore.ErrUnavailable) {
				t.Errorf("%d %s: %v", tt.status, tt.body, err)
			}
		case !errors.As(err, &refused) || refused.Code != tt.code || refused.Status != tt.at || refused.Detail != tt.detail || refused.RetryAfter != 17*time.Second:
			t.Errorf("%d %s: %+v", tt.status, tt.body, err)
		}
		if err := s.Ping(t.Context()); (err == nil) == (tt.isNotReached && tt.status != http.StatusOK || tt.body == "T0PS3CRET") {
			t.Errorf("%d %s: the ping says %v", tt.status, tt.body, err)
		}
	}
	s, _ := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{}); !errors.Is(err, tokenstore.ErrUnavailable) || strings.Contains(err.Error(), "key=") {
		t.Errorf("without an answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Obtain(ctx, wx, tokenstore.Wanted{}); !errors.Is(err, context.Canceled) {
		t.Errorf("for a caller that has gone: %v", err)
	}
}

// The key goes to nobody else: a redirect is not followed.
// What a broken server, or one in between, sends besides an answer may hold a token:
// neither the log of the process nor an error has it.
func TestNothingOfABrokenAnswerIsTold(t *testing.T) {
	const canary = "T0PS3CRET"
	good := `{"token":"t","expires_in":1000,"expires_at":1,"source":"memory","lineage":1}`
	whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
	for name, tt := range map[string]struct {
		sent string
		isOK bool
	}{
		"an answer that comes twice": {whole + strings.Replace(whole, `"t"`, `"`+canary+`"`, 1), true},
		"bytes behind the answer":    {whole + canary, true},
		"no answer at all":           {"HTP " + canary + "\r\n\r\n", false},
		"a field that is none":       {"HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n", false},
		"two lengths":                {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + canary + "\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			var printed lockedBuffer
			log.SetOutput(&printed)
			defer log.SetOutput(os.Stderr)
			over := make(chan struct{})
			s, logs := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				defer close(over)
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, tt.sent)
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = io.Copy(io.Discard, c) // until the other side has closed it
			})
			given, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{})
			if (err == nil) != tt.isOK || tt.isOK && given.Access != "t" {
				t.Errorf("got %+v, %v", given, err)
			}
			<-over
			text := printed.String() + fmt.Sprint(err)
			for _, entry := range logs.All() {
				text += fmt.Sprint(entry.Message, entry.ContextMap())
			}
			if strings.Contains(text, canary) {
				t.Errorf("it is told: %s", text)
			}
		})
	}
}

// lockedBuffer is written by one goroutine, and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestRedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s is asked", r.URL) }))
	t.Cleanup(other.Close)
	s, _ := serve(t, answers(http.StatusTemporaryRedirect, "text/html", "", "Location", other.URL))
	if _, err := s.Obtain(t.Context(), wx, tokenstore.Wanted{}); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Error(err)
	}
}

// A realm is read as what is said about the use of its tokens, whatever else is said.
func TestRealmForUse(t *testing.T) {
	s, _ := serve(t, answers(http.StatusOK, "application/json", `{"id":"wx","config":{"api":"http://a.example.com","url":"https://a.example.com/token","methods":["GET"],"unattended":true}}`))
	r, err := s.Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r.Config)
	if err != nil || string(text) != `{"api":"http://a.example.com","allow_http":true,"methods":["GET"]}` {
		t.Errorf("%s %v", text, err)
	}
	if _, err := s.Realm(t.Context(), "other"); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Errorf("the answer is about another realm: %v", err)
	}
	s, _ = serve(t, answers(http.StatusNotFound, typeProblem, `{"code":"realm_not_found","detail":"x"}`))
	if _, err := s.Realm(t.Context(), "wx"); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Error(err)
	}
}

// told writes down what a listener is told.
type told struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (l *told) add(line string) {
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *told) Hears()  { l.add("hears") }
func (l *told) IsDeaf() { l.add("deaf") }
func (l *told) Changed(ref realm.Ref, lineage int64, state string) {
	l.add(fmt.Sprintf("%s %s %d %s", ref.Realm, ref.Key, lineage, state))
}

// wait waits until so many lines were told.
func (l *told) wait(t *testing.T, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		l.mu.Lock()
		lines := l.lines
		l.mu.Unlock()
		if len(lines) >= n {
			return lines[:n]
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			t.Fatalf("only %q was told", lines)
		}
	}
}

// A stream is read event by event. When it ends, or says what nobody understands,
// there is another one, and what was told between the two is not known.
func TestListen(t *testing.T) {
	streams := []string{
		"event: ready\ndata: {}\n\n: alive\n\ndata: {\"realm\":\"w\",\"key\":\"k\",\"lineage\":3,\"state\":\"live\"}\n\nevent: gap\ndata: {}\n\n",
		"event: ready\ndata: {}\n\ndata: {\"realm\":\"w\",\"lineage\":0,\"state\":\"changed\"}\n\ndata: nonsense\n\n",
		"event: ready\ndata: {}\n\nevent: later\ndata: {}\n\n",
	}
	n := 0
	s, logs := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/below/api/watch" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		text := streams[min(n, len(streams)-1)]
		n++
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
	})
	to := &told{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Listen(ctx, to); close(done) }()
	got := strings.Join(to.wait(t, 9), ", ")
	cancel()
	<-done
	if want := "hears, w k 3 live, hears, deaf, hears, w  0 changed, deaf, hears, deaf"; got != want {
		t.Errorf("told %q", got)
	}
	for _, entry := range logs.All() {
		if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, testKey) || strings.Contains(text, "nonsense") {
			t.Errorf("the log: %s", text)
		}
	}
	if lost := logs.FilterMessageSnippet("not heard of any more").Len(); lost == 0 || lost > n {
		t.Errorf("the log tells %d times that nothing is heard, of %d streams", lost, n)
	}
}

// The clock goes on with the machine, and is not the one that somebody sets.
func TestClock(t *testing.T) {
	now := NewClock()
	first := now()
	if off := time.Since(first).Abs(); off > time.Minute {
		t.Errorf("it begins %s away", off)
	}
	if strings.Contains(first.String(), "m=") {
		t.Error("its times have a second reading, by which they would be compared")
	}
	for range 1000 {
		if next := now(); next.Before(first) {
			t.Fatal("it goes back")
		}
	}
	before := sinceBoot()
	if after := sinceBoot(); before < 0 || after < before {
		t.Errorf("%s, then %s", before, after)
	}
}

// The machine's clock jumps by an hour, ahead and back: nothing is seen of it.
func TestClockThatJumps(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wall, boot := begin, 7*time.Hour
	now := newClock(func() time.Time { return wall }, func() time.Duration { return boot })
	for _, jump := range []time.Duration{time.Hour, -2 * time.Hour} {
		wall = wall.Add(jump)
		boot += time.Minute
	}
	if got := now(); !got.Equal(begin.Add(2 * time.Minute)) {
		t.Errorf("it is %s, two minutes after %s", got, begin)
	}
}

// Nothing can be changed.
func TestReadOnly(t *testing.T) {
	s, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s is asked", r.URL) })
	ctx := t.Context()
	_, realmErr := s.UpdateRealm(ctx, "x", nil)
	_, secretErr := s.UpdateSecret(ctx, wx, nil)
	_, clientErr := s.UpdateClient(ctx, "x", nil)
	_, companyErr := s.UpdateCompany(ctx, "x", nil)
	_, pushErr := s.Push(ctx, wx, "f", "v", 0)
	_, claimErr := s.Coordinate(ctx, wx, nil)
	_, takeErr := s.TakeAuthorization(ctx, tokenstore.StateHash{})
	for i, err := range []error{
		realmErr, secretErr, clientErr, companyErr, pushErr, claimErr, takeErr, s.DeleteRealm(ctx, "x", true), s.DeleteSecret(ctx, wx),
		s.DeleteClient(ctx, "x"), s.DeleteCompany(ctx, "x"), s.RequireClients(ctx), s.AppendAudit(ctx), s.BeginAuthorization(ctx, tokenstore.Authorization{}, 0),
	} {
		var refused *realm.Error
		if !errors.As(err, &refused) || refused.Code != realm.CodeReadOnly || refused.Status != http.StatusConflict {
			t.Errorf("%d: %v", i, err)
		}
	}
}
