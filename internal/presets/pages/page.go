package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// files are all pages by their path in the repository.
func files() map[string]string {
	all := make(map[string]string)
	for _, l := range languages {
		all[path.Join(l.folder, index)] = l.index(presets.List())
		for _, p := range presets.List() {
			all[path.Join(l.folder, p.Name+".md")] = l.page(p)
		}
	}
	return all
}

// index is the page that lists the others.
const index = "README.md"

const generated = "<!-- Written by `go run ./internal/presets/pages`; change %s instead. -->\n\n"

// page is the page of a preset.
func (l language) page(p presets.Preset) string {
	var b strings.Builder
	fmt.Fprintf(&b, generated, "internal/presets/data/"+p.Name+".json")
	fmt.Fprintf(&b, "# %s\n\n", p.Title.In(l.code))
	fmt.Fprintf(&b, "`preset %s` · [%s](%s) · [%s](%s/%s.md)\n", p.Name, l.w.categories[p.Category], index, l.w.inOther, l.other, p.Name)
	l.writeSetUp(&b, p)
	l.writeFields(&b, p)
	l.writeToken(&b, p)
	if len(p.Errors) > 0 {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n|---|---|\n", l.w.errors, l.w.errorsIntro, l.w.errorsHeader)
		for _, e := range p.Errors {
			fmt.Fprintf(&b, "| `%s` | %s |\n", e.Code, e.Advice().In(l.code))
		}
	}
	if len(p.Unverified) > 0 {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", l.w.unverified, l.w.unverifiedIntro)
		for _, u := range p.Unverified {
			fmt.Fprintf(&b, "- %s\n", u.In(l.code))
		}
	}
	fmt.Fprintf(&b, "\n## %s\n\n", l.w.links)
	for _, page := range p.Docs {
		fmt.Fprintf(&b, "- <%s>\n", page)
	}
	return b.String()
}

// writeSetUp writes what to put into the Caddyfile, and a call to try it with.
func (l language) writeSetUp(b *strings.Builder, p presets.Preset) {
	fmt.Fprintf(b, "\n## %s\n\n", l.w.setUp)
	fmt.Fprintf(b, l.w.setUpTokens+"\n\n", l.docs)
	fmt.Fprintf(b, "```caddyfile tokens\n%s```\n\n", p.Caddyfile())
	l.writeTickets(b, p)
	if p.NeedsPerson() {
		fmt.Fprintf(b, l.w.setUpPerson+"\n\n```sh\n%s\n```\n\n", l.docs, p.AuthorizeCurl())
	}
	if p.HasInject() {
		fmt.Fprintf(b, l.w.setUpSite+"\n\n", l.docs, p.Name)
	} else {
		fmt.Fprintf(b, l.w.setUpRead+"\n\n", l.docs)
	}
	fmt.Fprintf(b, "```sh\n%s\n```\n", p.Curl())
}

// writeTickets writes how the fields arrive that the provider sends again and
// again, those of the parents first.
func (l language) writeTickets(b *strings.Builder, p presets.Preset) {
	for _, q := range append(p.Parents(), p) {
		for _, f := range q.Fields {
			switch line := q.TokenPush(); {
			case !f.Pushed:
			case line != "":
				fmt.Fprintf(b, l.w.setUpPushed+"\n\n```caddyfile site\n%[3]s```\n\n", l.docs, f.Name, line)
			default:
				fmt.Fprintf(b, l.w.setUpPush+"\n\n```sh\n%[3]s\n```\n\n", l.docs, f.Name, q.PushCurl(f.Name))
			}
		}
	}
}

// writeFields writes the table of the fields.
func (l language) writeFields(b *strings.Builder, p presets.Preset) {
	if len(p.Fields) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n|---|---|\n", l.w.fields, l.w.fieldsHeader)
	hasShared := strings.Contains(p.Caddyfile(), "\tshared {\n")
	for _, f := range p.Fields {
		remarks := []string{strings.TrimRight(f.Help.In(l.code), ".。") + l.w.stop}
		if f.Confidential {
			remarks = append(remarks, l.w.isConfidential)
		}
		if f.Shared && hasShared {
			remarks = append(remarks, l.w.isShared)
		}
		if f.Pushed {
			remarks = append(remarks, l.w.isPushed)
		}
		if f.Default != "" {
			remarks = append(remarks, fmt.Sprintf(l.w.defaultIs, f.Default))
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", f.Name, l.sentences(remarks))
	}
	if hasShared {
		fmt.Fprintf(b, "\n%s\n", l.w.fieldsShared)
	}
}

// sentences puts one behind the other.
func (l language) sentences(list []string) string {
	if l.code == "zh" {
		return strings.Join(list, "")
	}
	return strings.Join(list, " ")
}

// writeToken writes what is known of the token: from the config, and the notes.
func (l language) writeToken(b *strings.Builder, p presets.Preset) {
	fmt.Fprintf(b, "\n## %s\n\n", l.w.token)
	for _, sentence := range append(l.facts(p), p.Notes.In(l.code)...) {
		fmt.Fprintf(b, "- %s\n", sentence)
	}
}

// index lists the presets by category.
func (l language) index(list []presets.Preset) string {
	var b strings.Builder
	fmt.Fprintf(&b, generated, "internal/presets/data")
	fmt.Fprintf(&b, "# %s\n\n[%s](%s/%s)\n\n%s\n%s\n", l.w.indexTitle, l.w.inOther, l.other, index, l.w.indexIntro, l.w.indexHow)
	for _, category := range presets.Categories {
		var rows []string
		for _, p := range list {
			if p.Category == category {
				rows = append(rows, l.row(p))
			}
		}
		if len(rows) > 0 {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n|---|---|---|\n%s", l.w.categories[category], l.w.indexHeader, strings.Join(rows, ""))
		}
	}
	fmt.Fprintf(&b, "\n"+l.w.indexMissing+"\n", l.docs, l.docs)
	return b.String()
}

// row is the line of a preset in the index.
func (l language) row(p presets.Preset) string {
	var fields []string
	for _, f := range p.Fields {
		fields = append(fields, f.Name)
	}
	return fmt.Sprintf("| [`%s`](%s.md) | %s | %s |\n", p.Name, p.Name, p.Title.In(l.code), strings.Join(code(fields), ", "))
}
