package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

const verifyLong = `
Has the running instance verify its audit: every entry of every chain, and the
sealed ends. The key is there and not with this command. A line for each chain
goes to standard output: how many entries were verified or, where the chain is
broken, the node, the number of the entry and the reason.

Exit status: 0 if all chains are intact; 1 if one is broken, or if that could not be
found out.
` + apiLong

const exportLong = `
Writes the entries of the audit to standard output, oldest first, one JSON value
a line. The flags select entries, as the parameters of GET /api/audit do.

Exit status: 0 if all of them were written, else 1.
` + apiLong

// auditCommand is `caddy tokens audit`.
func auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Works with the audit: who did what"}
	cmd.AddCommand(verifyCommand(), exportCommand())
	return cmd
}

func verifyCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verifies every entry of the audit",
		Long:  verifyLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.readLines(cmd, http.MethodPost, "/api/audit/verify", writeChains)
		},
	}
	f.AddFlags(cmd)
	return cmd
}

// auditFilters are the parameters of GET /api/audit, and the flags of the same
// names.
var auditFilters = []struct{ name, usage string }{
	{"from", "entries since then, such as 2027-01-31T12:00:00Z"},
	{"to", "entries before then"},
	{"actor", "the id of a client or a user, or the kind of an actor without an id"},
	{"realm", "the id of a realm"},
	{"key", "the key of a secret"},
	{"act", "such as secret.update"},
	{"result", "ok, refused or failed"},
}

func exportCommand() *cobra.Command {
	f := new(verbFlags)
	values := make([]string, len(auditFilters))
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Writes the entries of the audit as lines of JSON",
		Long:  exportLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for i, filter := range auditFilters {
				if values[i] != "" {
					query.Set(filter.name, values[i])
				}
			}
			return f.readLines(cmd, http.MethodGet, "/api/audit?"+query.Encode(), copyLines)
		},
	}
	f.api.AddFlags(cmd.Flags()) // the entries are lines of JSON everywhere
	for i, filter := range auditFilters {
		cmd.Flags().StringVar(&values[i], filter.name, "", filter.usage)
	}
	return cmd
}

// readLines sends a request whose answer comes line by line, and has it written.
func (f *verbFlags) readLines(cmd *cobra.Command, method, path string, write func(out output, body io.Reader) error) error {
	return f.run(cmd, "audit for all realms", func(ctx context.Context, c *apiclient.Client, out output) error {
		body, err := c.Lines(ctx, method, path)
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		if err := write(out, body); err != nil {
			return fmt.Errorf("%s: %w", c.Base(), err)
		}
		return nil
	})
}

// copyLines writes lines of JSON as they come. On a terminal, what it could take
// for a command is escaped; a file keeps every byte.
func copyLines(out output, body io.Reader) error {
	if !isTerminal(out.Writer) {
		_, err := io.Copy(out, body)
		return err
	}
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadString('\n')
		if _, failed := io.WriteString(out, escapeControls(line)); failed != nil {
			return failed
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeChains writes what was found of each chain. The error says how many are
// broken.
func writeChains(out output, body io.Reader) error {
	chains, broken := 0, 0
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		var c struct {
			Node             string
			First, Last, Seq int64
			Reason           string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("%w: its answer cannot be read", apiclient.ErrNotAPI)
		}
		chains++
		text := fmt.Sprintf("%s: the entries %d to %d are intact", c.Node, c.First, c.Last)
		switch {
		case c.Reason != "" && c.Node == "":
			text = c.Reason
		case c.Reason != "":
			text = fmt.Sprintf("%s: %d: %s", c.Node, c.Seq, c.Reason)
		case c.Last == 0:
			text = c.Node + ": there is no entry"
		}
		if c.Reason != "" {
			broken++
		}
		if out.json {
			text = escapeControls(lines.Text())
		}
		if err := out.line("%s", inLine(text)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("the audit is broken: %d of %d chains", broken, chains)
	}
	return nil
}
