package inject

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// readsAs reports whether some upstream would read the raw name of a query pair
// as the parameter ours. Parsers differ, so this is the union of what they do.
// They ignore or decode letter case (ASP.NET, and Java's folding of ſ, K, ı), percent escapes
// anywhere, "+" for a blank, blanks around the name, everything from a NUL on
// (C), "[]" and "[0]" (PHP, Rack, qs), "." and " " and an open "[" for "_"
// (PHP), a "?" in front (URLSearchParams), overlong UTF-8 (old Java), and six
// ways to read an invalid escape.
//
// A name that cannot be decoded and that none of them reads as ours is the
// caller's own business.
func readsAs(raw, ours string) bool {
	if i := strings.IndexByte(ours, '['); i > 0 {
		ours = ours[:i]
	}
	for l := literal; l < endOfLeniencies; l++ {
		c := nameReader{rest: raw, leniency: l}
		if c.matches(ours) {
			return true
		}
		if !c.invalid { // the other readings are the same
			return false
		}
	}
	return false
}

// leniency is what a parser makes of a "%" without two hex digits behind it.
type leniency int

const (
	literal     leniency = iota // PHP, Python, browsers: it is a "%"
	dropPercent                 // "%" is dropped
	dropOne                     // and one byte behind it
	dropTwo                     // and two bytes: the whole would-be escape
	percentU                    // "%u0061" is an escape (classic ASP, IIS)
	anyDigits                   // any two bytes are digits (NCSA's x2c, in many CGI programs)
	endOfLeniencies
)

// nameReader reads a raw name character by character, decoded.
type nameReader struct {
	rest     string
	leniency leniency
	invalid  bool // an escape was met that is none
}

// matches compares what is read with ours, and what follows with nothing.
func (c *nameReader) matches(ours string) bool {
	first, ok := c.next()
	for ok && (first == '?' || isBlank(first)) {
		first, ok = c.next()
	}
	for _, want := range ours {
		if !ok || foldRune(first) != foldRune(want) {
			return false
		}
		first, ok = c.next()
	}
	for ok && isBlank(first) {
		first, ok = c.next()
	}
	return !ok || first == 0 || first == '['
}

func isBlank(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// foldRune makes equal what parsers make equal.
func foldRune(r rune) rune {
	switch r {
	case ' ', '.', '[':
		return '_'
	}
	return foldLetter(r)
}

// foldLetter makes equal the letters that parsers of names make equal.
func foldLetter(r rune) rune {
	switch r {
	case 'ſ':
		return 's'
	case 'K': // the sign for Kelvin
		return 'k'
	case 'ı', 'İ':
		return 'i'
	}
	return unicode.ToLower(r)
}

// next returns the next character. Bytes that are no UTF-8 are characters of
// their own, which equal none of a name's.
func (c *nameReader) next() (rune, bool) {
	if r, ok := c.unicodeEscape(); ok {
		return r, true
	}
	lead, ok := c.nextByte()
	if !ok || lead < utf8.RuneSelf {
		return rune(lead), ok
	}
	size, r := 1, rune(lead&0x1f)
	switch {
	case lead >= 0xf8 || lead < 0xc0:
		return utf8.RuneError, true
	case lead >= 0xf0:
		size, r = 3, rune(lead&0x07)
	case lead >= 0xe0:
		size, r = 2, rune(lead&0x0f)
	}
	ahead := *c
	for range size {
		b, ok := ahead.nextByte()
		if !ok || b&0xc0 != 0x80 {
			c.invalid = ahead.invalid
			return utf8.RuneError, true
		}
		r = r<<6 | rune(b&0x3f)
	}
	*c = ahead
	return r, true
}

// nextByte returns the next byte, its escape undone.
func (c *nameReader) nextByte() (byte, bool) {
	for c.rest != "" {
		b := c.rest[0]
		if b != '%' {
			c.rest = c.rest[1:]
			if b == '+' {
				b = ' '
			}
			return b, true
		}
		if high, low, ok := hexPair(c.rest[1:]); ok {
			c.rest = c.rest[3:]
			return high<<4 | low, true
		}
		c.invalid = true
		if b, ok := c.lenientByte(); ok {
			return b, true
		}
	}
	return 0, false
}

// lenientByte undoes an escape that is none; false where nothing stands for
// it.
func (c *nameReader) lenientByte() (byte, bool) {
	switch c.leniency {
	case dropPercent:
		c.rest = c.rest[1:]
	case dropOne:
		c.rest = c.rest[min(2, len(c.rest)):]
	case dropTwo:
		c.rest = c.rest[min(3, len(c.rest)):]
	case anyDigits:
		if len(c.rest) >= 3 {
			b := x2c(c.rest[1])<<4 + x2c(c.rest[2])
			c.rest = c.rest[3:]
			return b, true
		}
		fallthrough
	case literal, percentU, endOfLeniencies:
		c.rest = c.rest[1:]
		return '%', true
	}
	return 0, false
}

// unicodeEscape reads "%u0061", where that is an escape.
func (c *nameReader) unicodeEscape() (rune, bool) {
	if c.leniency != percentU || len(c.rest) < 6 || c.rest[0] != '%' || c.rest[1]|0x20 != 'u' {
		return 0, false
	}
	a, b, ok1 := hexPair(c.rest[2:])
	d, e, ok2 := hexPair(c.rest[4:])
	if !ok1 || !ok2 {
		return 0, false
	}
	c.rest, c.invalid = c.rest[6:], true
	return rune(a)<<12 | rune(b)<<8 | rune(d)<<4 | rune(e), true
}

// x2c is a hex digit's value as NCSA httpd computed it: without a look at
// whether it is one.
func x2c(b byte) byte {
	if b >= 'A' {
		return b&0xdf - 'A' + 10
	}
	return b - '0'
}

func hexPair(s string) (high, low byte, ok bool) {
	if len(s) < 2 {
		return 0, 0, false
	}
	high, ok1 := hexDigit(s[0])
	low, ok2 := hexDigit(s[1])
	return high, low, ok1 && ok2
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return b | 0x20 - 'a' + 10, true
	}
	return 0, false
}
