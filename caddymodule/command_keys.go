package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const rotateLong = `
Seals with the first encryption key everything in the database that an older key
sealed. Requests go on meanwhile. It may be interrupted anywhere, and goes on
when it is called again.

Where the keys are in encryption_key, put the new one in front first, on all
nodes. Where the key lies in the file beside the SQLite database (tokens.key),
this command makes a new one itself, and takes the old one out of the file in
the end. Backups that were made before need the old key: keep it with them.

What each key is still needed for goes to standard output, the progress to
standard error. Keys are named by their fingerprints.

Exit status: 0 if all was sealed anew, else 1.
` + apiLong

// keysCommand is `caddy tokens keys`.
func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Works with the encryption keys"}
	cmd.AddCommand(rotateCommand())
	return cmd
}

func rotateCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Seals everything anew with the first encryption key",
		Long:  rotateLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "admin for all realms", func(ctx context.Context, c *apiclient.Client, out output) error {
				done, err := rotateKeys(ctx, c, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				return writeRotation(out, done)
			})
		},
	}
	f.AddFlags(cmd)
	return cmd
}

// withAPI runs what a verb does with the API of a running instance, until it is
// interrupted.
func withAPI(cmd *cobra.Command, api *apiFlags, run func(ctx context.Context, c *apiclient.Client) error) error {
	c, err := api.connect(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return adviseOn(ctx, cmd, c, api.needs, run(ctx, c))
}

// errRotationCut: the last line, which tells what was done, did not come.
var errRotationCut = errors.New("the API ended its answer before the keys were rotated; its log may say why. Call the command again: it goes on")

// rotateKeys rotates the keys and writes down the progress.
func rotateKeys(ctx context.Context, c *apiclient.Client, progress io.Writer) (tokenstore.Rotation, error) {
	body, err := c.Lines(ctx, http.MethodPost, "/api/keys/rotate")
	if err != nil {
		return tokenstore.Rotation{}, err
	}
	defer func() { _ = body.Close() }()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		var line struct {
			tokenstore.TableProgress
			tokenstore.Rotation
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return tokenstore.Rotation{}, errRotationCut
		}
		if line.Keys != nil {
			return line.Rotation, nil
		}
		_, _ = fmt.Fprintf(progress, "%s: %d of %d rows\n", line.Table, line.Done, line.Total)
	}
	return tokenstore.Rotation{}, errors.Join(ctx.Err(), errRotationCut)
}

// writeRotation writes what was done, and what is to be done with each key.
func writeRotation(w output, done tokenstore.Rotation) error {
	if w.json {
		return printJSON(w, done)
	}
	var rows, damaged int64
	for _, t := range done.Tables {
		rows, damaged = rows+t.Done, damaged+t.Damaged
	}
	out := bufio.NewWriter(w)
	if done.Generated {
		_, _ = fmt.Fprintln(out, "a new key was made; it is in front in the key file")
	}
	_, _ = fmt.Fprintf(out, "%d rows were sealed anew\n", rows)
	if damaged > 0 {
		_, _ = fmt.Fprintf(out, "%d damaged rows could not be opened; GET /api/status names them\n", damaged)
	}
	for _, key := range done.Keys {
		_, _ = fmt.Fprintf(out, "key %s: %s\n", key.Fingerprint, whatToDo(key))
	}
	return out.Flush()
}

// whatToDo is what an operator has to know of a key.
func whatToDo(key tokenstore.KeyUse) string {
	switch key.State {
	case tokenstore.KeySealing:
		return fmt.Sprintf("in use, seals what is written; %d rows", key.Rows)
	case tokenstore.KeyRemovable:
		return "no longer in use: it can be removed from encryption_key. Backups made before need it " +
			"(a key file: another configuration of the process still had the database open; call the command again)"
	case tokenstore.KeyRemoved:
		return "no longer in use, removed from the key file. Backups made before need it"
	}
	return fmt.Sprintf("still in use by %d rows: a node has another key in front, or the rows are damaged", key.Rows)
}
