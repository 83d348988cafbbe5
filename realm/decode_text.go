package realm

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and lists. A realm needs five.
const maxDepth = 64

// checkText finds what encoding/json lets pass in silence: bytes that are not
// UTF-8 and halves of surrogate pairs (both become U+FFFD: a credential would
// be stored altered), doubled names (the last one wins) and deep nesting.
func checkText(data []byte, prefix string) error {
	if !utf8.Valid(data) {
		return Fieldf(prefix, "is not UTF-8 text")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return syntaxError(prefix, data, err)
	}
	if at, ok := halfSurrogate(data); ok {
		return Fieldf(prefix, "has half of a surrogate pair at %s", position(data, at))
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // 1e400 is JSON; whether it fits is not asked here
	return checkNames(dec, prefix, 0)
}

// checkNames walks over the next value of dec.
func checkNames(dec *json.Decoder, path string, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return Fieldf(path, "is not JSON: %v", err)
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return Fieldf(path, "is nested more than %d deep", maxDepth)
	}
	if delim == '{' {
		err = checkMembers(dec, path, depth)
	} else {
		for i := 0; err == nil && dec.More(); i++ {
			err = checkNames(dec, indexPath(path, i), depth+1)
		}
	}
	if err != nil {
		return err
	}
	_, err = dec.Token() // the closing one
	return err
}

// checkMembers walks over the members of an object whose brace is read.
func checkMembers(dec *json.Decoder, path string, depth int) error {
	seen := make(map[json.Token]bool)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return Fieldf(path, "is not JSON: %v", err)
		}
		member := joinPath(path, name.(string))
		if seen[name] {
			return Fieldf(member, "is given twice")
		}
		seen[name] = true
		if err := checkNames(dec, member, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// halfSurrogate finds an escape \uD800 to \uDFFF that is not part of a pair
// (RFC 8259 section 8.2) in text that is well-formed otherwise.
func halfSurrogate(data []byte) (int, bool) {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		switch unit := escapedUnit(data[i:]); {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return i, true
		case unit >= 0xD800 && unit < 0xDC00:
			low := escapedUnit(data[i+6:])
			if low < 0xDC00 || low > 0xDFFF {
				return i, true
			}
			i += 11
		default:
			i++ // the escaped byte may be a backslash
		}
	}
	return 0, false
}

// escapedUnit is the UTF-16 code unit of an escape like \u4E2D at the start of
// b, or 0.
func escapedUnit(b []byte) uint64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	unit, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return unit
}

// syntaxError tells where the text is broken. The offset of encoding/json is
// that behind the bad byte.
func syntaxError(path string, data []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return Fieldf(path, "is not JSON: %v", err)
	}
	at := max(int(syntax.Offset)-1, 0)
	return Fieldf(path, "is not JSON: %v at %s", err, position(data, at))
}

// position counts lines and columns (in bytes) from 1.
func position(data []byte, at int) string {
	before := data[:min(at, len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return "line " + strconv.Itoa(line) + ", column " + strconv.Itoa(column)
}

// joinPath appends a member's name. Names that would make the path ambiguous
// or unreadable are quoted, and cut.
func joinPath(path, name string) string {
	if name == "" || len(name) > 100 || !isFieldName(name) {
		name = strconv.Quote(name[:runeBoundary(name, 100)])
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func indexPath(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// runeBoundary is the largest length up to limit that cuts no character.
func runeBoundary(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return limit
}
