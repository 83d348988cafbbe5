package inject

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// minScrubbed is the least length of a value that is looked for in headers.
// Shorter values would be found in ordinary words.
const minScrubbed = 6

// sentTokens are the leases whose tokens the upstream has seen in a request: one,
// or two where the request was sent again.
type sentTokens [2]*realm.Lease

// scrubHeader masks the token wherever the answer's header, or its trailer,
// quotes it: a Location back to the request's own URL, a Link, an error text. A
// field whose name quotes it is dropped. For the body see scrubBody.
func scrubHeader(h http.Header, tokens sentTokens) {
	var array [4]string
	secrets, shortest := appendSecrets(array[:0], tokens)
	if len(secrets) == 0 {
		return
	}
	var memory [len(array) * int(endOfForms)]probe
	var probes []probe // made when a text is long enough to hold a secret
	for name, values := range h {
		for i, v := range values {
			if len(v) < shortest {
				continue
			}
			if probes == nil {
				probes = appendProbes(memory[:0], secrets)
			}
			if matches(v, probes) {
				values[i], _ = mask(v, secrets)
			}
		}
		if len(name) < shortest {
			continue
		}
		if probes == nil {
			probes = appendProbes(memory[:0], secrets)
		}
		if matches(name, probes) {
			if _, found := mask(name, secrets); found {
				delete(h, name)
			}
		}
	}
}

// quotes reports whether the text holds a token in any of its forms.
func quotes(text string, tokens sentTokens) bool {
	secrets, _ := appendSecrets(nil, tokens)
	_, found := mask(text, secrets)
	return found
}

// appendSecrets appends what is looked for: the tokens, and each injected value
// that does not hold the token in clear (Basic credentials, for example). The scheme
// in front of a value is not looked for: it is no secret, and an upstream that
// quotes the value may leave it out. No form of a secret is shorter than the secret,
// so that nothing shorter than the shortest one need be looked at.
func appendSecrets(secrets []string, tokens sentTokens) (_ []string, shortest int) {
	add := func(secret string) {
		if len(secret) >= minScrubbed {
			secrets = append(secrets, secret)
			if shortest == 0 || len(secret) < shortest {
				shortest = len(secret)
			}
		}
	}
	for _, lease := range tokens {
		if lease == nil {
			continue
		}
		token := lease.Access.Reveal()
		add(token)
		for i, value := range lease.Values {
			if target := lease.Target; target != nil && target.Inject[i].Public {
				continue
			}
			if token == "" || !strings.Contains(value, token) {
				add(value[strings.LastIndexByte(value, ' ')+1:])
			}
		}
	}
	return secrets, shortest
}

// form is a way to write a secret. Percent-encoding is none: it is undone in the
// text.
type form int

const (
	plain form = iota
	hexadecimal
	// What stands in front of the secret decides at which of three offsets it lies
	// in base64.
	base64At0
	base64At1
	base64At2
	endOfForms
)

// fold makes equal the characters that do not tell forms apart: letters of either
// case (net/http changes that of field names, and digits of hex have one or the
// other), the two alphabets of base64, and "+" and the blank that it stands for in a
// query. The result is the same for few texts that differ, and it is better to mask
// one of these than to miss a secret.
var fold = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '+', c == '-':
			c = ' '
		case c == '_':
			c = '/'
		}
		table[i] = c
	}
	return table
}()

// text returns the secret in a form. Of base64 only those characters are returned
// that no neighbour of the secret decides about.
func (f form) text(secret string) []byte {
	switch f {
	case plain:
		return []byte(secret)
	case hexadecimal:
		return hex.AppendEncode(nil, []byte(secret))
	case base64At0, base64At1, base64At2, endOfForms:
	}
	offset := int(f - base64At0)
	stream := append(make([]byte, offset, offset+len(secret)), secret...)
	text := base64.RawStdEncoding.AppendEncode(nil, stream)
	return text[firstWhole(offset) : len(stream)*8/6]
}

// folded returns the secret in a form, folded.
func (f form) folded(secret string) []byte {
	text := f.text(secret)
	for i, c := range text {
		text[i] = fold[c]
	}
	return text
}

// firstWhole is the first character of base64 that nothing in front of offset
// decides about.
func firstWhole(offset int) int { return (offset*8 + 5) / 6 }

// probe is the end of a form: up to eight bytes, the last one lowest. The end,
// since tokens of one provider often begin alike. It is quick to look for, and
// costs no memory.
type probe struct{ want, mask uint64 }

// appendProbes appends the probes of all forms of the secrets.
func appendProbes(probes []probe, secrets []string) []probe {
	for _, s := range secrets {
		for f := range endOfForms {
			probes = append(probes, f.probe(s))
		}
	}
	return probes
}

