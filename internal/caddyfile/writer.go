package caddyfile

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// writer collects lines. After the first error it does nothing: the error is
// looked at once, in the end.
type writer struct {
	out     []byte
	nesting int
	err     error
}

func (w *writer) indent() string { return strings.Repeat("\t", w.nesting) }

// refuse keeps the first reason why the realm cannot be written.
func (w *writer) refuse(field, format string, args ...any) {
	if w.err == nil {
		w.err = realm.Fieldf(field, format, args...)
	}
}

// word is one text of a line. field is its path, for the error.
type word struct {
	field, text string
	// isResolved: the module fills in {env.X} and {file.X} in it.
	isResolved bool
}

// plain makes words that are ours, and need no quotes.
func plain(texts ...string) []word {
	words := make([]word, len(texts))
	for i, text := range texts {
		words[i] = word{text: text}
	}
	return words
}

// of makes a word of a field of the config.
func of(field, text string) word { return word{field: field, text: text, isResolved: true} }

// line writes a line.
func (w *writer) line(words ...word) {
	w.begin(words)
	w.out = append(w.out, '\n')
}

// begin writes the words of a line that may go on.
func (w *writer) begin(words []word) {
	for i, word := range words {
		if i == 0 {
			w.out = append(w.out, w.indent()...)
		} else {
			w.out = append(w.out, ' ')
		}
		if word.isResolved {
			if err := checkResolved(word.text); err != nil {
				w.refuse(word.field, "%s", err)
			}
		}
		text, err := token(word.text, w.indent()+"\t")
		if err != nil {
			w.refuse(word.field, "%s", err)
		}
		w.out = append(w.out, text...)
	}
}

// block writes a line and the block that it opens, if body writes anything.
func (w *writer) block(words []word, body func()) {
	w.begin(words)
	start := len(w.out)
	w.out = append(w.out, " {\n"...)
	opened := len(w.out)
	w.nesting++
	body()
	w.nesting--
	if len(w.out) == opened {
		w.out = append(w.out[:start], '\n')
		return
	}
	w.out = append(w.out, w.indent()+"}\n"...)
}

// text writes an option with one argument, unless it is empty.
func (w *writer) text(path, name, value string) {
	if value != "" {
		w.line(word{text: name}, of(path+name, value))
	}
}

// list writes an option with several arguments, unless there is none.
func (w *writer) list(path, name string, values []string) {
	if len(values) == 0 {
		return
	}
	words := plain(name)
	for _, value := range values {
		words = append(words, of(path+name, value))
	}
	w.line(words...)
}

// switched writes an option of which something is said.
func (w *writer) switched(name string, s realm.Switch) {
	switch s {
	case realm.On:
		w.line(plain(name)...)
	case realm.Off:
		w.line(plain(name, "off")...)
	case realm.Unsaid:
	}
}

// flag writes an option that is on.
func (w *writer) flag(name string, isOn bool) {
	if isOn {
		w.line(plain(name)...)
	}
}
