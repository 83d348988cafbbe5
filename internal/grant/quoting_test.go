package grant

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"mime/quotedprintable"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// encoders are what a provider may do to a value before it quotes it.
var encoders = map[string]func(s string, random *rand.Rand) string{
	"raw":            func(s string, _ *rand.Rand) string { return s },
	"upper case":     func(s string, _ *rand.Rand) string { return strings.ToUpper(s) },
	"lower case":     func(s string, _ *rand.Rand) string { return strings.ToLower(s) },
	"form":           func(s string, _ *rand.Rand) string { return url.QueryEscape(s) },
	"path":           func(s string, _ *rand.Rand) string { return url.PathEscape(s) },
	"percent":        func(s string, _ *rand.Rand) string { return eachByte(s, "%%%02X") },
	"small percent":  func(s string, _ *rand.Rand) string { return eachByte(s, "%%%02x") },
	"percent twice":  func(s string, _ *rand.Rand) string { return strings.ReplaceAll(eachByte(s, "%%%02x"), "%", "%25") },
	"JSON":           func(s string, _ *rand.Rand) string { return inJSON(s) },
	"JSON \\u":       func(s string, _ *rand.Rand) string { return unitsInJSON(s) },
	"JSON \\u twice": func(s string, _ *rand.Rand) string { return inJSON(unitsInJSON(s)) },
	"\\x":            func(s string, _ *rand.Rand) string { return eachByte(s, `\x%02x`) },
	"HTML":           func(s string, _ *rand.Rand) string { return html.EscapeString(s) },
	"HTML numbers":   func(s string, _ *rand.Rand) string { return eachRune(s, "&#%d;") },
	"HTML hex":       func(s string, _ *rand.Rand) string { return eachRune(s, "&#x%X;") },
	"hex":            func(s string, _ *rand.Rand) string { return hex.EncodeToString([]byte(s)) },
	"capital hex":    func(s string, _ *rand.Rand) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"hex dump":       func(s string, _ *rand.Rand) string { return strings.TrimSpace(eachByte(s, "%02x ")) },
	"base64":         func(s string, _ *rand.Rand) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 for URLs": func(s string, _ *rand.Rand) string {
		return base64.RawURLEncoding.EncodeToString([]byte(s))
	},
	"base64 at 1":      func(s string, _ *rand.Rand) string { return base64.StdEncoding.EncodeToString([]byte(":" + s + ":x")) },
	"base64 at 2":      func(s string, _ *rand.Rand) string { return base64.StdEncoding.EncodeToString([]byte("u:" + s)) },
	"base64 of UTF-16": func(s string, _ *rand.Rand) string { return base64.StdEncoding.EncodeToString(inUTF16(s, 0, 8)) },
	"base64 of wide":   func(s string, _ *rand.Rand) string { return base64.RawStdEncoding.EncodeToString(inUTF16(s, 8, 0)) },
	"base32":           func(s string, _ *rand.Rand) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"quoted-printable": func(s string, _ *rand.Rand) string { return inQuotedPrintable(s) },
	"line break":       func(s string, random *rand.Rand) string { return inserted(s, "\n", random) },
	"soft hyphen":      func(s string, random *rand.Rand) string { return inserted(s, "\u00ad", random) },
	"zero":             func(s string, random *rand.Rand) string { return inserted(s, "\x00", random) },
}

var encoderNames = slices.Sorted(maps.Keys(encoders))

func eachByte(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func eachRune(s, format string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func inJSON(s string) string {
	quoted, _ := json.Marshal(s)
	return string(quoted[1 : len(quoted)-1])
}

func unitsInJSON(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, `\u%04x`, unit)
	}
	return b.String()
}

func inUTF16(s string, first, second int) (wide []byte) {
	for _, unit := range utf16.Encode([]rune(s)) {
		wide = append(wide, byte(unit>>first), byte(unit>>second))
	}
	return wide
}

