package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// errNoAnswer: a question was asked, and the input had ended.
var errNoAnswer = errors.New("standard input ended before the answer")

// maxAnswer bounds one line that a person or a script answers.
const maxAnswer = 1 << 20

// ask asks a question and reads one line. Questions go to standard error, so that
// a result can be piped.
func ask(ctx context.Context, cmd *cobra.Command, question string) (string, error) {
	if isTerminal(cmd.InOrStdin()) {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), question+": ")
	}
	return interruptible(ctx, func() (string, error) { return readLine(cmd.InOrStdin()) }, func() {})
}

// askHidden asks for a value that nobody may see: a terminal does not echo it.
// Where the input is no terminal, the value is its next line, and no question is
// asked.
func askHidden(ctx context.Context, cmd *cobra.Command, question string) (realm.Hidden, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !isTerminal(in) {
		line, err := readLine(cmd.InOrStdin())
		return realm.Hidden(line), err
	}
	fd := int(in.Fd()) // #nosec G115 -- a descriptor is small
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("this terminal cannot hide what is typed: %w", err)
	}
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), question+" (not shown): ")
	value, err := interruptible(ctx, func() (string, error) {
		value, err := term.ReadPassword(fd)
		return string(value), err
	}, func() { _ = term.Restore(fd, before) })
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	if errors.Is(err, io.EOF) {
		err = errNoAnswer
	}
	return realm.Hidden(value), err
}

// interruptible reads until there is an answer, or the verb is interrupted: then
// the terminal is put right, and the reader left behind in a process that ends.
func interruptible(ctx context.Context, read func() (string, error), restore func()) (string, error) {
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := read()
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		return a.text, a.err
	case <-ctx.Done():
		restore()
		return "", ctx.Err()
	}
}

// readLine reads up to the end of a line and nothing behind it, so that the next
// question finds the next line. A last line may lack its end.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxAnswer; {
		n, err := r.Read(one)
		switch {
		case n > 0 && one[0] == '\n':
			return strings.TrimSuffix(string(line), "\r"), nil
		case n > 0:
			line = append(line, one[0])
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		case errors.Is(err, io.EOF):
			return "", errNoAnswer
		case err != nil:
			return "", fmt.Errorf("standard input: %w", err)
		}
	}
	return "", fmt.Errorf("a line of standard input is longer than %d bytes", maxAnswer)
}

// confirm asks whether to do what cannot be undone. A script says it with --yes,
// which is what yes is.
func confirm(ctx context.Context, cmd *cobra.Command, question string, yes bool) error {
	if yes {
		return nil
	}
	if !isTerminal(cmd.InOrStdin()) {
		return fmt.Errorf("%s To answer without a terminal, add --yes", question)
	}
	answer, err := ask(ctx, cmd, question+" [y/N]")
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done: the answer was not yes")
	}
	return nil
}
