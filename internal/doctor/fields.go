package doctor

import (
	"strings"

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
	f.adviseMissing()
	for _, field := range f.Report.Fields {
		if field.Fault == grant.MistakeMissing || field.Fault == grant.MistakeUnread {
			continue
		}
		if field.Fault == grant.MistakeSame {
			f.addCase("same_value", "", values{"name": field.Name, "other": field.Other},
				"The fields ", field.Other, " and ", field.Name, " have the same value. Is one of them the other's?")
			continue
		}
		known := fieldTexts[field.Fault]
		f.addCase(known.code, "", values{"name": field.Name}, "The field ", field.Name, " ", known.text)
	}
}

// adviseMissing names the fields that the secret lacks, and those that nothing reads:
// one may be the other, misspelt.
func (f *findings) adviseMissing() {
	if names := f.fieldsWith(grant.MistakeMissing); names != "" {
		f.addCase("missing_field", "", values{"names": names}, "The secret lacks what the realm needs: ", names, ". Enter it: POST /api/secret, or `caddy tokens secret set`.")
	}
	if names := f.fieldsWith(grant.MistakeUnread); names != "" {
		f.addCase("unread_field", "", values{"names": names}, "Nothing in the realm reads what the secret has: ", names, ". Is it misspelt?")
	}
}

// fieldsWith are the names of the fields with a fault, in one text.
func (f *findings) fieldsWith(fault grant.Mistake) string {
	var names []string
	for _, field := range f.Report.Fields {
		if field.Fault == fault {
			names = append(names, field.Name)
		}
	}
	return strings.Join(names, ", ")
}
