package realm

import (
	"encoding/json"
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
type Hidden string

var (
	_ fmt.Formatter           = Hidden("")
	_ fmt.Stringer            = Hidden("")
	_ fmt.GoStringer          = Hidden("")
	_ json.Marshaler          = Hidden("")
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

// MarshalText is String: it guards encoders that prefer text, and map keys.
func (h Hidden) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// MarshalLogObject tells zap whether a value is set.
func (h Hidden) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddBool("set", h != "")
	return nil
}
