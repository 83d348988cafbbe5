package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/internal/shortcut"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// shortRequest is a request on the short way, with everything that it needs, so that
// all of it costs one allocation. It is the context of what is sent, too.
type shortRequest struct {
	context.Context
	out   http.Request // as it goes to inject
	url   url.URL
	body  unreadBody
	ahead bodyAhead
	// noAgent keeps net/http from writing a User-Agent of its own.
	noAgent [1]string
	// isCounted: it is known which way it takes. It may be sent twice.
	isCounted bool

	shown    shownRequest
	before   *shortRequest // whose placeholders were shown until now; nil for none
	upstream realm.Address
	began    time.Time // set with the round trip
	resp     *http.Response
	// What the placeholders say of times; 0 for what has not happened.
	latency, answered, total time.Duration
	hasEnded                 bool
}

// shortRequestKey is the key of a *shortRequest in its context.
type shortRequestKey struct{}

// Value implements context.Context.
func (x *shortRequest) Value(key any) any {
	if _, ok := key.(shortRequestKey); ok {
		return x
	}
	return x.Context.Value(key)
}

// serve proxies a request. Its errors are those of reverse_proxy. came is the request
// that the handlers behind an error get.
func (s *shortWay) serve(w http.ResponseWriter, r, came *http.Request, repl *caddy.Replacer, res *resolved) error {
	x := &shortRequest{Context: r.Context(), upstream: s.upstreamFor(res.lease.Target)}
	res.dial = x.upstream.HostPort
	if 0 < r.ContentLength && r.ContentLength <= shortcut.MaxWhole {
		x.ahead.read(w, r, res.passage) //nolint:contextcheck // a passage is a context
		r.Body, came.Body = &x.ahead, &x.ahead
	}
	x.prepare(r) //nolint:contextcheck // it is a context itself
	x.show(repl) //nolint:contextcheck // it is a context itself
	defer func() {
		x.total = time.Since(x.began)
		deleteAll(repl, setAtLast)
	}()
	err := s.proxy(w, x, repl, res)
	x.hasEnded = true // not of an answer that is aborted
	return err
}

// proxy is serve with what is needed for it.
func (s *shortWay) proxy(w http.ResponseWriter, x *shortRequest, repl *caddy.Replacer, res *resolved) error {
	x.began = time.Now()
	if s.headers != nil && s.headers.Request != nil {
		s.headers.Request.ApplyToRequest(&x.out)
	}
	t := s.transport
	t.SetScheme(&x.out)
	job, err := t.jobOf(res, &x.out)
	resp, err := t.short.Send(&x.out, job, err) //nolint:bodyclose // answer closes it
	t.noteSent(&x.out, resp, err)
	x.latency = time.Since(x.began)
	x.log(s.log, resp, err)
	switch {
	case errors.Is(err, context.Canceled):
		w.WriteHeader(statusClientClosed)
		return nil
	case err != nil:
		x.latency = 0
		return statusError(err)
	}
	x.resp = resp
	deleteAll(repl, setWithAnswer)
	repl.DeleteByPrefix(placeholderPrefix + "header.")
	return s.answer(w, x, repl)
}

// statusError has the status that reverse_proxy gives to an error.
func statusError(err error) error {
	status := http.StatusBadGateway
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // one that is wrapped counts as another error there
		status = http.StatusGatewayTimeout
	}
	if strings.Contains(err.Error(), "operation was canceled") {
		status = statusClientClosed
	}
	return caddyhttp.Error(status, err)
}

