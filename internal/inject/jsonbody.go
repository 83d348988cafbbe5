package inject

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxJSONDepth is how deep a document may be nested.
const maxJSONDepth = 1000

// jsonNode is a member that we put into an object of a document: a text, or an
// object with members of ours.
type jsonNode struct {
	name    string
	text    []byte // as it is written; nil for an object
	members []*jsonNode
	// wasThere: the caller's document has the object itself.
	wasThere bool
}

// newJSONTree makes the object of all fields that go into a body. The dots of
// their names lead into inner objects.
func newJSONTree(lease *realm.Lease) *jsonNode {
	root := new(jsonNode)
	for i, p := range lease.Target.Inject {
		if p.In != realm.PlaceBody {
			continue
		}
		at := root
		for name := range strings.SplitSeq(p.Name, ".") {
			at = at.member(name)
		}
		at.text = jsonText(lease.Values[i])
	}
	return root
}

// member returns the member of that name, and makes it where there is none.
func (n *jsonNode) member(name string) *jsonNode {
	for _, m := range n.members {
		if m.name == name {
			return m
		}
	}
	m := &jsonNode{name: name}
	n.members = append(n.members, m)
	return m
}

// jsonText writes a string.
func jsonText(text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string has a form, and the buffer takes it
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// appendMember writes the member, with all that is in it.
func (n *jsonNode) appendMember(out []byte) []byte {
	out = append(append(out, jsonText(n.name)...), ':')
	if n.text != nil {
		return append(out, n.text...)
	}
	out = append(out, '{')
	for i, m := range n.members {
		if i > 0 {
			out = append(out, ',')
		}
		out = m.appendMember(out)
	}
	return append(out, '}')
}

// jsonFrame is an open object or array of the document.
type jsonFrame struct {
	isObject bool
	// ours are the members that we put into the object; nil for any other one.
	ours *jsonNode
	// hasMember: a member was written, so that the next one needs a comma.
	hasMember bool
}

// jsonSink is where the bytes that come go.
type jsonSink uint8

const (
	sendBytes jsonSink = iota
	holdBytes          // until it is known whether a member is ours
	dropBytes          // of a member in place of which ours is sent
)

// jsonBody rewrites a document (RFC 8259). It checks all of its grammar, so that
// the token is put into an object that everybody takes for the one that the realm
// means. Texts of ours stand at the beginning of their object, which makes the
// comma behind them depend on the next member only; objects of ours that the
// caller's document does not have stand at the end of theirs.
type jsonBody struct {
	root   *jsonNode
	frames []jsonFrame
	state  jsonState
	sink   jsonSink
	held   []byte // from the end of the member before to the end of a name
	key    int    // where in held the name begins
	isKey  bool   // the string that is read is a name
	// into is the object of ours that the value has to be.
	into    *jsonNode
	literal string // what is left of true, false or null
	hex     int    // how many digits of an escape are still to come
	char    []byte // the beginning of a character in UTF-8
	mark    int    // how much of a byte order mark was read; all of it where there can be none
}

// newJSONBody makes the edit of a body. One that is empty is taken for {}.
func newJSONBody(lease *realm.Lease, isEmpty bool) bodyEdit {
	root := newJSONTree(lease)
	if isEmpty {
		return wholeJSON{root}
	}
	return &jsonBody{root: root}
}

// wholeJSON is the document that takes the place of an empty body.
type wholeJSON struct{ root *jsonNode }

// edit implements bodyEdit.
func (w wholeJSON) edit(out, _ []byte) ([]byte, error) { return out, nil }

// end implements bodyEdit.
func (w wholeJSON) end(out []byte) ([]byte, error) {
	b := &jsonBody{root: w.root}
	out, err := b.edit(out, []byte("{}"))
	if err != nil {
		return out, err
	}
	return b.end(out)
}

var (
	errJSON       = errBody("is not a JSON object in UTF-8")
	errJSONDepth  = errBody("is nested too deeply")
	errJSONName   = errBody("the name of a member has more than 64 KiB")
	errJSONObject = errBody("the object that the token goes into is there twice, in another spelling, or is no object")
)

// edit implements bodyEdit.
func (b *jsonBody) edit(out, piece []byte) ([]byte, error) {
	for i := 0; i < len(piece); i++ {
		run := b.textIn(piece[i:])
		if b.sink == sendBytes {
			out = append(out, run...)
		}
		if i += len(run); i == len(piece) {
			break
		}
		var err error
		if out, err = b.next(out, piece[i]); err != nil {
			return out, err
		}
	}
	return out, nil
}

// textIn returns how far a piece goes on with characters that stand for themselves
// in a string: none of a name that is held back. Strings are the bulk of a document,
// and these characters of them are copied as a whole.
func (b *jsonBody) textIn(piece []byte) []byte {
	if b.state != inString || b.sink == holdBytes || len(b.char) > 0 {
		return nil
	}
	for i, c := range piece {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return piece[:i]
		}
	}
	return piece
}

