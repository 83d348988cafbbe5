package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// TestTable: columns line up, also under Chinese text, and the widest one is
// wrapped where the terminal is narrow.
func TestTable(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	rows := [][]cell{
		{{text: "wechat"}, {text: "公众号"}, {text: "live", ink: green}},
		{{text: "crm"}, {text: "\x1b]0;owned\a"}, {text: "a long note that a narrow terminal has to wrap somewhere"}},
	}
	for name, c := range map[string]struct {
		columns uint16
		noColor string
		want    string
	}{
		"wide": {120, "1", "" +
			"REALM   NAME              NOTE\n" +
			"wechat  公众号            live\n" +
			"crm     \"\\x1b]0;owned\\a\"  a long note that a narrow terminal has to wrap somewhere\n"},
		"narrow": {52, "1", "" +
			"REALM   NAME              NOTE\n" +
			"wechat  公众号            live\n" +
			"crm     \"\\x1b]0;owned\\a\"  a long note that a narrow\n" +
			"                          terminal has to wrap\n" +
			"                          somewhere\n"},
		"very narrow": {30, "1", "" +
			"REALM  wechat\n" +
			"NAME   公众号\n" +
			"NOTE   live\n" +
			"\n" +
			"REALM  crm\n" +
			"NAME   \"\\x1b]0;owned\\a\"\n" +
			"NOTE   a long note that a narrow terminal has to wrap somewhere\n"},
		"color": {120, "", "" +
			"\x1b[2mREALM\x1b[0m   \x1b[2mNAME\x1b[0m              \x1b[2mNOTE\x1b[0m\n" +
			"wechat  公众号            \x1b[32mlive\x1b[0m\n" +
			"crm     \"\\x1b]0;owned\\a\"  a long note that a narrow terminal has to wrap somewhere\n"},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		p := newPTY(t, c.columns)
		out := newOutput(p.tty, false)
		if out.json || out.width != int(c.columns) {
			t.Errorf("%s: %+v", name, out)
		}
		if err := out.table([]string{"REALM", "NAME", "NOTE"}, rows); err != nil {
			t.Fatal(err)
		}
		p.await("somewhere")
		if got := p.screen(); got != c.want {
			t.Errorf("%s: got\n%q\nwant\n%q", name, got, c.want)
		}
	}
}

// TestOutput: what is no terminal gets JSON without colors; a terminal gets it
// when asked.
func TestOutput(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if out := newOutput(new(bytes.Buffer), false); !out.json || out.color || out.width != 0 {
		t.Errorf("a pipe: %+v", out)
	}
	p := newPTY(t, 80)
	if out := newOutput(p.tty, true); !out.json || !out.color {
		t.Errorf("a terminal, --json: %+v", out)
	}
	t.Setenv("TERM", "dumb")
	if out := newOutput(p.tty, false); out.json || out.color {
		t.Errorf("a dumb terminal: %+v", out)
	}
}

// TestPrintJSON: no character of a value reaches the terminal as a command, and
// the document stays the same.
func TestPrintJSON(t *testing.T) {
	const foreign = "a<b> 公众号 \x1b[2J \u009b2J \u202e \U000e0001 \x7f"
	var b bytes.Buffer
	if err := printJSON(&b, map[string]any{"x": foreign, "y": json.RawMessage(`"` + "\u009b" + `"`)}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.ContainsAny(got, "\x1b\u009b\u202e\U000e0001\x7f") || !strings.Contains(got, "a<b> 公众号") {
		t.Errorf("%q", got)
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["x"] != foreign || back["y"] != "\u009b" {
		t.Errorf("%v %q", err, back)
	}
}

// asking is a command that asks.
func asking(run func(ctx context.Context, cmd *cobra.Command) error) *cobra.Command {
	return &cobra.Command{SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), cmd) }}
}

