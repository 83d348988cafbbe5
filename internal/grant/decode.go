package grant

import (
	"bytes"
	"encoding/binary"
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxSearched bounds one search, in bytes that were read or made. Ordinary
// words take a hundredth of it; only words that are made to take long take it
// all.
const maxSearched = 2 << 20

// view is a text as somebody may read it: words, or what is left of them when
// they were decoded. Each byte knows where it came from.
type view struct {
	text []byte
	// text[i] was made of the bytes of the words between from[i] and to[i].
	from, to []int
}

// newView is the words themselves.
func newView(words string) view {
	v := view{text: []byte(words), from: make([]int, len(words)), to: make([]int, len(words))}
	for i := range v.text {
		v.from[i], v.to[i] = i, i+1
	}
	return v
}

// append adds a text that was made of one range of the words.
func (v *view) append(text []byte, from, to int) {
	for _, b := range text {
		v.text, v.from, v.to = append(v.text, b), append(v.from, from), append(v.to, to)
	}
}

// copy adds a byte of another view.
func (v *view) copy(o view, i int) {
	v.text, v.from, v.to = append(v.text, o.text[i]), append(v.from, o.from[i]), append(v.to, o.to[i])
}

// search looks for values in words, and in all that the words can be decoded
// to. A view that was decoded is decoded again, in every way, until nothing is
// left that could show one.
type search struct {
	needles []needle
	words   string
	marks   []bool          // of the bytes of the words that show a value
	seen    map[string]bool // texts of the views that were searched
	left    int             // of maxSearched
	least   int             // the length of the shortest value
	wide    bool            // a value has other characters than those of ASCII
	// found: there are marks; exhausted: the search was given up.
	found, exhausted bool
}

func newSearch(needles []needle, words string) *search {
	s := &search{
		needles: needles, words: words, marks: make([]bool, len(words)), seen: make(map[string]bool),
		left: maxSearched, least: maxNeedle,
	}
	for i := range needles {
		s.least = min(s.least, needles[i].least())
		s.wide = s.wide || !isASCII(needles[i].plain)
	}
	return s
}

// explore searches a view and all views that it can be decoded to.
func (s *search) explore(v view) {
	if s.exhausted || len(v.text) == 0 || len(s.needles) == 0 || s.seen[string(v.text)] {
		return
	}
	s.seen[string(v.text)] = true
	s.look(v)
	if s.mayBeWide(v) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			for skip := range 2 {
				s.spend(len(v.text))
				s.explore(fromUTF16(v, skip, order))
			}
		}
	}
	if readable := v.readable(s.least); !bytes.Equal(readable.text, v.text) {
		s.explore(readable)
		return
	}
	for _, decode := range decoders {
		s.spend(len(v.text))
		s.explore(decode(v))
	}
}

// spend counts what was read. Once it is too much, explore does no more.
func (s *search) spend(n int) {
	if s.left -= n; s.left < 0 {
		s.exhausted = true
	}
}

// mayBeWide reports whether a view may be a text in UTF-16: of plain letters
// half of the bytes are zeros, while others can be told from nothing.
func (s *search) mayBeWide(v view) bool {
	if 4*bytes.Count(v.text, []byte{0}) >= len(v.text) {
		return true
	}
	return s.wide && !utf8.Valid(v.text)
}

// look marks the values that a view shows.
func (s *search) look(v view) {
	folded := fold(v)
	for i := range s.needles {
		n := &s.needles[i]
		n.find(v, folded, func(from, to int) {
			if n.open {
				to = len(s.marks)
			}
			s.found = true
			for at := from; at < to; at++ {
				s.marks[at] = true
			}
		})
	}
}

// masked is the words with a mask in place of each range that is marked.
func (s *search) masked() string {
	var b strings.Builder
	for i := range len(s.words) {
		switch {
		case !s.marks[i]:
			b.WriteByte(s.words[i])
		case i == 0 || !s.marks[i-1]:
			b.WriteString(realm.Mask)
		}
	}
	return b.String()
}

// readable is what of a view may be words, or be decoded to words: runs of
// characters that are seen, of at least so many bytes. Between them stands a
// blank. Shorter runs, as they are in what was decoded by mistake, are nothing:
// there the search ends. The zeros of UTF-16 go, and so does what hides a value: a
// mark in the middle of digits of base64.
func (v view) readable(least int) view {
	var all, run view
	end := func() {
		if len(bytes.ReplaceAll(run.text, []byte(" "), nil)) >= least {
			if len(all.text) > 0 {
				all.append([]byte(" "), run.from[0], run.from[0])
			}
			for i := range run.text {
				all.copy(run, i)
			}
		}
		run = view{}
	}
	var size int
	for i := 0; i < len(v.text); i += size {
		var c rune
		c, size = utf8.DecodeRune(v.text[i:])
		switch {
		case c == utf8.RuneError && size == 1: // no UTF-8
			end()
		case unicode.IsSpace(c):
			run.append([]byte(" "), v.from[i], v.to[i+size-1])
		case isVisible(c):
			for at := i; at < i+size; at++ {
				run.copy(v, at)
			}
		}
	}
	end()
	return all
}