// end implements bodyEdit.
func (b *jsonBody) end(out []byte) ([]byte, error) {
	if b.state != afterDocument {
		return out, errJSON
	}
	return out, nil
}

// write sends a byte of the caller's to where it belongs.
func (b *jsonBody) write(out []byte, c byte) ([]byte, error) {
	switch b.sink {
	case sendBytes:
		return append(out, c), nil
	case holdBytes:
		if len(b.held) == maxHeldName {
			return out, errJSONName
		}
		b.held = append(b.held, c)
	case dropBytes:
	}
	return out, nil
}

// open begins an object or an array.
func (b *jsonBody) open(out []byte, c byte) ([]byte, error) {
	frame := jsonFrame{isObject: c == '{', ours: b.into}
	if b.into != nil && !frame.isObject {
		return out, errJSONObject
	}
	if len(b.frames) == maxJSONDepth {
		return out, errJSONDepth
	}
	out, err := b.write(out, c)
	b.state, b.into = beforeFirstElement, nil
	if frame.isObject {
		b.state = beforeFirstName
	}
	if frame.ours != nil {
		b.sink, b.held = holdBytes, b.held[:0]
		for _, m := range frame.ours.members {
			if m.text == nil {
				continue
			}
			out = m.appendMember(frame.comma(out))
		}
	}
	b.frames = append(b.frames, frame)
	return out, err
}

// comma writes what stands in front of another member.
func (f *jsonFrame) comma(out []byte) []byte {
	if f.hasMember {
		out = append(out, ',')
	}
	f.hasMember = true
	return out
}

// nameEnded decides about the member of an object that ours go into.
func (b *jsonBody) nameEnded(out []byte) ([]byte, error) {
	b.state = afterName
	frame := &b.frames[len(b.frames)-1]
	if frame.ours == nil {
		return out, nil
	}
	raw := b.held[b.key:]
	name := string(withoutEscapes(raw[1:len(raw)-1], jsonEscapes))
	for _, m := range frame.ours.members {
		switch {
		case !readsAsMember(name, m.name):
		case m.text != nil:
			b.sink = dropBytes
			return out, nil
		case name != m.name || m.wasThere:
			return out, errJSONObject
		default:
			m.wasThere, b.into = true, m
		}
	}
	b.sink = sendBytes
	return append(frame.comma(out), b.held...), nil
}

// memberEnded goes on behind the comma that ends a member of ours or beside ours:
// it is written in front of the next one that is kept.
func (b *jsonBody) memberEnded() { b.sink, b.held = holdBytes, b.held[:0] }

// close ends an object or an array.
func (b *jsonBody) close(out []byte, c byte) ([]byte, error) {
	last := len(b.frames) - 1
	frame := b.frames[last]
	if b.frames = b.frames[:last]; frame.ours != nil {
		for _, m := range frame.ours.members {
			if m.text == nil && !m.wasThere {
				out = m.appendMember(frame.comma(out))
			}
		}
		if b.sink == holdBytes { // an object that is empty but for blanks
			out = append(out, b.held...)
		}
		b.sink = sendBytes
	}
	b.state = afterValue
	if last == 0 {
		b.state = afterDocument
	}
	return b.write(out, c)
}

// readsAsMember reports whether some reader takes a name for ours: without a look
// at the case of letters (encoding/json, .NET), or only up to a NUL (C).
func readsAsMember(name, ours string) bool {
	name, _, _ = strings.Cut(name, "\x00")
	for name != "" && ours != "" {
		r, size := utf8.DecodeRuneInString(name)
		o, oursSize := utf8.DecodeRuneInString(ours)
		if r != o && foldLetter(r) != foldLetter(o) {
			return false
		}
		name, ours = name[size:], ours[oursSize:]
	}
	return name == ours
}
