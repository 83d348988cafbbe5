package access

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

const (
	// fewSegments is how many segments a path may have without an allocation.
	fewSegments = 16
	// maxPath bounds the work of a decision. A longer path counts as ambiguous.
	maxPath = 16 << 10
	// escapedPath is how long a path with escapes may be without an allocation.
	escapedPath = 512
)

// segment is one segment of a path, decoded.
type segment struct {
	text string
	hash uint64
}

// path is a path as it will be sent, read once for all rules. It is made on the
// stack of Decide and does not outlive it.
type path struct {
	few      [fewSegments]segment
	segments []segment
	// bits has one bit for each segment, chosen by its hash. A pattern whose
	// literal segments are not all among them does not match, and most patterns
	// are told by that.
	bits uint64
	// slash: the last segment is empty, and not the only one.
	slash bool
	// ambiguous says how somebody may read the path in another way; "" where
	// nobody does.
	ambiguous string
}

// What makes a path ambiguous, in the words of Explain.
const (
	ambiguousLength    = "is longer than 16 KiB"
	ambiguousStart     = "does not begin with /"
	ambiguousEscape    = "has a % that is no escape"
	ambiguousPercent   = "has an escaped %"
	ambiguousSlash     = "has an escaped slash"
	ambiguousBackslash = "has a backslash"
	ambiguousControl   = "has a control character"
	ambiguousSemicolon = "has a semicolon"
	ambiguousEnd       = "has an escaped ? or #"
	ambiguousUTF8      = "is not UTF-8 text when decoded"
	ambiguousEmpty     = "has an empty segment"
	ambiguousDots      = "has a dot segment"
)

// ambiguousByte says of a decoded byte why it makes a path ambiguous. A slash
// is in here because one that is not escaped ends a segment.
var ambiguousByte = func() (why [256]string) {
	for c := range 0x20 {
		why[c] = ambiguousControl
	}
	why[0x7f] = ambiguousControl
	why['/'], why['\\'] = ambiguousSlash, ambiguousBackslash
	why['%'], why[';'] = ambiguousPercent, ambiguousSemicolon
	why['?'], why['#'] = ambiguousEnd, ambiguousEnd
	return why
}()

const (
	hashStart = 14695981039346656037 // FNV-1a
	hashPrime = 1099511628211
)

// bitOf is the bit of a segment in path.bits.
func bitOf(hash uint64) uint64 { return 1 << (hash >> 58) }

func hashOf(text string) uint64 {
	hash := uint64(hashStart)
	for i := range len(text) {
		hash = (hash ^ uint64(text[i])) * hashPrime
	}
	return hash
}

// read takes a path apart. buffer is for what has escapes.
//
// What a provider gets is what is judged; what it makes of it is not known.
// Servers differ in dot segments, in empty ones, in whether an escaped slash is
// a slash, in whether they decode twice, and in what a semicolon begins. No rule
// by paths holds for such a path.
func (p *path) read(raw string, buffer []byte) {
	p.segments = p.few[:0]
	if raw == "" {
		raw = "/" // which is what will be sent
	}
	switch {
	case len(raw) > maxPath:
		p.ambiguous = ambiguousLength
		return
	case raw[0] != '/':
		p.ambiguous = ambiguousStart
		return
	}
	text := raw
	escapes := strings.IndexByte(raw, '%') >= 0
	if escapes {
		if text = p.decode(raw, buffer); p.ambiguous != "" {
			return
		}
	}
	// Decoding leaves no slash that was escaped, so that each of them ends a
	// segment.
	hash, start, high := uint64(hashStart), 1, byte(0)
	for i := 1; i <= len(text); i++ {
		if i == len(text) || text[i] == '/' {
			p.add(text[start:i], hash, i == len(text))
			hash, start = hashStart, i+1
			continue
		}
		c := text[i]
		if why := ambiguousByte[c]; why != "" {
			p.ambiguous = why
			return
		}
		hash = (hash ^ uint64(c)) * hashPrime
		high |= c
	}
	if high >= utf8.RuneSelf && !utf8.ValidString(text) {
		p.ambiguous = ambiguousUTF8 // overlong forms of a slash, among others
	}
}

// add appends a segment.
func (p *path) add(text string, hash uint64, last bool) {
	switch text {
	case "":
		if !last {
			p.ambiguous = ambiguousEmpty
		}
		p.slash = len(p.segments) > 0
	case ".", "..":
		p.ambiguous = ambiguousDots
	}
	p.segments = append(p.segments, segment{text, hash})
	p.bits |= bitOf(hash)
}

// decode replaces the escapes of a path. What an escape may not stand for makes
// the path ambiguous.
func (p *path) decode(raw string, buffer []byte) string {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				p.ambiguous = ambiguousEscape
				return ""
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			if why := ambiguousByte[c]; why != "" {
				p.ambiguous = why
				return ""
			}
		}
		buffer = append(buffer, c)
	}
	// A copy would be an allocation. Nothing writes to the buffer any more.
	return unsafe.String(unsafe.SliceData(buffer), len(buffer)) // #nosec G103 -- see above
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&7 + 9 // a is 0x61, A is 0x41
}

// pathGlob is a pattern for paths.
type pathGlob struct {
	segments []segmentGlob
	// bits are those of the segments that are literal, see path.bits.
	bits uint64
}

// segmentGlob is a pattern for one segment, or ** for any number of them, also
// for none.
type segmentGlob struct {
	deep bool
	hash uint64 // of a literal
	glob glob
}

// newPathGlob compiles a pattern that checkPathGlob accepts. In a denial, a
// slash at the end is as none.
func newPathGlob(pattern string, denies bool) pathGlob {
	if denies && len(pattern) > 1 {
		pattern = strings.TrimSuffix(pattern, "/")
	}
	var p pathGlob
	for _, text := range strings.Split(pattern[1:], "/") {
		s := segmentGlob{deep: text == "**"}
		if !s.deep {
			s.glob = newGlob(text)
			if !s.glob.star {
				s.hash = hashOf(text)
				p.bits |= bitOf(s.hash)
			}
		}
		p.segments = append(p.segments, s)
	}
	return p
}

func (g *segmentGlob) match(s *segment) bool {
	if g.glob.star {
		return g.glob.match(s.text)
	}
	return g.hash == s.hash && g.glob.first == s.text
}

// match never goes back further than to the last **: what an earlier one could
// take instead, the last one can take, too. So its time is at most the product
// of the two lengths, and never exponential.
func (p *pathGlob) match(segments []segment, bits uint64) bool {
	if p.bits&^bits != 0 {
		return false
	}
	deep, resume := -1, 0
	at, i := 0, 0
	for i < len(segments) {
		switch {
		case at < len(p.segments) && p.segments[at].deep:
			deep, resume = at, i
			at++
		case at < len(p.segments) && p.segments[at].match(&segments[i]):
			at++
			i++
		case deep >= 0: // ** takes one segment more
			resume++
			at, i = deep+1, resume
		default:
			return false
		}
	}
	for at < len(p.segments) && p.segments[at].deep {
		at++
	}
	return at == len(p.segments)
}
