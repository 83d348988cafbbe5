package grant

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// FieldFault is a field of a secret whose value looks mistyped, or that is missing. It has the name
// alone: no part of the value, nor its length.
type FieldFault struct {
	Name  string  `json:"name"`
	Fault Mistake `json:"fault"`
	// Other is the field that has the same value.
	Other string `json:"other,omitempty"`
}

// Mistake is what was probably done wrong when a value was entered.
type Mistake string

// What is often done wrong.
const (
	MistakeBlank       Mistake = "blank"       // white space in front or behind, seen or not
	MistakeLineBreak   Mistake = "line_break"  // in a value that is no PEM
	MistakeQuoted      Mistake = "quoted"      // in quotation marks
	MistakePlaceholder Mistake = "placeholder" // {env.X} or ${X}, which nobody filled in
	MistakePEMFlat     Mistake = "pem_flat"    // PEM on one line
	MistakePEMEscaped  Mistake = "pem_escaped" // PEM with \n in place of line breaks
	MistakeSame        Mistake = "same"        // the value of another field
	MistakeID          Mistake = "id"          // an app's id in place of its secret
	MistakeMissing     Mistake = "missing"     // the realm needs it
	MistakeUnread      Mistake = "unread"      // beside a missing one: nothing in the realm reads it
)

// appID is how the ids of apps look with providers whose secrets never do: WeChat,
// WeCom, DingTalk, Feishu, Douyin.
var appID = regexp.MustCompile(`^(wx[0-9a-f]{16}|ww[0-9a-f]{16}|ding[0-9a-z]{16}|cli_[0-9a-z]{16}|tt[0-9a-f]{16,18})$`)

// FieldFaults are the fields of the secret that look mistyped, by name. A provider
// that gets such a value says only that it is wrong.
func (b *Bound) FieldFaults() []FieldFault {
	secret := b.values.secret
	var list []FieldFault
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		value := secret[name].Reveal()
		if mistake := mistakeIn(name, value); mistake != "" {
			list = append(list, FieldFault{Name: name, Fault: mistake})
		}
	}
	const shortest = 12 // shorter values may well be equal
	byValue := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		value := secret[name].Reveal()
		if other, ok := byValue[value]; ok && len(value) >= shortest {
			list = append(list, FieldFault{name, MistakeSame, other})
		}
		byValue[value] = name
	}
	return list
}

// MissingFaults are the fields that the secret lacks, with those that may be misspelt
// in their place, by name; nil if it lacks none.
func (p *Program) MissingFaults(s realm.Secret) []FieldFault {
	var list []FieldFault
	for _, name := range p.MissingFields(s) {
		list = append(list, FieldFault{Name: name, Fault: MistakeMissing})
	}
	if list == nil {
		return nil
	}
	for _, name := range p.UnreadFields(s) {
		list = append(list, FieldFault{Name: name, Fault: MistakeUnread})
	}
	return list
}

// mistakeIn is what is odd about one value; "" for nothing.
func mistakeIn(name, value string) Mistake {
	isPEM := strings.Contains(value, "-----BEGIN ")
	trimmed := strings.TrimFunc(value, func(c rune) bool { return unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) })
	switch {
	case blank(value):
		return ""
	case isPEM && strings.Contains(value, `\n`):
		return MistakePEMEscaped
	case isPEM && !strings.ContainsAny(trimmed, "\r\n"):
		return MistakePEMFlat
	case isPEM:
		return ""
	case strings.ContainsAny(value, "\r\n"):
		return MistakeLineBreak
	case trimmed != value:
		return MistakeBlank
	case len(value) > 2 && strings.ContainsRune(`"'`+"`", rune(value[0])) && value[0] == value[len(value)-1]:
		return MistakeQuoted
	case strings.HasPrefix(value, "{env.") || strings.HasPrefix(value, "{$") || strings.HasPrefix(value, "${"):
		return MistakePlaceholder
	case isSecretName(name) && appID.MatchString(value):
		return MistakeID
	}
	return ""
}

// isSecretName reports whether a field is a password by its name. The names that
// the earlier service gave (key_1, key_2) do not tell.
func isSecretName(name string) bool {
	plain := plainName(name)
	return strings.Contains(plain, "secret") || strings.Contains(plain, "password")
}
