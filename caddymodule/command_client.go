package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const clientCollection = "/api/client"

func clientPath(id string) string { return clientCollection + "/" + url.PathEscape(id) }

// clientCommand is `caddy tokens client`.
func clientCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "client", Short: "Works with the clients: who may use what"}
	cmd.AddCommand(clientAddCommand(), clientAllowCommand(), clientListCommand(), clientShowCommand(), clientRotateCommand(), clientDeleteCommand())
	return cmd
}

// shownClient is what the commands read of a client that the API answers.
type shownClient struct {
	ID                       string                  `json:"id"`
	Rules                    []tokenstore.Rule       `json:"rules"`
	Limits                   tokenstore.ClientLimits `json:"limits"`
	Users, Subjects, Sources []string
	// Keys are the newest first.
	Keys []struct {
		ExpiresAt *time.Time `json:"expires_at"`
	} `json:"keys"`
	ExpiresAt *time.Time `json:"expires_at"`
	UsedAt    time.Time  `json:"used_at"`
	ReadOnly  bool       `json:"read_only"`
	Damaged   bool       `json:"damaged"`

	// Key is the new API key, where one was made.
	Key            realm.Hidden `json:"key"`
	ClosesLoopback bool         `json:"closes_loopback"`
	Warnings       []string     `json:"warnings"`
}

// tellSaved tells in words what the API answered beside the client.
func (c shownClient) tellSaved(notes io.Writer) {
	for _, warning := range c.Warnings {
		_, _ = fmt.Fprintln(notes, "warning:", warning)
	}
	if c.ClosesLoopback {
		_, _ = fmt.Fprintln(notes, "This is the first client. From now on the proxy serves clients alone, also on this machine, and the HTTP API "+
			"clients and the admin token, except where auth none or auth local is written. That stays so when the client is deleted.")
	}
}

// writeKey writes the key, alone on standard output, so that a shell can take it.
func (c shownClient) writeKey(cmd *cobra.Command) error {
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), c.Key.Reveal()); err != nil {
		return fmt.Errorf("the key could not be written, and it is not shown again; "+
			"make another one with %s: %w", executable.Command("client rotate"), err)
	}
	return nil
}

const clientListLong = `
Lists the clients: first those of the Caddyfile, then the newest first. Rules are
written as in a Caddyfile, of long lists the first ones. An hour at "last used"
is the one in which the client was seen last.

Exit status: 0, or 1 if they could not be listed.
` + apiLong

func clientListCommand() *cobra.Command {
	f := new(verbFlags)
	var keyword string
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "Lists the clients",
		Long:              clientListLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "admin_read for all realms", func(ctx context.Context, c *apiclient.Client, out output) error {
				query := url.Values{}
				if keyword != "" {
					query.Set("keyword", keyword)
				}
				list, err := listAll(ctx, c, clientCollection, query)
				if err != nil {
					return err
				}
				if out.json {
					return printJSON(out, list)
				}
				rows, err := tableRows(list, shownClient.row)
				if err != nil {
					return err
				}
				return out.table([]string{"ID", "RULES", "LIMITS", "KEYS", "LAST USED", "EXPIRES", "DEFINED IN"}, rows)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&keyword, "keyword", "", "list only clients with this in the id or the comment")
	return cmd
}

// row is the client in the table.
func (c shownClient) row() []cell {
	used := "never"
	if !c.UsedAt.IsZero() {
		used = c.UsedAt.UTC().Format("2006-01-02 15h")
	}
	row := append(plain(c.ID, c.rulesInShort(), c.limitsInShort(), c.keysInShort(), used, endInWords(c.ExpiresAt)), definedIn(c.ReadOnly, c.Damaged))
	if c.Damaged { // what it is allowed cannot be trusted, and is not shown
		row[1].text, row[2].text, row[3].text = "unknown", "unknown", "unknown"
	}
	return row
}