// prepare makes the request to send: without the fields that are between the caller
// and us (RFC 9110 section 7.6.1), and with a header that may be changed. Via and
// X-Forwarded-*, which reverse_proxy adds, would not reach the API: realms that let
// them through do not take this way.
func (x *shortRequest) prepare(r *http.Request) {
	x.out = *r.WithContext(x)
	x.url = *r.URL
	x.url.Scheme, x.url.Host = "", x.upstream.HostPort
	x.out.URL, x.out.Header, x.out.Close = &x.url, r.Header.Clone(), false
	if x.out.Body = nil; r.ContentLength > 0 {
		x.body.ReadCloser = r.Body
		x.out.Body = &x.body
	}
	h := x.out.Header
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = x.noAgent[:]
	}
	if r.TLS != nil && !r.TLS.HandshakeComplete { // RFC 8470
		h["Early-Data"] = []string{"1"}
	}
	stripListed(h)
	takesTrailers := httpguts.HeaderValuesContainsToken(h["Te"], "trailers")
	for _, name := range hopByHop {
		delete(h, name)
	}
	if takesTrailers {
		h["Te"] = []string{"trailers"}
	}
}

// hopByHop are the fields that reverse_proxy takes for hop-by-hop ones.
var hopByHop = [...]string{
	"Alt-Svc", "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// stripListed removes the fields that Connection lists.
func stripListed(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
}

// isListed reports whether Connection lists a field.
func isListed(connection []string, field string) bool {
	return slices.ContainsFunc(connection, func(line string) bool {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(name), field) {
				return true
			}
		}
		return false
	})
}

// fields are those of the lines that reverse_proxy logs.
func (x *shortRequest) fields() (_ []zap.Field, logsCredentials bool) {
	server, _ := x.out.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	logsCredentials = server != nil && server.Logs != nil && server.Logs.ShouldLogCredentials
	return []zap.Field{
		zap.String("upstream", x.upstream.HostPort), zap.Duration("duration", x.latency),
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: &x.out, ShouldLogCredentials: logsCredentials}),
	}, logsCredentials
}

// log logs a round trip.
func (x *shortRequest) log(log *zap.Logger, resp *http.Response, err error) {
	c := log.Check(zapcore.DebugLevel, "upstream roundtrip")
	if c == nil {
		return
	}
	fields, logsCredentials := x.fields()
	if err != nil {
		c.Write(append(fields, zap.Error(err))...)
		return
	}
	c.Write(append(fields, zap.Object("headers", caddyhttp.LoggableHTTPHeader{Header: resp.Header, ShouldLogCredentials: logsCredentials}),
		zap.Int("status", resp.StatusCode))...)
}

// answer writes the answer of the API.
func (s *shortWay) answer(w http.ResponseWriter, x *shortRequest, repl *caddy.Replacer) error {
	resp, h := x.resp, w.Header()
	delete(h, "Server")
	h["Via"] = append(h["Via"], viaOf(resp))
	got, isOfAPI := resp.Header, true
	if ops := s.responseOps(); ops != nil {
		got = make(http.Header, len(resp.Header))
		copyFields(got, resp.Header, true)
		if ops.Require == nil || ops.Require.Match(resp.StatusCode, got) {
			ops.ApplyTo(got, repl)
		}
		isOfAPI = false // with whatever header_down has set
	}
	copyFields(h, got, isOfAPI)
	announced := len(resp.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range resp.Trailer {
			names = append(names, name)
		}
		h.Add("Trailer", strings.Join(names, ", "))
	}
	w.WriteHeader(resp.StatusCode)

	var err error
	if s.flushes || caddyhttp.IsIncremental(resp.Header) || isStream(resp.ContentLength, got, isOfAPI) {
		pieces := newStream(w, resp.Body)
		defer pieces.hasCome()
		err = copyBody(pieces, pieces)
	} else {
		err = copyBody(w, resp.Body)
	}
	_ = resp.Body.Close() // now, to have the trailers
	if err != nil {
		if c := s.log.Check(zapcore.WarnLevel, "aborting with incomplete response"); c != nil {
			fields, _ := x.fields()
			c.Write(append(fields, zap.Error(err))...)
		}
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // the caller must see that something is missing
	}
	if len(resp.Trailer) > 0 {
		_ = http.NewResponseController(w).Flush() // or there would be a length, and no trailers
	}
	x.answered = time.Since(x.began)
	deleteAll(repl, setBehindAnswer)
	prefix := http.TrailerPrefix
	if len(resp.Trailer) == announced {
		prefix = ""
	}
	for name, values := range resp.Trailer {
		for _, value := range values {
			h.Add(prefix+name, value)
		}
	}
	return nil
}

