package test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Violations of the policy are events of the document, which are told to the test by a
// function that the browser puts into the page.
const (
	violationBinding = "tellOfViolation"
	violationScript  = `document.addEventListener('securitypolicyviolation', (event) =>
	tellOfViolation([event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber, event.sample].join(' ')));`
)

// exchange is a request of the page, and its answer.
type exchange struct {
	id     network.RequestID
	method string
	url    string
	sent   string // headers and body
	header string // of the answer
	status int64
	size   int64 // of the answer's body, unpacked
	stream []byte
	isDone bool // the end of the answer has come, or was given up
	isCut  bool // given up
}

// path is behind the site's address, without the query.
func (e *exchange) path(site string) string {
	path, _, _ := strings.Cut(strings.TrimPrefix(e.url, site), "?")
	return path
}

// seen is what a tab did, and what is wrong with it.
type seen struct {
	site string
	ctx  context.Context

	mu        sync.Mutex
	faults    []string
	exchanges []*exchange
	byID      map[network.RequestID]*exchange
	// refusals are the answers that a test expects: "GET api/session 403".
	refusals map[string]bool
}

// hear is called by the browser for each event, one after the other. It must not wait.
func (s *seen) hear(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		s.asked(e)
	case *network.EventResponseReceived:
		s.answered(e)
	case *network.EventDataReceived:
		if x := s.byID[e.RequestID]; x != nil {
			x.size += e.DataLength
			x.stream = append(x.stream, e.Data...)
		}
	case *network.EventLoadingFinished:
		if x := s.byID[e.RequestID]; x != nil {
			x.isDone = true
		}
	case *network.EventLoadingFailed:
		if x := s.byID[e.RequestID]; x != nil {
			x.isDone, x.isCut = true, true
			if !e.Canceled && !isWatch(x.url) { // it ends with the server
				s.fault("%s %s failed: %s", x.method, x.url, e.ErrorText)
			}
		}
	case *runtime.EventBindingCalled:
		if e.Name == violationBinding {
			s.fault("the content security policy is violated: %s", e.Payload)
		}
	case *runtime.EventExceptionThrown:
		s.fault("the page threw: %s %s", e.ExceptionDetails.Text, described(e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			s.fault("the page wrote an error: %s", described(e.Args...))
		}
	case *log.EventEntryAdded:
		// What the network says is judged by its own events.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			s.fault("the browser's console has an error: %s", e.Entry.Text)
		}
	}
}

func (s *seen) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func isWatch(url string) bool { return strings.HasSuffix(url, "/api/watch") }

func (s *seen) asked(e *network.EventRequestWillBeSent) {
	u, err := url.Parse(e.Request.URL)
	if err != nil || u.Scheme == "data" || u.Scheme == "about" {
		return
	}
	if !strings.HasPrefix(e.Request.URL, s.site) {
		s.fault("another host was asked: %s", e.Request.URL)
	}
	x := &exchange{id: e.RequestID, method: e.Request.Method, url: e.Request.URL, sent: fmt.Sprint(e.Request.Headers)}
	for _, part := range e.Request.PostDataEntries {
		x.sent += string(part.Bytes)
	}
	if s.byID == nil {
		s.byID = map[network.RequestID]*exchange{}
	}
	s.byID[x.id] = x
	s.exchanges = append(s.exchanges, x)
}

func (s *seen) answered(e *network.EventResponseReceived) {
	x := s.byID[e.RequestID]
	if x == nil {
		return
	}
	x.status, x.header = e.Response.Status, fmt.Sprint(e.Response.Headers)
	if what := fmt.Sprint(x.method, " ", x.path(s.site), " ", x.status); x.status >= http.StatusBadRequest && !s.refusals[what] {
		s.fault("an answer that says no: %s", what)
	}
	if policy := header(e.Response.Headers, "Content-Security-Policy"); x.url == s.site && (policy == "" || strings.Contains(policy, "unsafe")) {
		s.fault("the policy of the page is %q", policy)
	}
	if isWatch(x.url) {
		// Its answer has no end, so that only what is streamed can be looked at.
		go func() {
			begun, _ := chromedp.Call(s.ctx, network.StreamResourceContent, network.StreamResourceContentParams{RequestID: x.id})
			s.mu.Lock()
			defer s.mu.Unlock()
			x.stream = append(begun.BufferedData, x.stream...)
		}()
	}
}

// header is a field of an answer, whose name may be written in any case.
func header(fields network.Headers, name string) string {
	for field, value := range fields {
		if strings.EqualFold(field, name) {
			return fmt.Sprint(value)
		}
	}
	return ""
}

// described are values that the page threw or wrote.
func described(values ...*runtime.RemoteObject) string {
	var text []string
	for _, v := range values {
		if v == nil {
			continue
		}
		if v.Description != "" {
			text = append(text, v.Description)
		} else {
			text = append(text, string(v.Value))
		}
	}
	return strings.Join(text, " ")
}

// underWay is how many requests wait for their answer. That of the watch has no end.
func (s *seen) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.exchanges {
		if !x.isDone && !isWatch(x.url) {
			n++
		}
	}
	return n
}

// expects says which answers of at least 400 are as they should be: "GET api/session 403".
func (b *tab) expects(refusals ...string) {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	if b.seen.refusals == nil {
		b.seen.refusals = map[string]bool{}
	}
	for _, what := range refusals {
		b.seen.refusals[what] = true
	}
}

// judge fails the test for what is wrong with the page.
func (b *tab) judge() {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	for _, fault := range b.seen.faults {
		b.t.Error(fault)
	}
}

// count is how many requests are such ones.
func (b *tab) count(is func(*exchange) bool) (n int) {
	b.seen.mu.Lock()
	defer b.seen.mu.Unlock()
	for _, x := range b.seen.exchanges {
		if is(x) {
			n++
		}
	}
	return n
}

// traffic is all that went over the network, except what a request has to carry: the
// body of one for which mayCarry says so.
func (b *tab) traffic(mayCarry func(method, path string) bool) string {
	b.t.Helper()
	b.seen.mu.Lock()
	all := make([]exchange, 0, len(b.seen.exchanges))
	for _, x := range b.seen.exchanges {
		all = append(all, *x)
	}
	b.seen.mu.Unlock()
	var text strings.Builder
	for _, x := range all {
		fmt.Fprintln(&text, x.method, x.url, x.header, string(x.stream))
		if !mayCarry(x.method, x.path(b.site)) {
			text.WriteString(x.sent)
		}
		if isWatch(x.url) || x.isCut || x.size == 0 {
			continue
		}
		answer, err := try(b, network.GetResponseBody, network.GetResponseBodyParams{RequestID: x.id})
		if err != nil {
			b.t.Fatalf("the answer of %s %s is not known any more: %v", x.method, x.url, err)
		}
		text.Write(answer.Body)
	}
	return text.String()
}
