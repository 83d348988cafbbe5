package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Report says what a run did. It holds ids and reasons, and nothing
// confidential.
type Report struct {
	// DryRun: nothing was written; "created" means that it would be.
	DryRun bool `json:"dry_run"`
	// A kind is absent where the database has no table of it.
	Realms    *Tally `json:"realms,omitempty"`
	Secrets   *Tally `json:"secrets,omitempty"`
	Accounts  *Tally `json:"accounts,omitempty"`
	Companies *Tally `json:"companies,omitempty"`
	// Notes are what somebody should look at.
	Notes []Note `json:"notes,omitempty"`
	// Stopped is why the run ended early, "" for a whole one.
	Stopped string `json:"stopped,omitempty"`
}

// Tally counts the rows of one kind.
type Tally struct {
	Created int `json:"created"`
	// Updated rows existed and were written again.
	Updated int `json:"updated"`
	// Unchanged rows existed and were left alone.
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`
	// Tokens are access tokens that were imported with what was created.
	Tokens   int       `json:"tokens,omitempty"`
	Failures []Failure `json:"failures,omitempty"`

	kind string
}

// Subject names a row: Kind is realm, secret, account or company, ID the
// realm's id, the secret's key, the account's name or the taxpayer id.
type Subject struct {
	Kind  string `json:"kind"`
	Realm string `json:"realm,omitempty"`
	ID    string `json:"id"`
}

// String quotes the ids: they are bytes of a database, and go to a terminal.
func (s Subject) String() string {
	if s.Realm != "" {
		return s.Kind + " " + strconv.QuoteToGraphic(s.Realm) + " " + strconv.QuoteToGraphic(s.ID)
	}
	return s.Kind + " " + strconv.QuoteToGraphic(s.ID)
}

// Failure is a row that was not imported.
type Failure struct {
	Subject
	// Field is the one that is wrong, where it is about one.
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Note is a remark on a row that was imported, or exists.
type Note struct {
	Subject
	Text string `json:"text"`
}

// Failed is the number of rows that were not imported.
func (r *Report) Failed() int {
	n := 0
	for _, t := range r.tallies() {
		n += t.Failed
	}
	return n
}

func (r *Report) tallies() []*Tally {
	return slices.DeleteFunc([]*Tally{r.Realms, r.Secrets, r.Accounts, r.Companies}, func(t *Tally) bool { return t == nil })
}

// sort orders what several workers wrote.
func (r *Report) sort() {
	order := func(a, b Subject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Realm, b.Realm), cmp.Compare(a.ID, b.ID))
	}
	slices.SortStableFunc(r.Notes, func(a, b Note) int { return order(a.Subject, b.Subject) })
	for _, t := range r.tallies() {
		slices.SortStableFunc(t.Failures, func(a, b Failure) int { return order(a.Subject, b.Subject) })
	}
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	r.sort()
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	r.sort()
	var b strings.Builder
	if r.DryRun {
		b.WriteString("dry run: nothing was written\n")
	}
	for _, t := range r.tallies() {
		fmt.Fprintf(&b, "%-10s %s\n", t.kind, t.summary())
	}
	for _, t := range r.tallies() {
		for _, f := range t.Failures {
			fmt.Fprintf(&b, "failed: %s: %s\n", f.Subject, printable(f.Reason))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s: %s\n", n.Subject, printable(n.Text))
	}
	if r.Stopped != "" {
		fmt.Fprintf(&b, "stopped: %s\n", printable(r.Stopped))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable spells out whatever is no plain character: the API's words may
// quote what is in the database, and what ends a line or steers a terminal does
// not belong into a report.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

func (t *Tally) fail(f Failure) {
	t.Failed++
	t.Failures = append(t.Failures, f)
}

func (t *Tally) rows() int { return t.Created + t.Updated + t.Unchanged + t.Failed }

func (t *Tally) summary() string {
	s := fmt.Sprintf("%d created, %d unchanged, %d failed", t.Created, t.Unchanged, t.Failed)
	if t.Updated > 0 {
		s += fmt.Sprintf(", %d written again", t.Updated)
	}
	if t.Tokens > 0 {
		s += fmt.Sprintf("; %d tokens", t.Tokens)
	}
	return s
}