// probe is the probe of what folded returns, without writing all of it.
func (f form) probe(secret string) probe {
	var array [16]byte
	end := array[:]
	switch f {
	case plain:
		end = append(end[:0], secret[max(0, len(secret)-8):]...)
	case hexadecimal:
		end = hex.AppendEncode(end[:0], []byte(secret[len(secret)-4:]))
	case base64At0, base64At1, base64At2, endOfForms:
		// The last seven bytes or more, from where base64 begins a new group.
		offset := int(f - base64At0)
		size := offset + len(secret)
		begin := max(0, (size-7)/3*3)
		var stream [10]byte
		n := copy(stream[max(0, offset-begin):], secret[max(0, begin-offset):]) + max(0, offset-begin)
		base64.RawStdEncoding.Encode(end, stream[:n])
		end = end[:n*8/6]
		if begin < offset {
			end = end[firstWhole(offset):]
		}
		end = end[max(0, len(end)-8):]
	}
	var p probe
	for _, c := range end {
		p.want, p.mask = p.want<<8|uint64(fold[c]), p.mask<<8|0xff
	}
	return p
}

// matches reports whether a text may hold a secret. It reads the text as it is,
// and with its escapes undone.
func matches(text string, probes []probe) bool {
	return matchesIn(reader{text: text}, probes) ||
		strings.IndexByte(text, '%') >= 0 && matchesIn(reader{text: text, unescape: true}, probes)
}

func matchesIn(r reader, probes []probe) bool {
	window := uint64(0)
	for r.next() {
		window = window<<8 | uint64(r.char)
		for i := range probes {
			if window&probes[i].mask == probes[i].want {
				return true
			}
		}
	}
	return false
}

// reader reads a text character by character, folded.
type reader struct {
	text     string
	unescape bool
	begin    int  // where char begins in text
	end      int  // where char ends in text
	char     byte // what was read last
}

// next reads the next character; false at the end. An escape is %XX, or %25XX and
// so on, where an encoded URL stands in another one.
func (r *reader) next() bool {
	if r.end == len(r.text) {
		return false
	}
	r.begin = r.end
	r.end++
	r.char = fold[r.text[r.begin]]
	if !r.unescape || r.char != '%' {
		return true
	}
	at := r.end
	for strings.HasPrefix(r.text[at:], "25") {
		at += 2
	}
	if high, low, ok := hexPair(r.text[at:]); ok {
		r.char, at = fold[high<<4|low], at+2
	}
	r.end = at
	return true
}

// mask replaces every occurrence of the secrets, in any form, and reports whether
// there was one. realm.Mask consists of characters that may stand in a query and in
// a header as they are. The time is linear in the text: an upstream chooses both the
// text and its own token, so that it could make any other search a slow one.
func mask(text string, secrets []string) (string, bool) {
	var needles []needle
	for _, s := range secrets {
		for f := range endOfForms {
			needles = append(needles, needleOf(f.folded(s)))
		}
		if strings.IndexByte(s, '%') >= 0 { // the text has its escapes undone, too
			r := reader{text: s, unescape: true}
			var undone []byte
			for r.next() {
				undone = append(undone, r.char)
			}
			needles = append(needles, needleOf(undone))
		}
	}
	var found []span
	for _, unescape := range [...]bool{false, true} {
		if unescape && strings.IndexByte(text, '%') < 0 {
			continue
		}
		for _, n := range needles {
			found = n.find(found, text, unescape)
		}
	}
	if len(found) == 0 {
		return text, false
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
	var b strings.Builder
	kept := int64(0)
	for i := 0; i < len(found); {
		s := found[i]
		for i++; i < len(found) && found[i].begin <= s.end; i++ {
			s.end = max(s.end, found[i].end)
		}
		b.WriteString(text[kept:s.begin])
		b.WriteString(realm.Mask)
		kept = s.end
	}
	b.WriteString(text[kept:])
	return b.String(), true
}

// span is a piece of a text or of a body.
type span struct{ begin, end int64 }

// needle is a form of a secret, prepared for the search by Knuth, Morris and
// Pratt: border[i] is the length of the longest proper prefix of text[:i+1] that is
// its suffix, too.
type needle struct {
	text   []byte
	border []int
}

func needleOf(text []byte) needle {
	n := needle{text, make([]int, len(text))}
	for i, matched := 1, 0; i < len(text); i++ {
		matched = n.advance(matched, text[i])
		n.border[i] = matched
	}
	return n
}

// advance returns how much of the needle matches once another character was read.
func (n needle) advance(matched int, c byte) int {
	for matched > 0 && (matched == len(n.text) || n.text[matched] != c) {
		matched = n.border[matched-1]
	}
	if n.text[matched] == c {
		matched++
	}
	return matched
}

// find appends where the needle occurs in a text. Occurrences that overlap become
// one.
func (n needle) find(found []span, text string, unescape bool) []span {
	first := len(found)
	// A character may be several bytes of the text, so that where an occurrence
	// begins has to be kept for as many characters as the needle has.
	begins := make([]int, len(n.text))
	r := reader{text: text, unescape: unescape}
	for i, matched := 0, 0; r.next(); i++ {
		begins[i%len(begins)] = r.begin
		if matched = n.advance(matched, r.char); matched < len(n.text) {
			continue
		}
		s := span{int64(begins[(i+1)%len(begins)]), int64(r.end)}
		if last := len(found) - 1; last >= first && found[last].end >= s.begin {
			found[last].end = s.end
		} else {
			found = append(found, s)
		}
	}
	return found
}
