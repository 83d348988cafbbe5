package inject

import (
	"unicode/utf16"
	"unicode/utf8"
)

// escapes is a way to write characters of a text by others.
type escapes struct {
	// mark begins each escape.
	mark byte
	// undo reads what stands at the beginning of text, which is a mark. It returns
	// false where only more text can tell what stands there; with final there is no
	// more. A mark that begins no escape stands for itself.
	undo func(text []byte, final bool) (escape, bool)
}

// escape is one escape.
type escape struct {
	size  int // how long it is
	count int // how many bytes it stands for
	bytes [utf8.UTFMax]byte
}

// escapeOf is an escape of a size that stands for one byte.
func escapeOf(c byte, size int) escape {
	return escape{size: size, count: 1, bytes: [utf8.UTFMax]byte{c}}
}

// The escapes of bodies.
var (
	percentEscapes = &escapes{'%', undoPercent}
	jsonEscapes    = &escapes{'\\', undoJSON}
)

// maxNested is how many times an escape may be escaped again, as in a URL that
// stands in the query of another URL.
const maxNested = 3

// undoPercent undoes %XX (RFC 3986 section 2.1), or %25XX and so on.
func undoPercent(text []byte, final bool) (escape, bool) {
	e := escapeOf(text[0], 1)
	for range maxNested + 1 {
		digits := text[e.size:]
		if len(digits) < 2 {
			isBegun := len(digits) == 0 || isHex(digits[0])
			return e, final || !isBegun
		}
		if !isHex(digits[0]) || !isHex(digits[1]) {
			break
		}
		high, _ := hexDigit(digits[0])
		low, _ := hexDigit(digits[1])
		if e = escapeOf(high<<4|low, e.size+2); e.bytes[0] != '%' {
			break
		}
	}
	return e, true
}

// undoJSON undoes the escapes of strings in JSON (RFC 8259 section 7). Some writers
// escape more than they have to: "/", "<" or "=".
func undoJSON(text []byte, final bool) (escape, bool) {
	if len(text) < 2 {
		return escapeOf(text[0], 1), final
	}
	const letters, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	for i := range len(letters) {
		if text[1] == letters[i] {
			return escapeOf(meanings[i], 2), true
		}
	}
	first, size, complete := undoUTF16(text, final)
	switch {
	case !complete:
		return escape{}, false
	case size == 0:
		return escapeOf(text[0], 1), true
	case utf16.IsSurrogate(first):
		second, more, complete := undoUTF16(text[size:], final)
		if !complete {
			return escape{}, false
		}
		if first = utf16.DecodeRune(first, second); first != utf8.RuneError {
			size += more
		}
	}
	e := escape{size: size}
	e.count = utf8.EncodeRune(e.bytes[:], first)
	return e, true
}

// undoUTF16 reads \uXXXX at the beginning of text; size is 0 where there is none.
func undoUTF16(text []byte, final bool) (r rune, size int, complete bool) {
	const length = len(`\uXXXX`)
	for i := range length {
		if i == len(text) {
			return 0, 0, final
		}
		digit, ok := hexDigit(text[i])
		if i < 2 {
			digit, ok = 0, text[i] == `\u`[i]
		}
		if !ok {
			return 0, 0, true
		}
		r = r<<4 | rune(digit)
	}
	return r, length, true
}

func isHex(b byte) bool {
	_, ok := hexDigit(b)
	return ok
}

// withoutEscapes returns a text with its escapes undone.
func withoutEscapes(text []byte, kind *escapes) (undone []byte) {
	for len(text) > 0 {
		e := escapeOf(text[0], 1)
		if text[0] == kind.mark {
			e, _ = kind.undo(text, true)
		}
		undone = append(undone, e.bytes[:e.count]...)
		text = text[e.size:]
	}
	return undone
}