// rulesInShort are the first rules, as a Caddyfile has them.
func (c shownClient) rulesInShort() string {
	const most = 2
	if len(c.Rules) == 0 {
		return "none"
	}
	var words []string
	for _, r := range c.Rules[:min(len(c.Rules), most)] {
		rule := []string{r.Effect, strings.Join(r.Rights, ","), strings.Join(r.Realms, ",")}
		for _, list := range [][]string{r.Keys, r.Methods, r.Paths} {
			if len(list) > 0 {
				rule = append(rule, strings.Join(list, ","))
			}
		}
		words = append(words, shortened(strings.Join(rule, " ")))
	}
	if left := len(c.Rules) - most; left > 0 {
		words = append(words, fmt.Sprintf("%d more", left))
	}
	return strings.Join(words, "; ")
}

// shortened is the beginning of a text that is too long for a table.
func shortened(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}

func (c shownClient) limitsInShort() string {
	var words []string
	if c.Limits.Requests != "" {
		words = append(words, "requests "+c.Limits.Requests)
	}
	if c.Limits.Concurrency > 0 {
		words = append(words, "concurrency "+strconv.Itoa(c.Limits.Concurrency))
	}
	if c.Limits.Fetches != "" {
		words = append(words, "fetches "+c.Limits.Fetches)
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, ", ")
}

// keysInShort is how many keys there are, and when one of them ends.
func (c shownClient) keysInShort() string {
	words := strconv.Itoa(len(c.Keys))
	for _, key := range c.Keys {
		if key.ExpiresAt != nil {
			words += ", one until " + endInWords(key.ExpiresAt)
		}
	}
	return words
}

// endInWords is when something ends.
func endInWords(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func clientShowCommand() *cobra.Command {
	var api apiFlags
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Writes one client as JSON",
		Long:  "\nWrites one client as JSON, as the API has it. After an edit, client add --file takes it back.\n\nExit status: 0, or 1 if there is none.\n" + apiLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, &api, args[0], func(ctx context.Context, c *apiclient.Client) error {
				var document json.RawMessage
				if err := c.JSON(ctx, http.MethodGet, clientPath(args[0]), nil, &document); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), document)
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.ValidArgsFunction = completeArgs(&api, clientIDs)
	return cmd
}

// withClient is withAPI for what a verb does with the client of an id. An id that
// cannot stand in an address would lead to another route.
func withClient(cmd *cobra.Command, api *apiFlags, id string, run func(ctx context.Context, c *apiclient.Client) error) error {
	if err := realm.ValidateID("id", id); err != nil {
		return err
	}
	api.needs = "admin or admin_read for all realms"
	return withAPI(cmd, api, run)
}

const clientRotateLong = `
Gives a client a new key, and writes it to standard output, alone in a line:
KEY=$(caddy tokens client rotate billing --keep 24h). It is not shown again.

With --keep the key before stays good for that long. Otherwise it ends now, on
every node within two seconds. A client has at most two keys at a time.

Exit status: 0 if there is a new key, else 1.
` + apiLong

func clientRotateCommand() *cobra.Command {
	var api apiFlags
	var keep string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Gives a client a new key",
		Long:  clientRotateLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, &api, args[0], func(ctx context.Context, c *apiclient.Client) error {
				var in any
				if keep != "" {
					in = map[string]string{"keep": keep}
				}
				var saved shownClient
				if err := c.JSON(ctx, http.MethodPost, clientPath(args[0])+"/rotate", in, &saved); err != nil {
					return err
				}
				saved.tellSaved(cmd.ErrOrStderr())
				before := "no key of before is good any more"
				if len(saved.Keys) > 1 {
					before = "the key before is good until " + endInWords(saved.Keys[1].ExpiresAt)
				}
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "client %s has a new key; %s\n", printable(args[0]), before)
				return saved.writeKey(cmd)
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.ValidArgsFunction = completeArgs(&api, clientIDs)
	cmd.Flags().StringVar(&keep, "keep", "", "how long the key before stays good, such as 24h or 7d (default: it ends now)")
	return cmd
}

func clientDeleteCommand() *cobra.Command {
	var api apiFlags
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Deletes a client",
		Long:  "\nDeletes a client. Its keys end on every node within two seconds, and so do its open streams.\n\nExit status: 0 if it was deleted, else 1.\n" + apiLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, &api, args[0], func(ctx context.Context, c *apiclient.Client) error {
				if err := c.JSON(ctx, http.MethodDelete, clientPath(args[0]), nil, nil); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "client %s was deleted\n", printable(args[0]))
				return err
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.ValidArgsFunction = completeArgs(&api, clientIDs)
	return cmd
}
