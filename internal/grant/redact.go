package grant

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// maxWords is how much of a provider's words is kept, in characters.
	maxWords = 200
	// minRedacted is the length from which on a value is looked for: a password
	// may be short; what is shorter would garble every message.
	minRedacted = 4
)

// redactor removes confidential values from what a provider said. Many
// providers quote the request in their errors, and errors go to logs, to callers
// and to the admin.
type redactor struct{ replacer *strings.Replacer }

// newRedactor looks for the values as they are and in the encodings in which
// a provider may quote them.
func newRedactor(confidential []string) *redactor {
	var forms []string
	for _, value := range confidential {
		if len(value) >= minRedacted {
			forms = append(forms, encodings(value)...)
		}
	}
	// Longer ones first: one value may be a part of another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range slices.Compact(forms) {
		pairs = append(pairs, form, realm.Mask)
	}
	return &redactor{strings.NewReplacer(pairs...)}
}

// encodings are the forms in which a provider may quote a value: escaped for a
// URL, for JSON, or in base64.
func encodings(value string) []string {
	quoted, _ := json.Marshal(value)
	return []string{
		value,
		url.QueryEscape(value), queryEscape(value), url.PathEscape(value),
		string(quoted[1 : len(quoted)-1]),
		base64.StdEncoding.EncodeToString([]byte(value)),
		base64.RawStdEncoding.EncodeToString([]byte(value)),
		base64.URLEncoding.EncodeToString([]byte(value)),
		base64.RawURLEncoding.EncodeToString([]byte(value)),
	}
}

// text makes a provider's words fit to be shown: redacted, on one line, at
// most maxWords characters.
func (r *redactor) text(s string) string {
	s = r.replacer.Replace(s)
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			return ' '
		case unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar:
			return -1
		}
		return c
	}, s)
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > maxWords {
		return string(runes[:maxWords-1]) + "…"
	}
	return s
}
