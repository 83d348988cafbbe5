// Package problem writes errors as RFC 9457 problem documents.
package problem

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ContentType of a problem document (RFC 9457 section 6.1).
const ContentType = "application/problem+json"

// Document is a problem document. An empty Title becomes the status's text.
// Message repeats Detail for clients of the
// earlier service, which read that name.
type Document struct {
	Title   string     `json:"title"`
	Status  int        `json:"status"`
	Detail  string     `json:"detail"`
	Code    realm.Code `json:"code"`
	Message string     `json:"message"`
	// Reason says more where Detail is a fixed text of the earlier service.
	Reason string `json:"reason,omitempty"`
	Field  string `json:"field,omitempty"`
	// Class and ProviderCode are for everybody, so that a wrong secret does not
	// look like an outage.
	Class        string `json:"class,omitempty"`
	ProviderCode string `json:"provider_code,omitempty"`
	// ProviderMessage is for those who may administrate: From leaves it out.
	ProviderMessage string `json:"provider_message,omitempty"`

	// RetryAfter becomes the header of that name, in whole seconds, rounded
	// up.
	RetryAfter time.Duration `json:"-"`
}

// New makes a document.
func New(status int, code realm.Code, detail string) Document {
	return Document{Status: status, Code: code, Detail: detail}
}

// From turns an error into a document for any caller: without the provider's
// words. An error that is neither a
// *realm.Error nor a *realm.FieldError is internal: its text stays inside.
//
// A *realm.Error counts first, because its cause is for logs: the field that a
// cause names may be one that the caller has not sent. It is shown only where
// the error itself is about a field.
func From(err error) Document {
	var e *realm.Error
	var field *realm.FieldError
	switch {
	case errors.As(err, &e):
		d := New(e.Status, e.Code, e.Detail)
		d.Class, d.ProviderCode, d.RetryAfter = e.Class, e.ProviderCode, e.RetryAfter
		if e.Code == realm.CodeInvalidField && errors.As(e.Err, &field) {
			d.Field = field.Field
		}
		return d
	case errors.As(err, &field):
		d := New(http.StatusBadRequest, realm.CodeInvalidField, field.Error())
		d.Field = field.Field
		return d
	}
	return New(http.StatusInternalServerError, realm.CodeInternal, "internal error; the log says more")
}

// body is the JSON of the document. The title is that of the status: it is the
// same for every problem of one type (RFC 9457 section 3.1.3).
func (d Document) body() []byte {
	d.Message = d.Detail
	if d.Title == "" {
		d.Title = http.StatusText(d.Status)
	}
	b, err := json.Marshal(d)
	if err != nil { // strings and integers only
		panic(err)
	}
	return append(b, '\n')
}

// SetSecurityHeaders sets the headers that every answer of ours has: a browser
// neither keeps it, nor shows it in a page, nor hands it to another site, nor
// takes it for a type that it is not. An answer may hold a token or a state.
func SetSecurityHeaders(h http.Header) {
	// One allocation for all. They are new each time, because Caddy's directive
	// header changes values in place.
	values := []string{
		"no-store", // the next call may succeed, too
		"default-src 'none'; frame-ancestors 'none'",
		"same-origin",
		"no-referrer", // an address may hold a code
		"nosniff",
	}
	for i, name := range [...]string{
		"Cache-Control", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy", "X-Content-Type-Options",
	} {
		h[name] = values[i : i+1 : i+1] // what is added goes elsewhere
	}
}

func (d Document) setHeader(h http.Header) {
	SetSecurityHeaders(h)
	h.Set("Content-Type", ContentType)
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.RetryAfter.Seconds()))))
	}
}

// Write answers with the document.
func (d Document) Write(w http.ResponseWriter) {
	d.setHeader(w.Header())
	w.WriteHeader(d.Status)
	_, _ = w.Write(d.body())
}

// Response is the document as the answer of a round trip.
func (d Document) Response(req *http.Request) *http.Response {
	body := d.body()
	resp := &http.Response{
		Status:     strconv.Itoa(d.Status) + " " + http.StatusText(d.Status),
		StatusCode: d.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Request: req,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	d.setHeader(resp.Header)
	return resp
}
