package caddymodule

import (
	"context"
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const consoleLong = `
Writes a link that signs you in to the console once, within a minute, with the
rights that this command has. --open opens it in the browser of this machine.

Exit status: 0 if there is a link, else 1.
` + apiLong

func consoleCommand() *cobra.Command {
	f := new(verbFlags)
	var open bool
	cmd := &cobra.Command{
		Use:               "console",
		Short:             "Writes a one-time link to the console",
		Long:              consoleLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "admin, admin_read or audit", func(ctx context.Context, c *apiclient.Client, out output) error {
				var link struct {
					URL       string `json:"url"`
					ExpiresIn int    `json:"expires_in"`
				}
				err := c.JSON(ctx, http.MethodPost, "/api/session/link", nil, &link)
				var refused *apiclient.RefusedError
				if errors.As(err, &refused) && refused.Code == realm.CodeNotFound {
					return &advisedError{err, "this instance has no console: write token_console beside token_admin"}
				}
				if err != nil {
					return err
				}
				if open {
					remove, err := openBrowser(ctx, link.URL)
					if err != nil {
						return err
					}
					defer remove()
				}
				if out.json {
					return printJSON(out, link)
				}
				return out.line("Open this link within %d seconds; it is good once:\n\n%s", link.ExpiresIn, inLine(link.URL))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().BoolVar(&open, "open", false, "open the link in the browser of this machine")
	return cmd
}
