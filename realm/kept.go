package realm

import (
	"encoding/json"
	"fmt"

	"go.uber.org/zap/zapcore"
)

// MaxKept bounds a value that is kept with a token, in bytes.
const MaxKept = 4 << 10

// Kept are the values that are kept with a token besides itself: fields of the
// answer that brought it, and parameters of the callback, each by the name that
// a realm reads it by ("answer.instance_url", "callback.realmId"). They are as
// confidential as the token, and every way of printing them gives Mask. Empty
// for none.
//
// It is a JSON object with sorted names, and not a map, so that tokens can be
// compared.
type Kept string

// KeptOf keeps some values.
func KeptOf(values map[string]string) Kept {
	if len(values) == 0 {
		return ""
	}
	text, _ := json.Marshal(values) // never fails: strings alone
	return Kept(text)
}

// Reveal returns the values themselves; nil for none.
func (k Kept) Reveal() map[string]string {
	var values map[string]string
	if k == "" || json.Unmarshal([]byte(k), &values) != nil {
		return nil
	}
	return values
}

// String returns Mask, or "" for none.
func (k Kept) String() string { return Hidden(k).String() }

// GoString is String, for %#v.
func (k Kept) GoString() string { return k.String() }

// Format is String, for every verb.
func (k Kept) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// MarshalJSON gives the mask as a JSON string.
func (k Kept) MarshalJSON() ([]byte, error) { return Hidden(k).MarshalJSON() }

// MarshalText is String, for encoders that prefer text.
func (k Kept) MarshalText() ([]byte, error) { return Hidden(k).MarshalText() }

// GobEncode refuses, as that of Hidden.
func (k Kept) GobEncode() ([]byte, error) { return nil, errEncoded }

// MarshalLogObject tells zap whether there are any.
func (k Kept) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	return Hidden(k).MarshalLogObject(enc)
}
