package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

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
	return interruptible(ctx, func() (string, error) { return readLine(cmd.InOrStdin()) }, func() {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr()) // behind the question
	})
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
	// What is typed at once must not be shown, and a key not be taken for a signal: the
	// terminal is in raw mode before the question is there. In that mode a line feed
	// does not go back to the first column, so that the lines above come before it.
	if end := strings.LastIndexByte(question, '\n'); end >= 0 {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), question[:end])
		question = question[end+1:]
	}
	fd := int(in.Fd()) // #nosec G115 -- a descriptor is small
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("this terminal cannot hide what is typed: %w", err)
	}
	restore := func() { _ = term.Restore(fd, before) }
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), question+" (not shown): ")
	value, err := interruptible(ctx, func() (string, error) { return readTyped(in) }, restore)
	restore()
	_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	return realm.Hidden(value), err
}

// What a terminal sends for a key that it does not handle itself.
const (
	keyInterrupt = 'C' & 0x1f
	keyEnd       = 'D' & 0x1f
	keyKill      = 'U' & 0x1f
	keyBackspace = '\b'
	keyDelete    = 0x7f
)

// readTyped reads a line that is typed at a terminal in raw mode, which shows nothing
// and handles no key. (term.ReadPassword reads on and on after Ctrl+D, and cuts what
// is pasted at 4,096 bytes.)
func readTyped(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxAnswer; {
		n, err := r.Read(one)
		switch {
		case n == 0 && (err == nil || errors.Is(err, io.EOF)):
			return "", errNoAnswer
		case n == 0:
			return "", fmt.Errorf("standard input: %w", err)
		case one[0] == '\r', one[0] == '\n':
			return string(line), nil
		case one[0] == keyInterrupt:
			return "", errInterrupted
		case one[0] == keyEnd && len(line) == 0:
			return "", errNoAnswer
		case one[0] == keyKill:
			line = line[:0]
		case one[0] == keyBackspace, one[0] == keyDelete:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		case one[0] != keyEnd:
			line = append(line, one[0])
		}
	}
	return "", fmt.Errorf("what was typed is longer than %d bytes", maxAnswer)
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
		return errors.New("standard input is no terminal, so that nobody can be asked whether to do this: to do it without a question, add --yes")
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