func inQuotedPrintable(s string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func inserted(s, what string, random *rand.Rand) string {
	runes := []rune(s)
	at := random.IntN(len(runes) + 1)
	return string(runes[:at]) + what + string(runes[at:])
}

// plainest is what two texts have in common that a reader takes for one.
func plainest(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.In(c, unicode.L, unicode.N, unicode.P, unicode.S) || c == '+' || c == unicode.ReplacementChar {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(c))
	}, norm.NFKD.String(s))
}

// The decoders of a reader: nothing of the code under test is in them.
var (
	percents  = regexp.MustCompile(`(%[0-9A-Fa-f]{2})+`)
	unicodes  = regexp.MustCompile(`(\\[uU][0-9A-Fa-f]{4})+`)
	bytesHex  = regexp.MustCompile(`(\\[xX][0-9A-Fa-f]{2})+`)
	escapes   = regexp.MustCompile(`\\[\\"/]`)
	equals    = regexp.MustCompile(`(=[0-9A-F]{2})+`)
	softBreak = regexp.MustCompile(`=\r?\n`)
	hexes     = regexp.MustCompile(`[0-9A-Fa-f]{8,}`)
	base64s   = regexp.MustCompile(`[A-Za-z0-9+/_-]{6,}`)
	base32s   = regexp.MustCompile(`[A-Z2-7]{8,}`)
)

// readings are the texts that a text can be decoded to in one step.
func readings(s string) []string {
	list := []string{
		strings.Map(func(c rune) rune {
			if unicode.IsSpace(c) || c == 0 || c == '\u00ad' || c == unicode.ReplacementChar {
				return -1
			}
			return c
		}, s),
		percents.ReplaceAllStringFunc(s, func(m string) string { u, _ := url.PathUnescape(m); return u }),
		unicodes.ReplaceAllStringFunc(s, func(m string) string {
			var u string
			_ = json.Unmarshal([]byte(`"`+strings.ToLower(m)+`"`), &u)
			return u
		}),
		bytesHex.ReplaceAllStringFunc(s, func(m string) string { u, _ := strconv.Unquote(`"` + strings.ToLower(m) + `"`); return u }),
		escapes.ReplaceAllStringFunc(s, func(m string) string { return m[1:] }),
		html.UnescapeString(s),
		equals.ReplaceAllStringFunc(softBreak.ReplaceAllString(s, ""), func(m string) string {
			u, _ := hex.DecodeString(strings.ReplaceAll(m, "=", ""))
			return string(u)
		}),
	}
	for offset := range 2 {
		list = append(list, hexes.ReplaceAllStringFunc(s, func(m string) string {
			m = m[offset:]
			u, _ := hex.DecodeString(m[:len(m)&^1])
			return string(u)
		}))
	}
	for offset := range 4 {
		decoded := base64s.ReplaceAllStringFunc(s, func(m string) string {
			m = strings.NewReplacer("-", "+", "_", "/").Replace(m)[offset:]
			if len(m)%4 == 1 {
				m = m[:len(m)-1]
			}
			u, _ := base64.RawStdEncoding.DecodeString(m)
			return string(u)
		})
		list = append(list, decoded)
		for _, skip := range []int{0, 1} {
			list = append(list, readUTF16(decoded, skip, 0, 8), readUTF16(decoded, skip, 8, 0))
		}
	}
	list = append(list, base32s.ReplaceAllStringFunc(s, func(m string) string {
		u, _ := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(m[:len(m)&^7])
		return string(u)
	}))
	return list
}

func readUTF16(s string, skip, first, second int) string {
	var units []uint16
	for b := []byte(s)[min(skip, len(s)):]; len(b) > 1; b = b[2:] {
		units = append(units, uint16(b[0])<<first|uint16(b[1])<<second)
	}
	return string(utf16.Decode(units))
}

// disclosed returns the reading of a text that shows the secret; "" for none.
// It decodes three times.
func disclosed(text, secret string) string {
	seen := map[string]bool{text: true}
	level := []string{text}
	for range 4 {
		var next []string
		for _, s := range level {
			if strings.Contains(plainest(s), plainest(secret)) {
				return s
			}
			for _, reading := range readings(s) {
				if !seen[reading] {
					seen[reading] = true
					next = append(next, reading)
				}
			}
		}
		level = next
	}
	return ""
}
