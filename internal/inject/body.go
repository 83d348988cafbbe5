package inject

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A realm may want the token in a field of the request's body. The body is
// rewritten while it is read: our fields are put in front, copies of them that
// the caller sent are left out, and every other byte stays as it came. What has
// at most replay_max bytes is read to its end before anything is sent, so that it
// gets a length and a malformed body is refused; more than that streams.
//
// A body that cannot carry the token is refused. Two go out as they are: none at
// all, for methods that have none as a rule, and a multipart one.

const (
	// bodyPiece is how much of a body is read at once.
	bodyPiece = 32 << 10
	// maxHeldName bounds the name of a field, and what stands around it: it is
	// held back until it is known whose it is.
	maxHeldName = 64 << 10
)

// bodyEdit rewrites a body piece by piece.
type bodyEdit interface {
	// edit appends to out what goes out of a piece that came.
	edit(out, piece []byte) ([]byte, error)
	// end appends what goes out at the end of the body.
	end(out []byte) ([]byte, error)
}

// bodyKind is how the fields of a body are written.
type bodyKind uint8

const (
	noFields bodyKind = iota // multipart
	formFields
	jsonFields
)

const formType = "application/x-www-form-urlencoded"

var (
	errBodyCoding = &realm.Error{
		Code: realm.CodeMediaType, Status: http.StatusUnsupportedMediaType,
		Detail: "the token goes into the body, which must not have a Content-Encoding",
	}
	errBodyType = &realm.Error{
		Code: realm.CodeMediaType, Status: http.StatusUnsupportedMediaType,
		Detail: "the token goes into the body, which must be application/json in UTF-8 or " + formType,
	}
)

// errBody refuses a body.
func errBody(reason string) error {
	return &realm.Error{
		Code: realm.CodeInvalidField, Status: http.StatusBadRequest, Detail: "body: " + reason, Err: realm.Fieldf("body", "%s", reason),
	}
}

// injectedBody is a body with the token.
type injectedBody struct {
	io.ReadCloser
	kind  bodyEdit
	piece []byte // the memory of what is read
	ready []byte // what is rewritten, and nobody has read yet
	// memory is that of ready when a piece is rewritten: what was read ahead may
	// have grown far larger, and is not kept.
	memory []byte
	err    error // what comes behind it
	came   int64 // how much was read
}

// Read reads the body.
func (b *injectedBody) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.memory == nil {
			b.memory = make([]byte, 0, len(b.piece))
		}
		b.ready = b.memory[:0]
		b.fill()
		if cap(b.ready) <= 2*bodyPiece {
			b.memory = b.ready
		}
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// fill reads one piece, and rewrites it.
func (b *injectedBody) fill() {
	n, err := b.ReadCloser.Read(b.piece)
	b.take(b.piece[:n], err)
}

// take rewrites a piece. Nothing goes out of one in which the body is found to be
// malformed: the connection breaks instead.
func (b *injectedBody) take(piece []byte, err error) {
	b.came += int64(len(piece))
	ready, refused := b.kind.edit(b.ready, piece)
	if refused == nil && errors.Is(err, io.EOF) {
		ready, refused = b.kind.end(ready)
	}
	if b.ready, b.err = ready, err; refused != nil {
		b.ready, b.err = nil, refused
	}
}

// placeBody puts the token into the body, where the realm wants it there. It is
// called when nobody else reads the body, and reads some of it, or all. The error
// is a refusal, or that of the caller's body.
func (out *outgoing) placeBody(lease *realm.Lease) error {
	if !hasPlace(lease.Target.Inject, realm.PlaceBody) || len(out.Header[":protocol"]) > 0 {
		return nil
	}
	piece, err := out.firstPiece()
	isEmpty := len(piece) == 0
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case isEmpty && !takesBody(out.Method):
		return nil
	}
	kind, refused := bodyKindOf(out.Header, isEmpty)
	if refused != nil {
		return refused
	}
	b := &injectedBody{ReadCloser: out.Body, piece: piece[:cap(piece)]}
	switch kind {
	case formFields:
		b.kind = newFormBody(lease)
	case jsonFields:
		b.kind = newJSONBody(lease, isEmpty)
	case noFields:
		out.Body = &peeked{ReadCloser: out.Body, head: piece, err: err}
		return nil
	}
	b.take(piece, err)
	return out.sendBody(b, lease.Target.ReplayMax)
}

// sendBody reads as much of the new body as is not to be streamed, and frames it.
// Trailers need a body of unknown length (RFC 9112 section 7.1.2).
func (out *outgoing) sendBody(b *injectedBody, most int64) error {
	for out.ContentLength <= most && b.came <= most && b.err == nil {
		b.fill()
	}
	if b.err != nil && !errors.Is(b.err, io.EOF) {
		return b.err
	}
	strip(out.Header, isDigest)
	strip(out.Trailer, isDigest)
	out.body.announced = slices.DeleteFunc(out.body.announced, isDigest) // what comes at the end of the body
	delete(out.Header, "Content-Length")
	if len(out.Header["Content-Type"]) == 0 {
		out.Header["Content-Type"] = []string{formType}
	}
	out.Body, out.GetBody, out.ContentLength, out.TransferEncoding = b, nil, -1, nil
	if b.err != nil && len(out.Trailer) == 0 {
		out.ContentLength = int64(len(b.ready))
	}
	return nil
}

