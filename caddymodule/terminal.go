package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/jedib0t/go-pretty/v6/table"
	prettytext "github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// output is where a verb writes its result. On a terminal that is text for a
// person, elsewhere JSON for a program.
type output struct {
	io.Writer
	// json: write what the API answers, and nothing else.
	json bool
	// width is that of the terminal in columns; 0 where lines have no end.
	width int
	// color: the terminal shows colors, and the user has not switched them off.
	color bool
}

// outputFlags are the flags of every verb that has a result.
type outputFlags struct{ json bool }

// AddFlags adds the flags to those of a verb.
func (f *outputFlags) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "write JSON also on a terminal, as elsewhere")
}

// of is the output of a verb that runs.
func (f *outputFlags) of(cmd *cobra.Command) output { return newOutput(cmd.OutOrStdout(), f.json) }

// newOutput finds out where w leads.
func newOutput(w io.Writer, asJSON bool) output {
	out := output{Writer: w, json: asJSON || !isTerminal(w)}
	if !isTerminal(w) {
		return out
	}
	out.color = hasColors()
	if width, _, err := term.GetSize(int(w.(*os.File).Fd())); err == nil { // #nosec G115 -- a descriptor is small
		out.width = width
	}
	return out
}

// isTerminal reports whether a reader or writer is a terminal, with a person in
// front of it.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) // #nosec G115 -- a descriptor is small
}

// hasColors reports what the environment says: NO_COLOR (no-color.org) and TERM.
// The old console of Windows prints escape sequences as they are.
func hasColors() bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	return runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != ""
}

// ink is a color, as ANSI numbers it.
type ink int

const (
	red    ink = 31
	green  ink = 32
	yellow ink = 33
	faint  ink = 2
)

// paint colors a text where there are colors.
func (o output) paint(c ink, s string) string {
	if !o.color || s == "" {
		return s
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, s)
}

// cell is one cell of a table. Its text may be foreign.
type cell struct {
	text string
	ink  ink // 0 for none
}

// plain makes cells of texts.
func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i].text = t
	}
	return cells
}

// leastColumn is how narrow a column of a table may become.
const leastColumn = 12

// table writes a table. Where the terminal is narrower, the widest columns are
// wrapped, and on a very narrow one each row becomes a block of lines; nothing is
// left out.
func (o output) table(header []string, rows [][]cell) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Name = "plain"
	style.Box.PaddingLeft, style.Box.PaddingRight, style.Box.MiddleVertical = "", "  ", ""
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = prettytext.FormatDefault
	t.SetStyle(style)

	natural := make([]int, len(header))
	head := make(table.Row, len(header))
	for i, name := range header {
		natural[i], head[i] = prettytext.StringWidthWithoutEscSequences(name), o.paint(faint, name)
	}
	t.AppendHeader(head)
	for _, cells := range rows {
		row := make(table.Row, len(cells))
		for i, c := range cells {
			shown := printable(c.text)
			natural[i] = max(natural[i], prettytext.StringWidthWithoutEscSequences(shown))
			row[i] = shown
			if c.ink != 0 {
				row[i] = o.paint(c.ink, shown)
			}
		}
		t.AppendRow(row)
	}
	widths, fits := fitted(natural, o.width)
	if !fits {
		return o.records(header, rows)
	}
	var columns []table.ColumnConfig
	for i, width := range widths {
		columns = append(columns, table.ColumnConfig{Number: i + 1, WidthMax: width, WidthMaxEnforcer: prettytext.WrapSoft})
	}
	t.SetColumnConfigs(columns)
	var b strings.Builder
	for line := range strings.Lines(t.Render() + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(o, b.String())
	return err
}

// fitted takes from the widest columns until a line with all of them fits, and
// reports whether it does.
func fitted(widths []int, line int) (_ []int, fits bool) {
	const gap = 2
	for line > 0 {
		sum, widest := 0, 0
		for i, width := range widths {
			sum += width + gap
			if width > widths[widest] {
				widest = i
			}
		}
		switch {
		case sum-gap <= line:
			return widths, true
		case widths[widest] <= leastColumn:
			return widths, false
		}
		widths[widest]--
	}
	return widths, true
}

// records writes a table as a block of lines for each row, one line for each column
// that has something. The terminal itself wraps what is long.
func (o output) records(header []string, rows [][]cell) error {
	widest := 0
	for _, name := range header {
		widest = max(widest, prettytext.StringWidthWithoutEscSequences(name))
	}
	var b strings.Builder
	for i, row := range rows {
		if i > 0 {
			b.WriteByte('\n')
		}
		for column, c := range row {
			if c.text == "" {
				continue
			}
			shown := printable(c.text)
			if c.ink != 0 {
				shown = o.paint(c.ink, shown)
			}
			b.WriteString(o.paint(faint, prettytext.Pad(header[column], widest, ' ')) + "  " + shown + "\n")
		}
	}
	_, err := io.WriteString(o, b.String())
	return err
}

// line writes one line of text for people. What is foreign in it was made
// printable before.
func (o output) line(format string, args ...any) error {
	_, err := fmt.Fprintf(o, format+"\n", args...)
	return err
}

// printJSON writes JSON, indented for people. Characters such as < stay as they
// are, and those that a terminal could take for a command are escaped.
func printJSON(w io.Writer, v any) error { return encodeJSON(w, v, "  ") }

// printJSONLine is printJSON in one line.
func printJSONLine(w io.Writer, v any) error { return encodeJSON(w, v, "") }

func encodeJSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeControls(b.String()))
	return err
}

// escapeControls escapes in JSON what is not printable. Beyond line ends, the
// encoder leaves such characters in strings only, where every one can be escaped.
func escapeControls(document string) string {
	isHarmless := func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }
	if !strings.ContainsFunc(document, func(r rune) bool { return !isHarmless(r) }) {
		return document
	}
	var b strings.Builder
	for _, r := range document {
		switch high, low := utf16.EncodeRune(r); {
		case isHarmless(r):
			b.WriteRune(r)
		case high == unicode.ReplacementChar:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return b.String()
}

// printable is a text that a terminal shows in one line and takes for no command.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
