package importer

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// outcome is what became of a row.
type outcome int

const (
	failed outcome = iota
	created
	updated
	unchanged
)

// Progress is told after so many rows, or so much time.
const (
	progressRows = 100
	progressTime = time.Second
)

// ledger writes the report while the run goes on, and tells of its progress.
type ledger struct {
	mu     sync.Mutex
	out    io.Writer
	now    func() time.Time
	report *Report
	told   time.Time
}

// record notes what became of a row. It returns the errors that end the run:
// those that are not about this row.
func (l *ledger) record(t *Tally, s Subject, what outcome, tokens int, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var field *realm.FieldError
	var refusal *apiclient.RefusedError
	switch {
	case errors.As(err, &field):
		t.fail(Failure{Subject: s, Field: field.Field, Reason: field.Error()})
	case errors.As(err, &refusal):
		t.fail(Failure{Subject: s, Field: refusal.Field, Reason: refusal.Detail})
	case err != nil:
		return err
	case what == created:
		t.Created++
		t.Tokens += tokens
	case what == updated:
		t.Updated++
	default:
		t.Unchanged++
	}
	if now := l.now(); t.rows()%progressRows == 0 || now.Sub(l.told) >= progressTime {
		l.told = now
		_, _ = fmt.Fprintf(l.out, "%s: %s\n", t.kind, t.summary())
	}
	return nil
}

// note adds a remark to the report.
func (l *ledger) note(s Subject, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Notes = append(l.report.Notes, Note{Subject: s, Text: fmt.Sprintf(format, args...)})
}
