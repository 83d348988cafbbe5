// Package secretscan looks for secrets where others may read: in logs, answers,
// files and dumps, in whatever encoding they stand there.
package secretscan

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Planted is confidential to nobody. A test puts it into every place that it
// searches, to see that the search would find what is there.
const Planted = "planted7e3b"

// part is how much of a long secret counts as the secret: what shows a good deal
// of a random one leaves less to guess, and tells which one it is.
const part = 12

// surroundings is how much of a place is shown around what was found.
const surroundings = 200

// Finding is one secret that was found.
type Finding struct {
	// Encoding is how it stands there.
	Encoding string
	// Around is what stands around it.
	Around string
}

func (f Finding) String() string { return fmt.Sprintf("%s: ...%q", f.Encoding, f.Around) }

// form is a secret in one encoding.
type form struct {
	encoding, text string
	// isExact: capital and small letters are different digits.
	isExact bool
}

// Find returns the secrets that a place shows; nil for none. Each of them is
// found in every encoding, also in part if it is a long one, and also where
// characters that nobody sees stand inside it.
func Find(place string, secrets ...string) (found []Finding) {
	lower := lowerCase(place)
	variants := []struct{ name, exact, lower string }{
		{"", place, lower}, {", invisible characters inside", invisible.Replace(place), invisible.Replace(lower)},
	}
	for _, secret := range secrets {
		for _, f := range formsOf(secret) {
			for _, v := range variants {
				text, needle := v.lower, lowerCase(f.text)
				if f.isExact {
					text, needle = v.exact, f.text
				}
				if at := strings.Index(text, needle); at >= 0 {
					around := text[max(0, at-surroundings):min(len(text), at+len(needle)+surroundings)]
					found = append(found, Finding{f.encoding + v.name, around})
					break
				}
			}
		}
	}
	return found
}

// invisible removes what may stand inside a text without being seen there: line
// breaks, and what a provider, a terminal or an encoder of JSON adds or drops.
var invisible = strings.NewReplacer(
	"\x00", "", "\r", "", "\n", "", "\u200b", "", "\ufffd", "", "\u00ad", "",
	`\u0000`, "", `\r`, "", `\n`, "", `\u200b`, "", `\u200B`, "", `\ufffd`, "", `\uFFFD`, "", `\u00ad`, "", `\u00AD`, "",
)

// lowerCase changes ASCII letters alone. strings.ToLower would also replace what
// is not UTF-8, and the places have any bytes in them.
func lowerCase(text string) string {
	lower := []byte(text)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// formsOf is a secret, or the parts of a long one, in each encoding. Whatever shows
// two parts' length of it shows one of them whole.
func formsOf(secret string) (forms []form) {
	n := max(1, len(secret)/part)
	for i := range n {
		forms = append(forms, encodingsOf(secret[i*len(secret)/n:(i+1)*len(secret)/n])...)
	}
	return forms
}

// encodingsOf is a text in each encoding. Those that pack bytes into digits stand
// there once for each place that the text may have among other bytes, without
// the digits that it shares with its neighbours.
func encodingsOf(text string) []form {
	each := func(format string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	forms := []form{
		{encoding: "plain", text: text},
		{encoding: "percent", text: each("%%%02x")},
		{encoding: "percent twice", text: each("%%25%02x")},
		{encoding: "JSON", text: each(`\u%04x`)},
		{encoding: "JSON twice", text: each(`\\u%04x`)},
		{encoding: `\x`, text: each(`\x%02x`)},
		{encoding: "HTML", text: each("&#%d;")},
		{encoding: "HTML hex", text: each("&#x%x;")},
		{encoding: "hex", text: each("%02x")},
		{encoding: "hex dump", text: strings.TrimSpace(each("%02x "))},
		{encoding: "quoted-printable", text: each("=%02x")},
		{encoding: "bytes in decimal", text: strings.TrimSpace(each("%d "))},
		{encoding: "UTF-16", text: string(wide)},
		{encoding: "zero width", text: strings.Join(strings.Split(text, ""), "\u200b")},
	}
	for name, bytes := range map[string][]byte{"base64": []byte(text), "base64 of UTF-16": wide} {
		for shift := range 3 { // three bytes make four digits
			digits := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), bytes...))
			digits = digits[(8*shift+5)/6 : len(digits)-1]
			forms = append(forms, form{fmt.Sprint(name, " at ", shift), digits, true})
			if inURL := strings.NewReplacer("+", "-", "/", "_").Replace(digits); inURL != digits {
				forms = append(forms, form{fmt.Sprint(name, " for URLs at ", shift), inURL, true})
			}
		}
	}
	for shift := range 5 { // five bytes make eight digits
		digits := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append(make([]byte, shift), text...))
		forms = append(forms, form{fmt.Sprint("base32 at ", shift), digits[(8*shift+4)/5 : len(digits)-1], false})
	}
	return forms
}