// responseOps are those of header_down; nil for none.
func (s *shortWay) responseOps() *headers.RespHeaderOps {
	if s.headers == nil {
		return nil
	}
	return s.headers.Response
}

// viaOf is the Via of an answer.
func viaOf(resp *http.Response) string {
	if resp.ProtoMajor == 1 && resp.ProtoMinor == 1 {
		return "1.1 Caddy"
	}
	return strconv.Itoa(resp.ProtoMajor) + "." + strconv.Itoa(resp.ProtoMinor) + " Caddy"
}

// copyFields adds fields; where they are those of the API, without those between it
// and us. The answer keeps its own, for placeholders.
func copyFields(to, from http.Header, isOfAPI bool) {
	connection := from["Connection"]
	count := 0
	for _, values := range from {
		count += len(values)
	}
	all := make([]string, 0, count)
	for name, values := range from {
		if len(values) == 0 || isOfAPI && (slices.Contains(hopByHop[:], name) || len(connection) > 0 && isListed(connection, name)) {
			continue
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if to[name] != nil {
			to[name] = append(to[name], values...)
			continue
		}
		begin := len(all)
		all = append(all, values...)
		to[name] = all[begin:len(all):len(all)]
	}
}

// isStream reports whether an answer is handed on piece by piece. Of what the API sends,
// a field that its Connection lists is not for the caller.
func isStream(length int64, h http.Header, isOfAPI bool) bool {
	if length == -1 || caddyhttp.IsIncremental(h) {
		return true
	}
	kind := h.Get("Content-Type")
	if isOfAPI && isListed(h["Connection"], "Content-Type") {
		kind = ""
	}
	if !strings.Contains(strings.ToLower(kind), "event-stream") {
		return false
	}
	kind, _, err := mime.ParseMediaType(kind)
	return err == nil && kind == "text/event-stream"
}

// copyBuffers have the size of those of reverse_proxy.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// copyBody copies the body of an answer. Its errors are those of reverse_proxy.
func copyBody(w io.Writer, body io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			written, failed := w.Write((*buf)[:n])
			if failed != nil {
				return fmt.Errorf("writing: %w", failed)
			}
			if written != n {
				return io.ErrShortWrite
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading: %w", err)
		}
	}
}

// headerDelay is how long the header waits for the first piece of the body: net/http
// tells the type of an answer that has none by what comes with it.
const headerDelay = time.Millisecond

// stream hands on each piece as it comes, and the header without one, if that takes
// long.
type stream struct {
	w    http.ResponseWriter
	body io.Reader

	mu        sync.Mutex
	hasBegun  bool // a piece has come, or the end
	firstWait *time.Timer
}

func newStream(w http.ResponseWriter, body io.Reader) *stream {
	s := &stream{w: w, body: body}
	s.firstWait = time.AfterFunc(headerDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.hasBegun {
			s.flush()
		}
	})
	return s
}

func (s *stream) flush() { _ = http.NewResponseController(s.w).Flush() }

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if isFirst := s.hasCome(); isFirst && n == 0 { // an empty stream is a stream, too
		s.flush()
	}
	return n, err
}

// hasCome ends the wait for the first piece, and reports whether it did. The header is
// not flushed after it.
func (s *stream) hasCome() (isFirst bool) {
	if s.firstWait == nil {
		return false
	}
	s.mu.Lock()
	s.hasBegun = true
	s.mu.Unlock()
	s.firstWait.Stop()
	s.firstWait = nil
	return true
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.flush()
	return n, err
}
