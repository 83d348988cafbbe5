package grant

import (
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// template is a parsed value: literal texts and names in turn. Names are found
// when a realm is compiled and never in what is filled in: a secret that holds
// "{token}" sends these seven characters.
type template []part

// part is a literal text, or a name that is filled in.
type part struct {
	text string // literal, where name is empty
	name string
	from source // what the name belongs to
	// parent is whose token it is (fromParent).
	parent realm.Ref
}

// source is what gives a name its value.
type source uint8

const (
	fromCall     source = iota // the call itself: one of the scope's names
	fromSecret                 // a field of the secret, or a shared one of the realm
	fromAnswer                 // a field of the token's answer, kept with the token
	fromCallback               // a parameter of the callback, kept with the token
	fromParent                 // the token of another credential
)

// isField reports whether the part is a field of the secret.
func (p part) isField() bool { return p.name != "" && p.from == fromSecret }

// isParent reports whether the part is the token of another credential.
func (p part) isParent() bool { return p.from == fromParent }

// isCallName reports whether the part is one of the scope's names.
func (p part) isCallName(name string) bool { return p.name == name && p.from == fromCall }

// literal appends text, joined to a literal before it. It changes t: what is
// compiled already must be cloned first.
func (t template) literal(text string) template {
	if text == "" {
		return t
	}
	if n := len(t); n > 0 && t[n-1].name == "" {
		t[n-1].text += text
		return t
	}
	return append(t, part{text: text})
}

// join appends another template.
func (t template) join(o template) template {
	for _, p := range o {
		if p.name == "" {
			t = t.literal(p.text)
		} else {
			t = append(t, p)
		}
	}
	return t
}

// constant returns the text of a template without names.
func (t template) constant() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].name == "":
		return t[0].text, true
	}
	return "", false
}

// is reports whether the template is exactly one of the scope's names.
func (t template) is(name string) bool {
	return len(t) == 1 && t[0].isCallName(name)
}

// holds reports whether one of the scope's names stands in the template.
func (t template) holds(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.isCallName(name) })
}

// cut splits the template at the first of the characters that stands in its
// literal text.
func (t template) cut(chars string) (before template, sep byte, after template) {
	for i, p := range t {
		if p.name != "" {
			continue
		}
		if at := strings.IndexAny(p.text, chars); at >= 0 {
			before = slices.Clone(t[:i]).literal(p.text[:at])
			after = template{}.literal(p.text[at+1:]).join(t[i+1:])
			return before, p.text[at], after
		}
	}
	return t, 0, nil
}

// fields appends the secret's fields that the template reads.
func (t template) fields(to []string) []string {
	for _, p := range t {
		if p.isField() {
			to = append(to, p.name)
		}
	}
	return to
}

// expand fills the names in. escape, where it is not nil, is applied to their
// values and not to the literal text. It stops where the values have no more
// room: whoever sends what it made must look at v.overflow.
func (t template) expand(v *values, escape func(string) string) string {
	if text, ok := t.constant(); ok {
		return text
	}
	var b strings.Builder
	for _, p := range t {
		text := p.text
		if p.name != "" {
			text = v.get(p)
		}
		if !v.mayWrite(len(text)) {
			break
		}
		if p.name != "" && escape != nil && !v.masked {
			escaped := escape(text)
			if !v.mayWrite(len(escaped) - len(text)) {
				break
			}
			text = escaped
		}
		b.WriteString(text)
	}
	return b.String()
}
