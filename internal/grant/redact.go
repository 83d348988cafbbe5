package grant

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// maxWords is how much of a provider's words is kept, in characters.
	maxWords = 200
	// maxRead is how much of them is read, in bytes. It is more than is kept,
	// because a value that begins in what is kept must be seen to its end.
	maxRead = 8 << 10
	// minRedacted is the length from which on a value is looked for: a password
	// may be short; what is shorter would garble every message.
	minRedacted = 4
	// maxNeedle is how much of a long value is looked for. All words behind it
	// are then taken for the rest of the value.
	maxNeedle = 128
	// maxRounds is how often words are masked. What still shows a value after
	// that shows it in a way that the mask itself completes.
	maxRounds = 4
)

// redactor removes confidential values from what a provider said. Many
// providers quote the request in their errors, and errors go to logs, to callers
// and to the admin.
type redactor struct{ needles []needle }

// needle is a confidential value as it is looked for.
type needle struct {
	// plain is the value itself, and folded what is left of it after fold;
	// empty where that is too short to be looked for.
	plain, folded []byte
	// open: the value is longer than what is looked for.
	open bool
}

// newRedactor looks for the values in every form that newSearch reads.
func newRedactor(confidential []string) *redactor {
	r := new(redactor)
	confidential = slices.Clone(confidential)
	slices.Sort(confidential)
	for _, value := range slices.Compact(confidential) {
		if len(value) >= minRedacted {
			r.needles = append(r.needles, newNeedle(value))
		}
	}
	return r
}

func newNeedle(value string) needle {
	n := needle{plain: []byte(value)}
	if len(n.plain) > maxNeedle {
		n.plain, n.open = n.plain[:maxNeedle], true
	}
	if folded := fold(newView(value)).text; len(folded) >= minRedacted {
		n.folded = folded
	}
	if len(n.folded) > maxNeedle {
		n.folded, n.open = n.folded[:maxNeedle], true
	}
	return n
}

// least is how many bytes a text must have that shows the value.
func (n *needle) least() int {
	if n.folded != nil {
		return min(len(n.plain), len(n.folded))
	}
	return minRedacted
}

// text makes a provider's words fit to be shown: redacted, on one line, at
// most maxWords characters.
//
// The words are made plain first and masked afterwards: a character that is
// not seen would otherwise hide a value from the mask and vanish behind it.
// What was masked is searched once more, and where it still shows a value, or
// where the search has no end, nothing of the words is shown.
func (r *redactor) text(s string) string {
	s = plainWords(s)
	for range maxRounds {
		search := newSearch(r.needles, s)
		search.explore(newView(s))
		switch {
		case search.exhausted:
			return realm.Mask
		case !search.found:
			return shorten(s)
		}
		s = search.masked()
	}
	return realm.Mask
}

// plainWords is the text on one line, without the characters that nobody sees.
func plainWords(s string) string {
	s = s[:min(len(s), maxRead)]
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !isVisible(c) && !isMark(c):
			return -1
		}
		return c
	}, s))
}

func shorten(s string) string {
	if runes := []rune(s); len(runes) > maxWords {
		return string(runes[:maxWords-1]) + "…"
	}
	return s
}

// isVisible reports whether a character takes room by itself.
func isVisible(c rune) bool {
	switch {
	case c <= unicode.MaxASCII:
		return c > ' ' && c != 0x7f
	case c == unicode.ReplacementChar, c == '\u2800', isIgnorable(c): // a blank of Braille
		return false
	}
	return unicode.In(c, unicode.L, unicode.N, unicode.P, unicode.S)
}

// isMark reports whether a character stands on the one before it and is seen
// there: an accent, and no selector of a variant.
func isMark(c rune) bool { return unicode.Is(unicode.M, c) && !isIgnorable(c) }

// isIgnorable are letters, marks and numbers that are not shown (Unicode's
// Default_Ignorable_Code_Point, but for those of the category Cf).
func isIgnorable(c rune) bool {
	return unicode.In(c, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || c == '\u034f' || c == '\u115f' || c == '\u1160'
}

// fold makes all spellings of a text alike: without blanks, marks and what is
// not seen, in one case, and with the plain letter in place of a wide or
// ornamental one (Unicode's form NFKD). A "+" is left out like a blank, for
// which it stands in forms.
func fold(v view) view {
	folded := view{text: make([]byte, 0, len(v.text)), from: make([]int, 0, len(v.text)), to: make([]int, 0, len(v.text))}
	var size int
	for i := 0; i < len(v.text); i += size {
		var c rune
		if c, size = utf8.DecodeRune(v.text[i:]); c == utf8.RuneError {
			continue
		}
		from, to := v.from[i], v.to[i+size-1]
		if c <= unicode.MaxASCII {
			if c != '+' && isVisible(c) {
				folded.append([]byte{byte(unicode.ToLower(c))}, from, to)
			}
			continue
		}
		for _, part := range norm.NFKD.String(string(c)) {
			if isVisible(part) && part != '+' {
				folded.append([]byte(string(foldCase(part))), from, to)
			}
		}
	}
	return folded
}

// foldCase is the same character for all cases of a letter: the lowest of
// those that Unicode takes for one, in lower case. A long s is an s.
func foldCase(c rune) rune {
	lowest := c
	for other := unicode.SimpleFold(c); other != c; other = unicode.SimpleFold(other) {
		lowest = min(lowest, other)
	}
	return unicode.ToLower(lowest)
}

// find calls found with each range of the view that shows the value.
func (n *needle) find(plain, folded view, found func(from, to int)) {
	findAll(plain, n.plain, found)
	findAll(folded, n.folded, found)
}

func findAll(v view, part []byte, found func(from, to int)) {
	if len(part) == 0 {
		return
	}
	for at := 0; ; at++ {
		i := bytes.Index(v.text[at:], part)
		if i < 0 {
			return
		}
		at += i
		found(v.from[at], v.to[at+len(part)-1])
	}
}