// TestAskHidden: a terminal does not show what is typed, also not after an
// interrupt; a pipe is read line by line.
func TestAskHidden(t *testing.T) {
	var got string
	cmd := asking(func(ctx context.Context, cmd *cobra.Command) error {
		value, err := askHidden(ctx, cmd, "app secret")
		got = value.Reveal()
		return err
	})
	p := newPTY(t, 80)
	done := p.start(t.Context(), cmd)
	p.await("app secret (not shown): ")
	p.enter(canary)
	if err := <-done; err != nil || got != canary {
		t.Errorf("%v %q", err, got)
	}
	if leaks(p.screen()) != nil {
		t.Errorf("the terminal shows it: %q", p.screen())
	}

	// Keys do what they do at a prompt. Ctrl+D once made the program read for ever.
	for keys, want := range map[string]string{
		"\x04": errNoAnswer.Error(), "\x03": errInterrupted.Error(), "a\x03": errInterrupted.Error(),
		"秘密\x7f\x7fkey\bx\x04\r": "kex", "wrong\x15right\n": "right", strings.Repeat("k", 5000) + "\n": strings.Repeat("k", 5000),
	} {
		p := newPTY(t, 80)
		got = ""
		done := p.start(t.Context(), cmd)
		p.await("(not shown): ")
		p.press(keys)
		if err := <-done; err != nil && err.Error() != want || err == nil && got != want {
			t.Errorf("%.10q: %v %.20q", keys, err, got)
		}
		if screen := p.untilNow(); screen != "app secret (not shown): \n" {
			t.Errorf("%.10q: the terminal shows %q", keys, screen)
		}
	}

	q := newPTY(t, 80)
	ctx, cancel := context.WithCancel(t.Context())
	done = q.start(ctx, cmd)
	q.await("app secret")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	q.enter("echoed")
	q.await("echoed") // the echo is on again

	cmd.SetIn(strings.NewReader("one\r\ntwo\nthree"))
	var errs bytes.Buffer
	cmd.SetErr(&errs)
	for _, want := range []string{"one", "two", "three"} {
		if err := cmd.ExecuteContext(t.Context()); err != nil || got != want {
			t.Errorf("%v %q, want %q", err, got, want)
		}
	}
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errNoAnswer) || errs.Len() > 0 {
		t.Errorf("the end: %v %s", err, &errs)
	}
}

// writerFunc is a writer that is a function.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// TestAskHiddenInTime: when the question is there, the terminal hides already what is
// typed, and sends Ctrl+C as a key. A key that came before was lost, and the question
// waited for ever.
func TestAskHiddenInTime(t *testing.T) {
	p := newPTY(t, 80)
	asked := 0
	cmd := asking(func(ctx context.Context, cmd *cobra.Command) error {
		_, err := askHidden(ctx, cmd, "its help\nsecret")
		return err
	})
	cmd.SetIn(p.tty)
	cmd.SetErr(writerFunc(func(text []byte) {
		mode, err := unix.IoctlGetTermios(int(p.tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Error(err)
			return
		}
		isRaw := mode.Lflag&(unix.ECHO|unix.ISIG) == 0
		switch string(text) {
		case "its help\n":
			if isRaw {
				t.Error("a line feed does not go back to the first column")
			}
		case "secret (not shown): ":
			asked++
			if isRaw {
				p.press("\x03")
				return
			}
			t.Error("the terminal shows what is typed at once")
			p.enter("")
		}
	}))
	if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, errInterrupted) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// TestTerminalThatIsLeft: a test whose command still waits for an answer ends, also when
// it fails. It waited for ever for the terminal to close.
func TestTerminalThatIsLeft(t *testing.T) {
	for name, question := range map[string]func(ctx context.Context, cmd *cobra.Command) error{
		"hidden": func(ctx context.Context, cmd *cobra.Command) error { _, err := askHidden(ctx, cmd, "one?"); return err },
		"shown":  func(ctx context.Context, cmd *cobra.Command) error { _, err := ask(ctx, cmd, "one?"); return err },
	} {
		var done <-chan error
		t.Run(name, func(t *testing.T) {
			p := newPTY(t, 80)
			done = p.start(context.WithoutCancel(t.Context()), asking(question))
			p.await("one?")
		})
		if err := <-done; err == nil {
			t.Errorf("%s: there is an answer", name)
		}
	}
}

// TestConfirm: only yes is yes, and a script has to say so.
func TestConfirm(t *testing.T) {
	sure := false
	cmd := asking(func(ctx context.Context, cmd *cobra.Command) error {
		return confirm(ctx, cmd, "Delete realm crm?", sure)
	})
	for answer, ok := range map[string]bool{"y": true, "YES": true, "": false, "n": false, "yess": false} {
		p := newPTY(t, 80)
		done := p.start(t.Context(), cmd)
		p.await("Delete realm crm? [y/N]: ")
		p.enter(answer)
		if err := <-done; (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
	cmd.SetIn(strings.NewReader("y\n"))
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no terminal") || !strings.Contains(err.Error(), "add --yes") || strings.Contains(err.Error(), "?") {
		t.Errorf("a pipe: %v", err)
	}
	sure = true
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Errorf("--yes: %v", err)
	}
}
