package inject

import (
	"strings"
	"unicode/utf8"
)

// jsonState is what the grammar expects next.
type jsonState uint8

const (
	beforeDocument     jsonState = iota
	beforeValue                  // a value must follow
	beforeFirstElement           // a value, or the end of the array
	beforeFirstName              // a name, or the end of the object
	beforeName                   // a name must follow: a comma was read
	afterName                    // the colon
	afterValue                   // a comma, or the end of the object or array
	afterDocument
	inString
	inEscape   // behind a backslash
	inHex      // in the digits of \uXXXX
	inLiteral  // in true, false or null
	afterMinus // a digit must follow
	afterZero  // the number has no more digits in front of its point
	inInteger  // more digits may follow
	afterPoint // a digit must follow
	inFraction // more digits may follow
	afterE     // a sign or a digit must follow
	afterSign  // a digit must follow
	inExponent // more digits may follow
)

// byteOrderMark may stand in front of a document, though it should not.
const byteOrderMark = "\xef\xbb\xbf"

// next reads one byte.
func (b *jsonBody) next(out []byte, c byte) ([]byte, error) {
	switch {
	case b.mark < len(byteOrderMark):
		return b.inMark(out, c)
	case b.state >= inString && b.state <= inHex:
		return b.inText(out, c)
	case b.state == inLiteral:
		if b.literal[0] != c {
			return out, errJSON
		}
		if b.literal = b.literal[1:]; b.literal == "" {
			b.state = afterValue
		}
		return b.write(out, c)
	case b.state >= afterMinus:
		isDone, err := b.inNumber(c)
		if err != nil || !isDone {
			return b.writeUnless(err, out, c)
		}
		b.state = afterValue
	}
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return b.write(out, c)
	}
	return b.structure(out, c)
}

// inMark reads a byte of the mark. What begins otherwise has none, and may have
// none further on.
func (b *jsonBody) inMark(out []byte, c byte) ([]byte, error) {
	switch {
	case c == byteOrderMark[b.mark]:
		b.mark++
		return b.write(out, c)
	case b.mark > 0:
		return out, errJSON
	}
	b.mark = len(byteOrderMark)
	return b.next(out, c)
}

// writeUnless writes a byte that is no error.
func (b *jsonBody) writeUnless(err error, out []byte, c byte) ([]byte, error) {
	if err != nil {
		return out, err
	}
	return b.write(out, c)
}

// structure reads a byte between values.
func (b *jsonBody) structure(out []byte, c byte) ([]byte, error) {
	switch b.state {
	case beforeDocument:
		if c != '{' {
			return out, errJSON
		}
		b.into = b.root
		return b.open(out, c)
	case beforeFirstName, beforeName:
		if c == '}' && b.state == beforeFirstName {
			return b.close(out, c)
		}
		if c != '"' {
			return out, errJSON
		}
		b.state, b.isKey, b.key = inString, true, len(b.held)
		return b.write(out, c)
	case afterName:
		if c != ':' {
			return out, errJSON
		}
		b.state = beforeValue
		return b.write(out, c)
	case beforeFirstElement:
		if c == ']' {
			return b.close(out, c)
		}
		return b.value(out, c)
	case beforeValue:
		return b.value(out, c)
	case afterValue:
		return b.behind(out, c)
	default: // afterDocument: nothing follows
		return out, errJSON
	}
}

// value reads the first byte of a value.
func (b *jsonBody) value(out []byte, c byte) ([]byte, error) {
	if c == '{' || c == '[' {
		return b.open(out, c)
	}
	if b.into != nil {
		return out, errJSONObject
	}
	switch {
	case c == '"':
		b.state, b.isKey = inString, false
	case c == '-':
		b.state = afterMinus
	case c == '0':
		b.state = afterZero
	case c >= '1' && c <= '9':
		b.state = inInteger
	default:
		for _, word := range [...]string{"true", "false", "null"} {
			if c == word[0] {
				b.state, b.literal = inLiteral, word[1:]
				return b.write(out, c)
			}
		}
		return out, errJSON
	}
	return b.write(out, c)
}

// behind reads what stands behind a value of an object or array.
func (b *jsonBody) behind(out []byte, c byte) ([]byte, error) {
	frame := b.frames[len(b.frames)-1]
	switch {
	case c == '}' && frame.isObject, c == ']' && !frame.isObject:
		return b.close(out, c)
	case c != ',':
		return out, errJSON
	}
	b.state = beforeValue
	if frame.isObject {
		b.state = beforeName
	}
	if frame.ours != nil {
		b.memberEnded()
		return out, nil
	}
	return b.write(out, c)
}

// inText reads a byte of a string or a name.
func (b *jsonBody) inText(out []byte, c byte) ([]byte, error) {
	switch b.state {
	case inEscape:
		switch {
		case c == 'u':
			b.state, b.hex = inHex, 4
		case strings.IndexByte(`"\/bfnrt`, c) >= 0:
			b.state = inString
		default:
			return out, errJSON
		}
		return b.write(out, c)
	case inHex:
		if !isHex(c) {
			return out, errJSON
		}
		if b.hex--; b.hex == 0 {
			b.state = inString
		}
		return b.write(out, c)
	default: // inString
	}
	switch {
	case c >= utf8.RuneSelf || len(b.char) > 0:
		if err := b.inCharacter(c); err != nil {
			return out, err
		}
	case c < ' ':
		return out, errJSON
	case c == '\\':
		b.state = inEscape
	case c == '"' && !b.isKey:
		b.state = afterValue
	case c == '"':
		out, err := b.write(out, c)
		if err != nil {
			return out, err
		}
		return b.nameEnded(out)
	}
	return b.write(out, c)
}

// inCharacter reads a byte of a character in UTF-8.
func (b *jsonBody) inCharacter(c byte) error {
	b.char = append(b.char, c)
	if !utf8.FullRune(b.char) {
		return nil
	}
	if r, size := utf8.DecodeRune(b.char); r == utf8.RuneError && size == 1 {
		return errJSON
	}
	b.char = b.char[:0]
	return nil
}

// inNumber reads a byte of a number, or what ends it.
func (b *jsonBody) inNumber(c byte) (isDone bool, err error) {
	isDigit := c >= '0' && c <= '9'
	isE := c == 'e' || c == 'E'
	switch {
	case b.state == afterMinus && c == '0':
		b.state = afterZero
	case b.state == afterMinus && isDigit:
		b.state = inInteger
	case b.state == afterZero && isDigit:
		return false, errJSON
	case (b.state == afterZero || b.state == inInteger) && c == '.':
		b.state = afterPoint
	case (b.state == afterZero || b.state == inInteger || b.state == inFraction) && isE:
		b.state = afterE
	case b.state == afterPoint && isDigit:
		b.state = inFraction
	case b.state == afterE && (c == '+' || c == '-'):
		b.state = afterSign
	case (b.state == afterE || b.state == afterSign) && isDigit:
		b.state = inExponent
	case b.state == afterMinus, b.state == afterPoint, b.state == afterE, b.state == afterSign:
		return false, errJSON
	case !isDigit:
		return true, nil
	}
	return false, nil
}
