package grant

import (
	"errors"
	"strings"

	"github.com/tidwall/gjson"
)

// path leads to a value in an answer: names of objects and indexes of arrays.
// There is nothing else: no wildcards, queries or modifiers.
type path []string

// errDoubled: an answer has a name twice in one object. Parsers differ about
// which one counts (RFC 8259 section 4), so neither is believed.
var errDoubled = errors.New("a name stands twice in one object")

// parsePath reads "data.token", "items.0.token", `odd\.name.token`. A
// backslash makes a dot or a backslash part of the name.
func parsePath(s string) (path, error) {
	var (
		p    path
		name strings.Builder
	)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\\':
			i++
			if i == len(s) || s[i] != '.' && s[i] != '\\' {
				return nil, errors.New(`a backslash may only stand before a dot or a backslash`)
			}
			name.WriteByte(s[i])
		case '.':
			p = append(p, name.String())
			name.Reset()
		default:
			name.WriteByte(c)
		}
	}
	p = append(p, name.String())
	for _, name := range p {
		if name == "" {
			return nil, errors.New("must be names and indexes joined by dots")
		}
	}
	return p, nil
}

// in walks the path from a value. What is not there is a Result that does not
// exist.
func (p path) in(root gjson.Result) (gjson.Result, error) {
	at := root
	for _, name := range p {
		next, err := child(at, name)
		if err != nil || !next.Exists() {
			return gjson.Result{}, err
		}
		at = next
	}
	return at, nil
}

// child returns the member or the entry of that name. A member that stands
// twice is an error.
func child(at gjson.Result, name string) (found gjson.Result, err error) {
	switch {
	case at.IsObject():
		at.ForEach(func(key, value gjson.Result) bool {
			if key.String() != name {
				return true
			}
			if found.Exists() {
				err = errDoubled
				return false
			}
			found = value
			return true
		})
	case at.IsArray():
		left, ok := arrayIndex(name)
		if !ok {
			return found, nil
		}
		at.ForEach(func(_, value gjson.Result) bool {
			if left == 0 {
				found = value
			}
			left--
			return left >= 0
		})
	}
	return found, err
}

// arrayIndex reads a decimal index without sign or leading zeros.
func arrayIndex(name string) (int, bool) {
	if len(name) > 7 || len(name) > 1 && name[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(name) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
