package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const getLong = `
Writes the live token of a secret to standard output, alone in a line:
TOKEN=$(caddy tokens get crm main). It is fetched where there is none. The read-out
is in the audit.

Prefer the proxy, by which the token never leaves the instance.

Exit status: 0 if there is a token, else 1.
` + apiLong

// tokenAnswer is what the API answers of a token.
type tokenAnswer struct {
	Token realm.Hidden `json:"token"`
	// ExpiresIn is in milliseconds; nil for a token without an end.
	ExpiresIn *int64 `json:"expires_in"`
}

// end is when the token expires; nil for never.
func (t tokenAnswer) end() *time.Time {
	if t.ExpiresIn == nil {
		return nil
	}
	end := time.Now().Add(time.Duration(*t.ExpiresIn) * time.Millisecond)
	return &end
}

func getCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "get REALM KEY",
		Short: "Writes the live token of a secret",
		Long:  getLong,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := refOf(args)
			if err != nil {
				return err
			}
			return f.run(cmd, "read", func(ctx context.Context, c *apiclient.Client, out output) error {
				var document json.RawMessage
				query := url.Values{"realm": {ref.Realm}, "key": {ref.Key}}
				if err := c.JSON(ctx, http.MethodGet, "/api/token?"+query.Encode(), nil, &document); err != nil {
					return err
				}
				if isTerminal(out.Writer) {
					_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "warning: whoever sees this terminal, or what it keeps, can use the token until it expires")
				}
				var t tokenAnswer
				if err := json.Unmarshal(document, &t); err != nil || t.Token == "" {
					return fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
				}
				if f.out.json {
					return printJSON(out, document)
				}
				return out.line("%s", inLine(t.Token.Reveal()))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().Lookup("json").Usage = "write what the API answers: the token, when it expires, where it came from"
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}

const refreshLong = `
Has a new token fetched for a secret, in place of the live one. It draws from the
realm's budget, and is in the audit. The token itself is not shown.

Exit status: 0 if there is a new token, else 1.
` + apiLong

func refreshCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "refresh REALM KEY",
		Short: "Has a new token fetched",
		Long:  refreshLong,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := refOf(args)
			if err != nil {
				return err
			}
			return f.run(cmd, "flush", func(ctx context.Context, c *apiclient.Client, out output) error {
				var document map[string]json.RawMessage
				question := map[string]any{"realm": ref.Realm, "key": ref.Key, "flush": true}
				if err := c.JSON(ctx, http.MethodPost, "/api/token", question, &document); err != nil {
					return err
				}
				delete(document, "token")
				if out.json {
					return printJSON(out, document)
				}
				var t tokenAnswer
				if whole, err := json.Marshal(document); err != nil || json.Unmarshal(whole, &t) != nil {
					return fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
				}
				return out.line("%s %s has a new token; it expires in %s", printable(ref.Realm), printable(ref.Key), inTime(t.end(), time.Now()))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}
