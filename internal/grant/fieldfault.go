package grant

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// FieldFault is a field of a secret whose value looks mistyped. It has the name
// alone: no part of the value, nor its length.
type FieldFault struct {
	Name  string    `json:"name"`
	Fault ValueFace `json:"fault"`
	// Other is the field that has the same value.
	Other string `json:"other,omitempty"`
}

// ValueFace is what is odd about a value.
type ValueFace string

// What is odd about a value.
const (
	FaceBlank       ValueFace = "blank"       // white space in front or behind, seen or not
	FaceLineBreak   ValueFace = "line_break"  // in a value that is no PEM
	FaceQuoted      ValueFace = "quoted"      // in quotation marks
	FacePlaceholder ValueFace = "placeholder" // {env.X} or ${X}, which nobody filled in
	FacePEMFlat     ValueFace = "pem_flat"    // PEM on one line
	FacePEMEscaped  ValueFace = "pem_escaped" // PEM with \n in place of line breaks
	FaceSame        ValueFace = "same"        // the value of another field
	FaceID          ValueFace = "id"          // an app's id in place of its secret
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
		if face := faceOf(name, value); face != "" {
			list = append(list, FieldFault{Name: name, Fault: face})
		}
	}
	const shortest = 12 // shorter values may well be equal
	byValue := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		value := secret[name].Reveal()
		if other, ok := byValue[value]; ok && len(value) >= shortest {
			list = append(list, FieldFault{name, FaceSame, other})
		}
		byValue[value] = name
	}
	return list
}

// faceOf is what is odd about one value; "" for nothing.
func faceOf(name, value string) ValueFace {
	isPEM := strings.Contains(value, "-----BEGIN ")
	trimmed := strings.TrimFunc(value, func(c rune) bool { return unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) })
	switch {
	case blank(value):
		return ""
	case isPEM && strings.Contains(value, `\n`):
		return FacePEMEscaped
	case isPEM && !strings.ContainsAny(trimmed, "\r\n"):
		return FacePEMFlat
	case isPEM:
		return ""
	case strings.ContainsAny(value, "\r\n"):
		return FaceLineBreak
	case trimmed != value:
		return FaceBlank
	case len(value) > 2 && strings.ContainsRune(`"'`+"`", rune(value[0])) && value[0] == value[len(value)-1]:
		return FaceQuoted
	case strings.HasPrefix(value, "{env.") || strings.HasPrefix(value, "{$") || strings.HasPrefix(value, "${"):
		return FacePlaceholder
	case isSecretName(name) && appID.MatchString(value):
		return FaceID
	}
	return ""
}

// isSecretName reports whether a field is a password by its name. The names that
// the earlier service gave (key_1, key_2) do not tell.
func isSecretName(name string) bool {
	plain := plainName(name)
	return strings.Contains(plain, "secret") || strings.Contains(plain, "password")
}
