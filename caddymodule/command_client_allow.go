package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const clientAllowLong = `
Adds a rule to those that a client has, in the words of client add --allow:

    caddy tokens client allow billing 'admin_read crm'

Exit status: 0 if the client was saved, else 1.
` + apiLong

func clientAllowCommand() *cobra.Command {
	var api apiFlags
	cmd := &cobra.Command{
		Use:   "allow ID RULE",
		Short: "Allows a client more, and keeps its rules",
		Long:  clientAllowLong,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var added []tokenstore.Rule
			if err := (ruleFlag{"allow", &added}).Set(args[1]); err != nil {
				return fmt.Errorf("the rule %w", err)
			}
			return withClient(cmd, &api, args[0], func(ctx context.Context, c *apiclient.Client) error {
				var before, saved shownClient
				if err := c.JSON(ctx, http.MethodGet, clientPath(args[0]), nil, &before); err != nil {
					return err
				}
				if before.Damaged { // its rules are not known, and would be lost
					return errors.New("the client is damaged: delete it and create it again, or restore the database")
				}
				document := map[string]any{"id": args[0], "rules": append(before.Rules, added...)}
				if err := c.JSON(ctx, http.MethodPost, clientCollection, document, &saved); err != nil {
					return err
				}
				saved.tellSaved(cmd.ErrOrStderr())
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "client %s has %d rules\n", printable(args[0]), len(saved.Rules))
				return err
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.ValidArgsFunction = completeArgs(&api, clientIDs)
	return cmd
}
