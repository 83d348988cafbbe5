package realm

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap/zapcore"
)

// Mask stands for every confidential value that is shown: in answers of the
// admin API, in logs, in dumps. It says that a value is set and nothing else,
// not even its length.
const Mask = "******************"

// Hidden is a confidential value: a credential field, a token, a refresh
// token, an authorization code. Every way of printing it gives Mask (or
// nothing, when it is empty). Reveal is the only way to the value, so that
// `git grep Reveal` lists every place where one can leave.
//
// Three ways remain that no method can close: the verbs %p and %w, which `go
// vet` refuses for it; fmt on a struct that holds one in an unexported field,
// where methods are not called (such a struct needs a Format of its own); and
// JSON of a map that has it for a key.
type Hidden string

// errEncoded: a mask in the place of a credential would be found too late.
var errEncoded = errors.New("a hidden value is not written in binary form")

var (
	_ fmt.Formatter           = Hidden("")
	_ fmt.Stringer            = Hidden("")
	_ fmt.GoStringer          = Hidden("")
	_ json.Marshaler          = Hidden("")
	_ gob.GobEncoder          = Hidden("")
	_ zapcore.ObjectMarshaler = Hidden("")
)

// Reveal returns the value itself.
func (h Hidden) Reveal() string { return string(h) }

// String returns Mask, or "" when the value is empty.
func (h Hidden) String() string {
	if h == "" {
		return ""
	}
	return Mask
}

// GoString is String, for %#v.
func (h Hidden) GoString() string { return h.String() }

// Format is String, for every verb: %x and %q of a Hidden would otherwise
// print the value.
func (h Hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(h.String())) }

// MarshalJSON gives the mask as a JSON string.
func (h Hidden) MarshalJSON() ([]byte, error) { return json.Marshal(h.String()) }

// MarshalText is String: it guards encoders that prefer text (XML, YAML).
func (h Hidden) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// GobEncode refuses: gob is for programs, which would take a mask for the
// value.
func (h Hidden) GobEncode() ([]byte, error) { return nil, errEncoded }

// MarshalLogObject tells zap whether a value is set.
func (h Hidden) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddBool("set", h != "")
	return nil
}