// decoders are all ways to read a view as another one. A decoder that finds
// nothing of its own returns the view as it is, or nothing.
var decoders = append([]func(view) view{
	withoutBlanks, percentDecoded, unescaped, withoutEntities, quotedPrintable, withoutHexMarks,
}, radixDecoders()...)

// radixDecoders read hex, base32 and base64 from each position at which a
// byte of what was encoded may begin.
func radixDecoders() []func(view) view {
	var list []func(view) view
	add := func(x radix, offsets int) {
		for offset := range offsets {
			list = append(list, func(v view) view { return x.decoded(v, offset) })
		}
	}
	add(radix{4, hexDigit}, 2)
	add(radix{5, base32Digit}, 8)
	add(radix{6, base64Digit}, 4)
	add(radix{6, base64DigitOrBlank}, 4)
	return list
}

// withoutBlanks joins what was broken into lines or groups.
func withoutBlanks(v view) view {
	var joined view
	for i, b := range v.text {
		if b != ' ' {
			joined.copy(v, i)
		}
	}
	return joined
}

// fromUTF16 reads a text of two bytes for each character, or four.
func fromUTF16(v view, skip int, order binary.ByteOrder) view {
	var decoded view
	for i := skip; i+1 < len(v.text); i += 2 {
		begin, c := i, rune(order.Uint16(v.text[i:]))
		if utf16.IsSurrogate(c) && i+3 < len(v.text) {
			if pair := utf16.DecodeRune(c, rune(order.Uint16(v.text[i+2:]))); pair != utf8.RuneError {
				c = pair
				i += 2
			}
		}
		decoded.append([]byte(string(c)), v.from[begin], v.to[i+1])
	}
	return decoded
}

func isASCII(text []byte) bool {
	return !bytes.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII })
}

// withoutHexMarks makes a run of digits of 0x41 0x42.
func withoutHexMarks(v view) view {
	return replaced(v, '0', func(text []byte) ([]byte, int) {
		if len(text) > 1 && text[1]|0x20 == 'x' {
			return nil, 2
		}
		return nil, 0
	})
}

// replaced decodes the escapes of a view that begin with a mark. escape reads
// one and returns how long it is; 0 for none.
func replaced(v view, mark byte, escape func(text []byte) (decoded []byte, size int)) view {
	if bytes.IndexByte(v.text, mark) < 0 {
		return v
	}
	var plain view
	for i := 0; i < len(v.text); {
		if v.text[i] == mark {
			if decoded, size := escape(v.text[i:]); size > 0 {
				plain.append(decoded, v.from[i], v.to[i+size-1])
				i += size
				continue
			}
		}
		plain.copy(v, i)
		i++
	}
	return plain
}

// percentDecoded reads %41 and %u0041.
func percentDecoded(v view) view {
	return replaced(v, '%', func(text []byte) ([]byte, int) {
		if len(text) > 1 && (text[1] == 'u' || text[1] == 'U') {
			return codePoint(text, 2, 4)
		}
		return codeByte(text, 1, 16, 2)
	})
}

// quotedPrintable reads =41 and the end of a line that goes on (RFC 2045
// section 6.7).
func quotedPrintable(v view) view {
	return replaced(v, '=', func(text []byte) ([]byte, int) {
		if len(text) > 1 && text[1] == ' ' {
			return nil, 2
		}
		return codeByte(text, 1, 16, 2)
	})
}

// unescaped reads the escapes of JSON and of programming languages: \u0041,
// \u{41}, \U00000041, \x41, \101, \n, \".
func unescaped(v view) view {
	return replaced(v, '\\', func(text []byte) ([]byte, int) {
		if len(text) == 1 {
			return nil, 0
		}
		switch c := text[1]; c {
		case 'u', 'U':
			if decoded, size := braced(text); size > 0 {
				return decoded, size
			}
			if decoded, size := codePoint(text, 2, 8); size > 0 && c == 'U' {
				return decoded, size
			}
			if decoded, size := surrogates(text); size > 0 {
				return decoded, size
			}
			if decoded, size := codePoint(text, 2, 4); size > 0 {
				return decoded, size
			}
		case 'x', 'X':
			if decoded, size := codeByte(text, 2, 16, 2); size > 0 {
				return decoded, size
			}
		case '0', '1', '2', '3':
			if decoded, size := codeByte(text, 1, 8, 3); size > 0 {
				return decoded, size
			}
		case 'n', 'r', 't', 'b', 'f', 'v':
			return []byte(" "), 2
		}
		return text[1:2], 2
	})
}

