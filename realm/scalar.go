package realm

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
)

// Scalar is a JSON value that is not an object or array: what a rule
// compares with. It keeps the spelling in which it was written.
type Scalar struct{ raw string }

// ScalarOf makes a scalar of a word in a Caddyfile: a number, true, false or
// null where it is spelled like one, else a string.
func ScalarOf(word string) Scalar {
	var s Scalar
	if s.UnmarshalJSON([]byte(word)) == nil && s.raw == word && !strings.HasPrefix(word, `"`) {
		return s
	}
	b, _ := json.Marshal(word)
	return Scalar{raw: string(b)}
}

// Equal compares by value: numbers and numeric strings are equal, whatever
// their spelling (0, "0", 0.0).
func (s Scalar) Equal(o Scalar) bool {
	if s.raw == o.raw {
		return true
	}
	a, b := s.Text(), o.Text()
	if a == b && strings.HasPrefix(s.raw, `"`) == strings.HasPrefix(o.raw, `"`) {
		return true
	}
	if isPlain(a) && isPlain(b) { // the usual case, without a big.Rat
		return a == b
	}
	x, ok := number(a)
	if !ok {
		return false
	}
	y, ok := number(b)
	return ok && x.Cmp(y) == 0
}

// Text is the value without quotes.
func (s Scalar) Text() string {
	if strings.HasPrefix(s.raw, `"`) {
		var t string
		_ = json.Unmarshal([]byte(s.raw), &t)
		return t
	}
	return s.raw
}

// isPlain reports whether s is a whole number in its only usual spelling, so that
// two of them are equal exactly if their spellings are.
func isPlain(s string) bool {
	if len(s) == 0 || len(s) > 40 || s[0] == '0' && len(s) > 1 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// number reads a decimal number. Its length and exponent are bounded: a
// hostile answer could otherwise ask for a number of a gigabyte.
func number(s string) (*big.Rat, bool) {
	s = strings.TrimSpace(s)
	if len(s) == 0 || len(s) > 40 || strings.ContainsAny(s, "/_xXpPoObB") {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 5 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// MarshalJSON writes the value as it was written.
func (s Scalar) MarshalJSON() ([]byte, error) {
	if s.raw == "" {
		return []byte("null"), nil
	}
	return []byte(s.raw), nil
}

// UnmarshalJSON accepts strings, numbers, booleans and null.
func (s *Scalar) UnmarshalJSON(b []byte) error {
	t := strings.TrimSpace(string(b))
	if !json.Valid([]byte(t)) || strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		return errors.New("must be a string, number, boolean or null")
	}
	s.raw = t
	return nil
}
