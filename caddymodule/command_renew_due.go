package caddymodule

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

const renewDueLong = `
Renews the tokens whose renewal is due, of all realms. It is for a timer where no
loop does that (refresh on_demand), and does no harm beside one. Secrets that the
caller may not renew are skipped, as are those that are not due. The output is that
of refresh-all, with the realm of each secret.

Exit status: 0 if none failed, else 1.
` + apiLong

func renewDueCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "renew-due",
		Short: "Renews the tokens that are due, of all realms",
		Long:  renewDueLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "flush", func(ctx context.Context, c *apiclient.Client, out output) error {
				return showRenewals(ctx, c, "/api/renew-due", "", out)
			})
		},
	}
	f.AddFlags(cmd)
	return cmd
}
