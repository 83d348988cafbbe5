package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const refreshAllLong = `
Renews the token of every secret of a realm, due or not. On a terminal a bar shows
the progress, those that failed are listed with the reason, and those that were
skipped are counted by it; elsewhere there is a line of JSON for each secret, and a
last one with the sums. Secrets that the caller may not renew are skipped.

When it is interrupted, what is under way is finished, and nothing more is begun.

Exit status: 0 if none failed, else 1.
` + apiLong

// errRefreshCut: the last line, which has the sums, did not come.
var errRefreshCut = errors.New("the API ended its answer before all was done; call the command again")

func refreshAllCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "refresh-all REALM",
		Short: "Renews the tokens of all secrets of a realm",
		Long:  refreshAllLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := realm.ValidateID("realm", args[0]); err != nil {
				return err
			}
			return f.run(cmd, "flush", func(ctx context.Context, c *apiclient.Client, out output) error {
				of := "?" + url.Values{"realm": {args[0]}, "pageSize": {"1"}}.Encode()
				return showRenewals(ctx, c, "/"+url.PathEscape(args[0])+"-account/refresh-all-token", of, out)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.ValidArgsFunction = completeArgs(&f.api, realmIDs)
	return cmd
}

// refreshedLine is a line of the API: the result of one secret, or the sums.
type refreshedLine struct {
	Realm, Key, Result, Reason string
	Total                      *int
	OK, Skipped, Failed        int
}

// name is the key, with its realm where the line says it.
func (l refreshedLine) name() string {
	if l.Realm == "" {
		return printable(l.Key)
	}
	return printable(l.Realm) + " " + printable(l.Key)
}

// showRenewals has tokens renewed by a request that answers line by line, and
// shows how far it is. of selects the secrets that it is about in the list of
// secrets; it is empty where that is not known.
func showRenewals(ctx context.Context, c *apiclient.Client, path, of string, out output) error {
	bar := progressBar{output: out}
	if !out.json && of != "" {
		// Without the right to list them, the bar has no end.
		_, bar.total, _ = listPage(ctx, c, "/api/secret"+of)
	}
	body, err := c.Lines(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		var line refreshedLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			break
		}
		switch {
		case out.json:
			_, err = io.WriteString(out, escapeControls(lines.Text())+"\n")
		case line.Total == nil:
			err = bar.step(line)
		default:
			err = bar.end(line)
		}
		if err != nil {
			return err
		}
		if line.Total != nil && line.Failed > 0 {
			return fmt.Errorf("%d of %d tokens were not renewed", line.Failed, *line.Total)
		}
		if line.Total != nil {
			return nil
		}
	}
	return errors.Join(ctx.Err(), errRefreshCut)
}

// progressBar shows on a terminal how far it is.
type progressBar struct {
	output
	total, done int
	// skipped are how many were skipped for each reason.
	skipped map[string]int
}

// barWidth is how wide the bar is, without its numbers.
const barWidth = 30

// step shows one more result. What failed stays on the screen, above the bar.
func (b *progressBar) step(line refreshedLine) error {
	b.done++
	if line.Result == "skipped" {
		if b.skipped == nil {
			b.skipped = map[string]int{}
		}
		b.skipped[line.Reason]++
	}
	text := "\r"
	if b.color {
		text += "\x1b[K" // empty the line
	}
	if line.Result == "failed" {
		text += b.paint(red, "failed: ") + line.name() + ": " + printable(line.Reason) + "\n"
	}
	if b.total > 0 {
		filled := min(b.done, b.total) * barWidth / b.total
		text += "[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "] "
	}
	text += fmt.Sprint(b.done)
	if b.total > 0 {
		text += fmt.Sprintf(" of %d", max(b.total, b.done))
	}
	_, err := io.WriteString(b, text)
	return err
}

func (b *progressBar) end(sums refreshedLine) error {
	if b.done > 0 {
		_, _ = io.WriteString(b, "\n")
	}
	if err := b.line("%d renewed, %d skipped, %d failed", sums.OK, sums.Skipped, sums.Failed); err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(b.skipped)) {
		if err := b.line("%d skipped: %s", b.skipped[reason], skippedBecause(reason)); err != nil {
			return err
		}
	}
	return nil
}

// skippedBecause is the reason of the API in words.
func skippedBecause(reason string) string {
	if reason == "forbidden" {
		return "the caller may not renew them (right flush)"
	}
	return inLine(reason)
}