// braced reads \u{1f600}.
func braced(text []byte) ([]byte, int) {
	end := bytes.IndexByte(text[:min(len(text), 12)], '}')
	if end < 4 || text[2] != '{' {
		return nil, 0
	}
	decoded, _ := codePoint(text[:end], 3, end-3)
	if decoded == nil {
		return nil, 0
	}
	return decoded, end + 1
}

// surrogates reads the two escapes of one character beyond the first 65,536.
func surrogates(text []byte) ([]byte, int) {
	const size = len(`\ud83d\ude00`)
	if len(text) < size || text[6] != '\\' || text[7] != 'u' && text[7] != 'U' {
		return nil, 0
	}
	high, bad := strconv.ParseUint(string(text[2:6]), 16, 16)
	low, worse := strconv.ParseUint(string(text[8:12]), 16, 16)
	c := utf16.DecodeRune(rune(high), rune(low))
	if bad != nil || worse != nil || c == unicode.ReplacementChar {
		return nil, 0
	}
	return []byte(string(c)), size
}

// codePoint reads so many hex digits as a character.
func codePoint(text []byte, at, digits int) ([]byte, int) {
	if len(text) < at+digits {
		return nil, 0
	}
	c, err := strconv.ParseUint(string(text[at:at+digits]), 16, 32)
	if err != nil || c > unicode.MaxRune {
		return nil, 0
	}
	return []byte(string(rune(c))), at + digits
}

// codeByte reads so many digits as a byte.
func codeByte(text []byte, at, base, digits int) ([]byte, int) {
	if len(text) < at+digits {
		return nil, 0
	}
	b, err := strconv.ParseUint(string(text[at:at+digits]), base, 8)
	if err != nil {
		return nil, 0
	}
	return []byte{byte(b)}, at + digits
}

// withoutEntities reads &#65;, &#x41; and &amp;. A semicolon may be missing.
func withoutEntities(v view) view {
	const longest = 33 // of the names of HTML
	return replaced(v, '&', func(text []byte) ([]byte, int) {
		size := 1
		for size < min(len(text), longest) && (text[size] == '#' && size == 1 || isAlnum(text[size])) {
			size++
		}
		if size < len(text) && text[size] == ';' {
			size++
		}
		entity := string(text[:size])
		decoded := html.UnescapeString(entity)
		if decoded == entity {
			return nil, 0
		}
		return []byte(decoded), size
	})
}

// radix is an encoding that writes a run of bits in digits.
type radix struct {
	bits int
	// digit is the value of a byte; noDigit ends a run, and skipped stands
	// between digits.
	digit func(b byte) int
}

const (
	noDigit = -1
	skipped = -2
)

// decoded reads every run of digits of a view from the digit at offset on. A
// text that is in clear is read as well: what comes out is not readable. Between
// runs stands a byte that is none of UTF-8, so that they stay apart.
func (x radix) decoded(v view, offset int) view {
	var out view
	var value, bits, digits int
	var first, last []int // of the digits whose bits are in value: where they came from
	for i, b := range v.text {
		d := x.digit(b)
		switch d {
		case skipped:
			continue
		case noDigit:
			if digits > 0 && len(out.text) > 0 {
				out.append([]byte{0xff}, v.from[i], v.from[i])
			}
			value, bits, digits, first, last = 0, 0, 0, nil, nil
			continue
		}
		if digits++; digits <= offset {
			continue
		}
		value, bits = value<<x.bits|d, bits+x.bits
		first, last = append(first, v.from[i]), append(last, v.to[i])
		if bits < 8 {
			continue
		}
		out.append([]byte{byte(value >> (bits - 8))}, first[0], last[len(last)-1])
		bits -= 8
		value &= 1<<bits - 1
		if bits == 0 { // the next byte begins with a digit of its own
			first, last = nil, nil
		} else {
			first, last = first[len(first)-1:], last[len(last)-1:]
		}
	}
	return out
}

// hexDigit skips what is written between the bytes of a dump.
func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int(b|0x20-'a') + 10
	case strings.IndexByte(":-,", b) >= 0:
		return skipped
	}
	return noDigit
}

// base32Digit takes both cases (RFC 4648 section 6).
func base32Digit(b byte) int {
	switch {
	case 'a' <= b|0x20 && b|0x20 <= 'z':
		return int(b | 0x20 - 'a')
	case '2' <= b && b <= '7':
		return int(b-'2') + 26
	}
	return noDigit
}

// base64Digit takes both alphabets of RFC 4648.
func base64Digit(b byte) int {
	switch {
	case 'A' <= b && b <= 'Z':
		return int(b - 'A')
	case 'a' <= b && b <= 'z':
		return int(b-'a') + 26
	case '0' <= b && b <= '9':
		return int(b-'0') + 52
	case b == '+' || b == '-':
		return 62
	case b == '/' || b == '_':
		return 63
	}
	return noDigit
}

// base64DigitOrBlank takes a blank for the "+" that a form makes of it.
func base64DigitOrBlank(b byte) int {
	if b == ' ' {
		return 62
	}
	return base64Digit(b)
}
