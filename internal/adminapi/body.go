package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// bodyRule says what a route does with a body.
type bodyRule int

const (
	bodyIgnored bodyRule = iota
	// bodyOptional: read where there is one, whatever its type is said to be.
	// It is for GET only, with which no browser can send a body.
	bodyOptional
	// bodyNeeded: JSON, and declared as such. A form of another site cannot
	// declare that.
	bodyNeeded
	// bodyParameters: a form or JSON, or nothing at all.
	bodyParameters
	// bodyJSON: JSON, or nothing at all.
	bodyJSON
)

// maxBody bounds every body, in bytes.
const maxBody = 1 << 20

// readBody reads the body as the route's rule says; nil where there is none.
func readBody(w http.ResponseWriter, r *http.Request, rule bodyRule) ([]byte, error) {
	// Caddy has put something around http.NoBody, which looks like a body.
	if rule == bodyIgnored || (rule == bodyOptional && (r.Body == nil || r.ContentLength == 0)) {
		return nil, nil
	}
	if rule == bodyNeeded && !hasContentType(r.Header, typeJSON) {
		return nil, errNoJSON
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, isTooLarge := errors.AsType[*http.MaxBytesError](err); isTooLarge {
		return nil, &realm.Error{
			Code: realm.CodeTooLarge, Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the body is larger than %s", realm.Size(maxBody)),
		}
	}
	if err != nil {
		return nil, realm.Fieldf("", "the body could not be read to its end")
	}
	if rule == bodyJSON && len(body) > 0 && !hasContentType(r.Header, typeJSON) {
		return nil, errNoJSON
	}
	if rule == bodyParameters && len(body) > 0 && !hasContentType(r.Header, typeJSON) && !hasContentType(r.Header, typeForm) && !hasContentType(r.Header, typeMultipart) {
		return nil, mediaType("send the parameters in the query, in a form or in JSON, the body declared by its " +
			"Content-Type and without Content-Encoding")
	}
	return body, nil
}

const typeJSON = "application/json"

// hasContentType reports whether a body is of this type, and not encoded.
func hasContentType(h http.Header, kind string) bool {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return false
	}
	declared, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && declared == kind
}

var errNoJSON = mediaType("send JSON, with Content-Type: application/json and without Content-Encoding")

// mediaType is the error of a body in a form that the route does not take.
func mediaType(detail string) *realm.Error {
	return &realm.Error{Code: realm.CodeMediaType, Status: http.StatusUnsupportedMediaType, Detail: detail}
}

// object is a JSON object whose fields are taken out one by one; what is left
// in the end is unknown.
type object map[string]json.RawMessage

// decodeObject reads a body that has to be a JSON object.
func decodeObject(body []byte) (object, error) {
	o, err := realm.DecodeObject(body, "")
	return o, err
}

// take decodes a field into v and removes it. present is false where the
// field is absent; null leaves v as it is.
func (o object) take(name string, v any) (present bool, err error) {
	raw, ok := o[name]
	if !ok {
		return false, nil
	}
	delete(o, name)
	if isNull(raw) {
		return true, nil
	}
	return true, realm.Decode(raw, name, v)
}

// need is take for a text that must be there.
func (o object) need(name string) (string, error) {
	var s string
	if _, err := o.take(name, &s); err != nil {
		return "", err
	}
	if s == "" {
		return "", realm.Fieldf(name, "is required")
	}
	return s, nil
}

// end refuses the fields that nobody took, after those that clients may send
// back as they got them, and that mean nothing in a request.
func (o object) end(echoed ...string) error {
	for _, name := range echoed {
		delete(o, name)
	}
	rest, err := json.Marshal(o) // sorted, so that the error is always the same
	if err != nil {
		return err
	}
	return realm.Decode(rest, "", &struct{}{})
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }
