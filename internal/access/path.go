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

// segment is a segment of a path: where it stands in the decoded text, its hash,
// and its characters.
type segment struct {
	start, end uint16 // up to maxPath
	hash       uint32
	chars      uint64 // see charBit
}

// path is a path as it will be sent, taken apart once for all rules. It stays on
// the stack, which is why it does not hold the text itself: what is stored
// through a pointer counts as lost to the heap.
type path struct {
	few   [fewSegments]segment
	more  []segment // all of them, where few does not hold them
	count int
	// filter is the path's own, see there.
	filter filter
	// slash: the last segment is empty, and not the only one.
	slash bool
	// ambiguous says how somebody may read the path in another way; "" where
	// nobody does.
	ambiguous string
}

// filter tells most patterns that do not match at once. Of a path it has a bit for
// each of its segments, chosen by the hash, and for each of its characters. A
// pattern matches only if the path has all bits of its literal segments and of
// the characters that it requires.
type filter struct{ segments, chars uint64 }

// passes reports whether a pattern may match a path.
func (f filter) passes(pattern filter) bool {
	return pattern.segments&^f.segments|pattern.chars&^f.chars == 0
}

func (p *path) list() []segment {
	if p.more != nil {
		return p.more
	}
	return p.few[:p.count]
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
	ambiguousEnd       = "has a ? or a # in a segment"
	ambiguousUTF8      = "is not UTF-8 text when decoded"
	ambiguousEmpty     = "has an empty segment"
	ambiguousDots      = "has a dot segment"
)

// ambiguousByte says of a byte within a segment why it makes a path ambiguous.
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

// charBit is the bit of a character, 0 of those that ambiguousByte names. Some
// have a bit in common.
var charBit = func() (bit [256]uint64) {
	for c := range 256 {
		switch b := byte(c); {
		case ambiguousByte[b] != "":
		case b >= '0' && b <= '9':
			bit[b] = 1 << (b - '0')
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z':
			bit[b] = 1 << (10 + b&31)
		default:
			bit[b] = 1 << (37 + b%27)
		}
	}
	return bit
}()

// charsOf are the bits of all characters of a text.
func charsOf(text string) (chars uint64) {
	for i := range len(text) {
		chars |= charBit[text[i]]
	}
	return chars
}

// hashOf is FNV-1a.
func hashOf(text string) uint32 {
	hash := uint32(hashStart)
	for i := range len(text) {
		hash = (hash ^ uint32(text[i])) * hashPrime
	}
	return hash
}

const (
	hashStart = 2166136261
	hashPrime = 16777619
)

// bitOf is the bit of a segment in a filter.
func bitOf(hash uint32) uint64 { return 1 << (hash >> 26) }

// decode replaces the escapes of a path, in buffer. It says why the path is
// ambiguous if an escape stands for what it may not stand for.
//
// What a provider gets is what is judged; what it makes of it is not known.
// Servers differ in dot segments, in empty ones, in whether an escaped slash is
// a slash, in whether they decode twice, and in what a semicolon begins. No rule
// by paths holds for such a path.
func decode(raw string, buffer []byte) (text, ambiguous string) {
	if len(raw) > maxPath {
		return "", ambiguousLength
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2]) {
				return "", ambiguousEscape
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			if why := ambiguousByte[c]; why != "" {
				return "", why
			}
		}
		buffer = append(buffer, c)
	}
	// A copy would be an allocation. Nothing writes to the buffer any more.
	return unsafe.String(unsafe.SliceData(buffer), len(buffer)), "" // #nosec G103 -- see above
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

// split takes a decoded path apart. decode leaves no slash that was escaped, so
// that each one ends a segment.
func (p *path) split(text string) {
	switch {
	case len(text) > maxPath:
		p.ambiguous = ambiguousLength
		return
	case text == "" || text[0] != '/':
		p.ambiguous = ambiguousStart
		return
	}
	hash, start, high, chars := uint32(hashStart), 1, byte(0), uint64(0)
	for i := 1; i < len(text); i++ {
		c := text[i]
		if c == '/' {
			if i == start {
				p.ambiguous = ambiguousEmpty
				return
			}
			p.add(text, start, i, hash, chars)
			hash, start, chars = hashStart, i+1, 0
			continue
		}
		bit := charBit[c]
		if bit == 0 {
			p.ambiguous = ambiguousByte[c]
			return
		}
		chars |= bit
		hash = (hash ^ uint32(c)) * hashPrime
		high |= c
	}
	p.slash = start == len(text) && p.count > 0
	p.add(text, start, len(text), hash, chars)
	if high >= utf8.RuneSelf && !utf8.ValidString(text) {
		p.ambiguous = ambiguousUTF8 // overlong forms of a slash, among others
	}
}

