package shortcut

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// MaxWhole bounds a request that is written at once, by the goroutine that then reads
// the answer. It fits into the buffers of a socket: nobody waits for an upstream that
// answers before it has read the request. A longer one has a goroutine of its own.
const MaxWhole = 8 << 10

// message is a request as it is written.
type message struct {
	buf   []byte   // the header, with the body behind it, if that is short
	names []string // of the fields
	// isWhole: buf has the body, or there is none.
	isWhole bool
	head    int // how much of buf the header is
}

var messages = sync.Pool{New: func() any { return &message{buf: make([]byte, 0, MaxWhole)} }}

func newMessage() *message { return messages.Get().(*message) }

// putBack gives the space to another request. It has not grown: what is written at
// once fits.
func (m *message) putBack() {
	clear(m.names)
	m.buf, m.names, m.isWhole, m.head = m.buf[:0], m.names[:0], false, 0
	messages.Put(m)
}

// wayOf tells which way a request may take by what it is.
func wayOf(req *http.Request) Way {
	switch {
	case len(req.Header["Expect"]) > 0:
		return Expect
	case req.ContentLength < 0 || len(req.TransferEncoding) > 0 || len(req.Trailer) > 0:
		return OpenBody
	case req.ContentLength == 0 && hasBody(req), req.ContentLength > 0 && !hasBody(req):
		return OpenBody
	case req.Close || req.GetBody != nil || req.URL.Opaque != "" || len(req.Header["Connection"]) > 0 || len(req.Header["Upgrade"]) > 0:
		return Unusual
	case !isMethod(req.Method) || req.URL.Host == "" || !isASCII(req.URL.Host) || req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return Unusual
	}
	return Short
}

// isMethod reports whether a method is one without surprises.
func isMethod(method string) bool {
	for i := range len(method) {
		if c := method[i]; c < 'A' || c > 'Z' {
			return false
		}
	}
	return method != "" && method != http.MethodConnect
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// appendHead writes the header byte for byte as http.Transport does. It returns false
// for a request about which that one would complain, or that it would correct.
func (m *message) appendHead(req *http.Request, gzip bool) bool {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	if !isASCII(host) || !httpguts.ValidHostHeader(host) || strings.Contains(host, "%") {
		return false
	}
	path := req.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if !isQuery(req.URL.RawQuery) {
		return false
	}
	b := append(m.buf, req.Method...)
	b = append(b, ' ')
	b = append(b, path...)
	if req.URL.ForceQuery || req.URL.RawQuery != "" {
		b = append(b, '?')
		b = append(b, req.URL.RawQuery...)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", host)
	agent := "Go-http-client/1.1" // that of net/http
	if values, ok := req.Header["User-Agent"]; ok {
		agent = first(values)
	}
	if agent != "" {
		b = appendField(b, "User-Agent", textproto.TrimString(agent))
	}
	if req.ContentLength > 0 || req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, req.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	b, ok := m.appendFields(b, req.Header)
	if !ok {
		return false
	}
	if gzip {
		b = append(b, "Accept-Encoding: gzip\r\n"...)
	}
	m.buf = append(b, "\r\n"...)
	m.head = len(m.buf)
	m.isWhole = req.ContentLength == 0 && m.head <= MaxWhole
	return true
}

// isQuery reports whether a query has neither blanks nor control characters. A path is
// escaped.
func isQuery(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendFields writes the fields in the order of their names, without those that were
// written before.
func (m *message) appendFields(b []byte, h http.Header) ([]byte, bool) {
	names := m.names
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return b, false
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return b, false
			}
		}
		switch name {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer":
		default:
			names = append(names, name)
		}
	}
	m.names = names
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			b = appendField(b, name, textproto.TrimString(value))
		}
	}
	return b, true
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// readBody reads a short body into the message and closes it; didRead tells that it
// was read now. It is read once, and only when there is a connection: without one, it
// stays untouched. Whoever knows that his caller is slow has read it before.
func (m *message) readBody(req *http.Request) (didRead bool, err error) {
	if m.isWhole || int64(len(m.buf))+req.ContentLength > MaxWhole {
		return false, nil
	}
	m.isWhole = true
	want := int(req.ContentLength)
	m.buf = m.buf[:m.head+want]
	got := 0
	for got < want && err == nil {
		var n int
		n, err = req.Body.Read(m.buf[m.head+got:])
		got += n
	}
	length := int64(got)
	if err == nil {
		var surplus int64
		surplus, err = io.Copy(io.Discard, req.Body)
		length += surplus
	}
	if err == io.EOF { //nolint:errorlint // one that is wrapped is another error
		err = nil
	}
	if closed := req.Body.Close(); err == nil {
		err = closed
	}
	if err == nil && length != req.ContentLength {
		err = errLength(req.ContentLength, length)
	}
	return true, err
}

func errLength(announced, length int64) error {
	return broken(fmt.Errorf("http: ContentLength=%d with Body length %d", announced, length))
}

// giveBody gives a body that was read back to the request.
func (m *message) giveBody(req *http.Request) {
	if req.ContentLength > 0 && m.isWhole {
		req.Body = io.NopCloser(bytes.NewReader(bytes.Clone(m.buf[m.head:])))
	}
}