// firstPiece reads until something comes. It is empty for a body that is none.
func (out *outgoing) firstPiece() ([]byte, error) {
	if out.Body == nil || out.Body == http.NoBody {
		out.Body = http.NoBody
		return nil, io.EOF
	}
	size := int64(bodyPiece)
	if out.ContentLength >= 0 { // one more byte, to see the end at once
		size = min(size, out.ContentLength+1)
	}
	piece := make([]byte, size)
	for {
		if n, err := out.Body.Read(piece); n > 0 || err != nil {
			return piece[:n], err
		}
	}
}

// hasPlace reports whether some value goes into such a place.
func hasPlace(places []realm.Place, in string) bool {
	return slices.ContainsFunc(places, func(p realm.Place) bool { return p.In == in })
}

// takesBody reports whether a request of the method has a body as a rule: one
// without gets a body with the token.
func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// bodyKindOf returns how the fields of the body are written. A body that is empty
// may be a form without a type.
func bodyKindOf(h http.Header, isEmpty bool) (bodyKind, error) {
	for _, coding := range h["Content-Encoding"] {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return 0, errBodyCoding
		}
	}
	types := h["Content-Type"]
	switch {
	case len(types) == 0 && isEmpty:
		return formFields, nil
	case len(types) != 1:
		return 0, errBodyType
	}
	media, parameters, _ := strings.Cut(types[0], ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case media == formType:
		return formFields, nil
	case strings.HasPrefix(media, "multipart/"):
		return noFields, nil
	case (media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")) && isUTF8(parameters):
		return jsonFields, nil
	}
	return 0, errBodyType
}

// isUTF8 reports whether the parameters of a media type name no charset but UTF-8.
func isUTF8(parameters string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(strings.TrimSpace(name), "charset") && !strings.EqualFold(strings.Trim(value, ` "`), "utf-8") {
			return false
		}
	}
	return true
}

// formBody rewrites a form (https://url.spec.whatwg.org/#application/x-www-form-urlencoded).
// Like that of a query, it is worked on as bytes, see placeQuery.
type formBody struct {
	places []realm.Place
	ours   []byte // our pairs, until they are sent
	name   []byte // of the pair that is read, as it came
	sep    byte   // stands in front of the next pair that is kept
	// hasMore: something of the caller's came. isValue: the name has ended. isOurs:
	// the pair is left out.
	hasMore, isValue, isOurs bool
}

func newFormBody(lease *realm.Lease) *formBody {
	f := &formBody{sep: queryPairs.sep}
	for i, p := range lease.Target.Inject {
		if p.In != realm.PlaceBody {
			continue
		}
		if f.places = append(f.places, p); len(f.places) > 1 {
			f.ours = append(f.ours, queryPairs.sep)
		}
		f.ours = append(f.ours, url.QueryEscape(p.Name)+"="+url.QueryEscape(lease.Values[i])...)
	}
	return f
}

// edit implements bodyEdit.
func (f *formBody) edit(out, piece []byte) ([]byte, error) {
	out, f.ours = append(out, f.ours...), nil
	f.hasMore = f.hasMore || len(piece) > 0
	for i := 0; i < len(piece); i++ {
		if f.isValue {
			run := valueIn(piece[i:])
			if !f.isOurs {
				out = append(out, run...)
			}
			if i += len(run); i < len(piece) {
				f.pairEnded(piece[i])
			}
			continue
		}
		switch c := piece[i]; {
		case c == queryPairs.sep || c == queryPairs.other:
			out = f.nameEnded(out)
			f.pairEnded(c)
		case c == '=':
			if out = f.nameEnded(out); !f.isOurs {
				out = append(out, c)
			}
		case len(f.name) == maxHeldName:
			return out, errBody("the name of a field has more than 64 KiB")
		default:
			f.name = append(f.name, c)
		}
	}
	return out, nil
}

// valueIn returns how far a value goes on in a piece: all of it where no separator
// comes. Values are the bulk of a form, and are copied as a whole.
func valueIn(piece []byte) []byte {
	if end := bytes.IndexAny(piece, queryPairs.both); end >= 0 {
		return piece[:end]
	}
	return piece
}

// nameEnded decides about the pair.
func (f *formBody) nameEnded(out []byte) []byte {
	if f.isValue, f.isOurs = true, isOurs(string(f.name), f.places); f.isOurs {
		return out
	}
	return append(append(out, f.sep), f.name...)
}

// pairEnded goes on behind a separator. See pairs.keepOthers.
func (f *formBody) pairEnded(sep byte) {
	if !f.isOurs || f.sep != queryPairs.sep {
		f.sep = sep
	}
	f.name, f.isValue, f.isOurs = f.name[:0], false, false
}

// end implements bodyEdit.
func (f *formBody) end(out []byte) ([]byte, error) {
	if f.hasMore && !f.isValue {
		out = f.nameEnded(out)
	}
	return out, nil
}