// add appends a segment.
func (p *path) add(text string, start, end int, hash uint32, chars uint64) {
	if end-start <= 2 && (text[start:end] == "." || text[start:end] == "..") {
		p.ambiguous = ambiguousDots
	}
	s := segment{uint16(start), uint16(end), hash, chars}
	switch {
	case p.count < fewSegments:
		p.few[p.count] = s
	case p.count == fewSegments:
		p.more = append(append(make([]segment, 0, 4*fewSegments), p.few[:]...), s)
	default:
		p.more = append(p.more, s)
	}
	p.count++
	p.filter.segments |= bitOf(hash)
	p.filter.chars |= chars
}

// pathGlob is a pattern for paths. It is to segments what glob is to characters:
// ** stands for any segments, also for none, and * is one of them at most.
type pathGlob struct {
	// first and last are what a path has to begin and end with; for a pattern
	// without **, first is the whole.
	first, last []segmentGlob
	// middle are the parts between two **, in their order.
	middle [][]segmentGlob
	deep   bool // there is a **
	// least is how many segments a path has to have, so that first and last do
	// not overlap.
	least  int
	filter filter
}

// segmentGlob is a pattern for one segment.
type segmentGlob struct {
	star  bool
	hash  uint32 // of a literal
	chars uint64 // that a segment has to have
	glob  glob
}

// newPathGlob compiles a pattern that checkPathGlob accepts. In a denial, a
// slash at the end is as none.
func newPathGlob(pattern string, denies bool) pathGlob {
	if denies && len(pattern) > 1 {
		pattern = strings.TrimSuffix(pattern, "/")
	}
	var p pathGlob
	parts := [][]segmentGlob{nil}
	for _, text := range strings.Split(pattern[1:], "/") {
		if text == "**" {
			parts = append(parts, nil)
			continue
		}
		s := segmentGlob{glob: newGlob(text), hash: hashOf(text), chars: charsOf(strings.ReplaceAll(text, "*", ""))}
		if s.star = s.glob.star; !s.star {
			p.filter.segments |= bitOf(s.hash)
		}
		p.filter.chars |= s.chars
		parts[len(parts)-1] = append(parts[len(parts)-1], s)
		p.least++
	}
	p.first, p.deep = parts[0], len(parts) > 1
	if p.deep {
		p.middle, p.last = parts[1:len(parts)-1], parts[len(parts)-1]
	}
	return p
}

// matchAll reports whether as many segments match as there are patterns.
func matchAll(patterns []segmentGlob, segments []segment, text string) bool {
	if len(segments) < len(patterns) {
		return false
	}
	for i := range patterns {
		g, s := &patterns[i], segments[i]
		if g.star {
			if g.chars&^s.chars != 0 || !g.glob.match(text[s.start:s.end]) {
				return false
			}
		} else if g.hash != s.hash || g.glob.first != text[s.start:s.end] {
			return false
		}
	}
	return true
}

// find returns how many segments stand before the first ones that match all
// patterns, of which there is at least one; -1 where none do.
func find(patterns []segmentGlob, segments []segment, text string) int {
	star, hash := patterns[0].star, patterns[0].hash
	for i := 0; i <= len(segments)-len(patterns); i++ {
		if (star || segments[i].hash == hash) && matchAll(patterns, segments[i:], text) {
			return i
		}
	}
	return -1
}

// match looks for each part once, behind the one before: the leftmost place is
// always good enough, because ** follows it. So the time is at most the product
// of the two lengths, and never exponential.
func (p *pathGlob) match(segments []segment, text string, f filter) bool {
	if !f.passes(p.filter) || len(segments) < p.least || !p.deep && len(segments) > p.least {
		return false
	}
	if !matchAll(p.first, segments, text) || !matchAll(p.last, segments[len(segments)-len(p.last):], text) {
		return false
	}
	segments = segments[len(p.first) : len(segments)-len(p.last)]
	for _, part := range p.middle {
		at := find(part, segments, text)
		if at < 0 {
			return false
		}
		segments = segments[at+len(part):]
	}
	return true
}
