package doctor

import (
	"fmt"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
)

// fieldTexts say what is odd about a field, behind its name.
var fieldTexts = map[grant.Mistake]struct{ code, text string }{
	grant.MistakeBlank:       {"blank_in_field", "begins or ends with a blank, or with a character that nobody sees. Enter it again without."},
	grant.MistakeLineBreak:   {"line_break_in_field", "has a line break, at its end as a rule: files and `echo` add one. Enter it again without."},
	grant.MistakeQuoted:      {"quoted_field", "stands in quotation marks, which are sent with it. Enter it again without."},
	grant.MistakePlaceholder: {"unfilled_field", "is a placeholder that nobody filled in. Placeholders are filled in only in the Caddyfile."},
	grant.MistakePEMFlat:     {"pem_flat", "is a PEM on one line. Its line breaks got lost: enter the key as it stands in its file."},
	grant.MistakePEMEscaped:  {"pem_escaped", "is a PEM with `\\n` in two characters where line breaks belong. Enter the key as it stands in its file."},
	grant.MistakeID:          {"id_in_secret", "looks like the id of an app, and not like its secret. Were the two mixed up?"},
}

// lookAtFields names the fields that look mistyped. Where there is a token, they
// are what the provider wants.
func (f *findings) lookAtFields() {
	if f.Report.Token != nil {
		return
	}
	for _, field := range f.Report.Fields {
		if field.Fault == grant.MistakeSame {
			f.add("same_value", fmt.Sprintf("The fields %s and %s have the same value. Is one of them the other's?", field.Other, field.Name))
			continue
		}
		known := fieldTexts[field.Fault]
		f.add(known.code, "The field ", field.Name, " ", known.text)
	}
}
