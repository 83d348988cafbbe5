package caddymodule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
)

const (
	// lookPause is how long --watch leaves the instance alone between two looks.
	lookPause = 500 * time.Millisecond
	// countDown is how often the times on the screen are put right in between.
	countDown = time.Second
)

// follow shows the state until it is interrupted. The result is that of the last
// look.
func (f *statusFlags) follow(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, out output) (last error) {
	news := follow(ctx, c)
	screen := screen{output: out}
	told := "" // the last error, while it lasts
	for {
		began := time.Now()
		document, status, err := f.ask(ctx, c)
		switch {
		case ctx.Err() != nil:
			return last
		case err != nil: // an instance that restarts is back soon
			last = err
			if text := inLine(err.Error()); text != told {
				told = text
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), text)
			}
		default:
			last, told = nil, ""
			if status.needsPerson() {
				last = errAttention
			}
			if err := screen.update(document, status); err != nil {
				return err
			}
		}
		// An instance with very many tokens is asked less often.
		if goesOn, err := screen.wait(ctx, max(lookPause, 10*time.Since(began)), news); err != nil || !goesOn {
			return cmp.Or(err, last)
		}
	}
}

// screen is where --watch shows the state: as a page of a terminal, or line by line.
type screen struct {
	output
	status *shownStatus // the last one
	shown  []byte       // the last line of JSON
}

// wait counts the times down until there is news and the pause is over. It reports
// whether that came to be, and not the end.
func (s *screen) wait(ctx context.Context, pause time.Duration, news <-chan struct{}) (goesOn bool, err error) {
	second := time.NewTicker(countDown)
	defer second.Stop()
	over := time.After(pause)
	var due <-chan struct{} // none during the pause
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-over:
			due = news
		case <-due:
			return true, nil
		case <-second.C:
			if err := s.paintTimes(); err != nil {
				return false, err
			}
		}
	}
}

// update shows a state. A program gets it unless it has it already.
func (s *screen) update(document map[string]json.RawMessage, status shownStatus) error {
	s.status = &status
	if !s.json {
		return s.paintPage()
	}
	var line bytes.Buffer
	if err := printJSONLine(&line, document); err != nil || bytes.Equal(line.Bytes(), s.shown) {
		return err
	}
	s.shown = line.Bytes()
	_, err := s.Write(s.shown)
	return err
}

// paintTimes shows the last state again, since its times count down. A terminal that
// knows no commands would scroll.
func (s *screen) paintTimes() error {
	if s.json || !s.color || s.status == nil {
		return nil
	}
	return s.paintPage()
}

// paintPage shows the state in place of the page before, as far as it fits. The
// terminal may have got another size.
func (s *screen) paintPage() error {
	columns, lines := s.width, 0
	if file, ok := s.Writer.(*os.File); ok {
		if width, height, err := term.GetSize(int(file.Fd())); err == nil { // #nosec G115 -- a descriptor is small
			columns, lines = width, height
		}
	}
	status, hidden := *s.status, 0
	if s.color && lines > 0 {
		status.Tokens = slices.Clone(status.Tokens)
		slices.SortStableFunc(status.Tokens, func(a, b broker.TokenStatus) int { return cmp.Compare(urgency(a), urgency(b)) })
		if fit := max(1, lines-len(status.Stores)-len(status.Damaged)-3); len(status.Tokens) > fit {
			status.Tokens, hidden = status.Tokens[:fit], len(status.Tokens)-fit
		}
	}
	var page bytes.Buffer
	if s.color {
		page.WriteString("\x1b[H\x1b[2J") // home, and an empty screen
	}
	if err := status.write(output{Writer: &page, width: columns, color: s.color}, time.Now()); err != nil {
		return err
	}
	if hidden > 0 {
		_, _ = fmt.Fprintf(&page, "and %d more; --realm shows those of one realm\n", hidden)
	}
	_, err := s.Write(page.Bytes())
	return err
}

// urgency sorts what needs a person in front.
func urgency(t broker.TokenStatus) int {
	if needsPerson(t) {
		return 0
	}
	return 1
}
