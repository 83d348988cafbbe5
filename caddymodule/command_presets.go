package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

const presetsLong = `
Lists the catalogue: the providers whose realms ship with this program. With the
name of one, shows the fields that a secret needs, what to write into the
Caddyfile, what is known of the token, and what is not verified.

The catalogue is a part of the program. No instance has to run, and no API is
called: an instance of another version may have other presets, which
GET /api/preset lists.

Exit status: 0, or 1 if there is no preset of this name.
`

func presetsCommand() *cobra.Command {
	var f outputFlags
	cmd := &cobra.Command{
		Use:   "presets [name]",
		Short: "Lists the providers that ship with this program, or shows one",
		Long:  presetsLong,
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return presets.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return writePresets(f.of(cmd), presets.List())
			}
			p, err := presets.Get(args[0])
			if errors.Is(err, presets.ErrUnknown) {
				return fmt.Errorf("%q: %w%s; %s lists them", args[0], err, presets.Suggest(args[0]), executable.Command("presets"))
			}
			if err != nil {
				return err
			}
			return writePreset(f.of(cmd), p)
		},
	}
	f.AddFlags(cmd.Flags())
	return cmd
}

// writePresets writes a table, a line for each preset.
func writePresets(out output, list []presets.Preset) error {
	if out.json {
		return printJSON(out, list)
	}
	rows := make([][]cell, len(list))
	for i, p := range list {
		rows[i] = plain(p.Name, p.Title.En, p.Category)
	}
	return out.table([]string{"NAME", "PROVIDER", "CATEGORY"}, rows)
}

// writePreset writes what people need to know to use a preset.
func writePreset(out output, p presets.Preset) error {
	if out.json {
		return printJSON(out, p)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\npreset %s, category %s\n\nFields of a secret:\n", p.Title.En, p.Name, p.Category)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range p.Fields {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", f.Name, f.Help.En+fieldRemarks(f))
	}
	_ = table.Flush()
	fmt.Fprintf(&b, "\nFor the tokens block of the Caddyfile:\n\n%s\n", indented(p.Caddyfile()))
	writeTickets(&b, p)
	if p.NeedsPerson() {
		fmt.Fprintf(&b, "A person authorizes the account, with the link that this returns:\n\n  %s\n\n", p.AuthorizeCurl())
	}
	fmt.Fprintf(&b, "To try it:\n\n  %s\n", p.Curl())
	var unverified, errorLines []string
	for _, u := range p.Unverified {
		unverified = append(unverified, u.En)
	}
	for _, e := range p.Errors {
		errorLines = append(errorLines, e.Code+": "+e.En)
	}
	writeItems(&b, "Good to know", p.Notes.En)
	writeItems(&b, "Errors", errorLines)
	writeItems(&b, "Not verified", unverified)
	writeItems(&b, "The provider's pages", p.Docs)
	_, err := io.WriteString(out, b.String())
	return err
}

// writeTickets writes how the fields arrive that the provider sends again and
// again, those of the parents first.
func writeTickets(b *strings.Builder, p presets.Preset) {
	for _, parent := range p.Parents() {
		writeTickets(b, parent)
	}
	for _, f := range p.Fields {
		switch line := p.TokenPush(); {
		case !f.Pushed:
		case line != "":
			fmt.Fprintf(b, "The provider sends %s again and again. For a public site, at the URL that you register with the provider:\n\n%s\n", f.Name, indented(line))
		default:
			fmt.Fprintf(b, "The provider sends %s again and again. Whoever receives it brings it each time:\n\n  %s\n\n", f.Name, p.PushCurl(f.Name))
		}
	}
}

// fieldRemarks says in parentheses what a field is, beyond its help.
func fieldRemarks(f presets.Field) string {
	var remarks []string
	for _, r := range []struct {
		is   bool
		text string
	}{
		{f.Confidential, "confidential"},
		{f.Shared, "may stand in shared"},
		{f.Pushed, "arrives by push"},
		{f.Default != "", "default " + f.Default},
	} {
		if r.is {
			remarks = append(remarks, r.text)
		}
	}
	if len(remarks) == 0 {
		return ""
	}
	return " (" + strings.Join(remarks, ", ") + ")"
}

// writeItems writes a heading and its items, or nothing where there are none.
func writeItems(b *strings.Builder, heading string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", heading)
	for _, item := range items {
		fmt.Fprintf(b, "  - %s\n", item)
	}
}

// indented moves every line to the right, for a terminal.
func indented(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
