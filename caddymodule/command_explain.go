package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

const explainLong = `
Says why a proxied request of a client would or would not get its token: first
"allowed" or "refused", then the reasons, one a line: which rule decided, what
the realm says, where the request and the token would go, the state of the token
and of the limits. Rules are counted from 0. Nothing is sent to the provider.

--path is the path as the provider gets it, with the path of the realm's api in
front. It may have a query.

The exit status is 0 if the request would be allowed, 2 if it would be refused,
and 1 if that could not be found out.
` + apiLong

// exitRefused is the exit status of explain for a request that would be refused.
// 1 is the status of every error of a command, also of a wrong flag.
const exitRefused = 2

// explainFields are the fields of POST /api/explain, and the flags of the same
// names.
var explainFields = []struct{ name, usage string }{
	{"client", "the id of the client"},
	{"realm", "the id of the realm"},
	{"key", "the key of the secret"},
	{"method", "the method (default GET)"},
	{"path", "the path at the provider, perhaps with a query (default /)"},
}

func explainCommand() *cobra.Command {
	var api apiFlags
	var asJSON bool
	values := make([]string, len(explainFields))
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Says why a request of a client would or would not get its token",
		Long:  explainLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			question := map[string]string{}
			for i, field := range explainFields {
				if values[i] != "" {
					question[field.name] = values[i]
				}
			}
			var allowed bool
			err := withAPI(cmd, &api, func(ctx context.Context, c *apiclient.Client) (err error) {
				allowed, err = explain(ctx, c, question, cmd.OutOrStdout(), asJSON)
				return err
			})
			if err != nil || allowed {
				return err
			}
			// The answer is written already; the status alone is missing.
			cmd.SilenceErrors = true
			return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitRefused, nil })(cmd, args)
		},
	}
	api.AddFlags(cmd.Flags())
	for i, field := range explainFields {
		cmd.Flags().StringVar(&values[i], field.name, "", field.usage)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what the API answers")
	return cmd
}

// explain asks the question, writes the answer, and reports whether the request
// would be allowed.
func explain(ctx context.Context, c *apiclient.Client, question map[string]string, w io.Writer, asJSON bool) (allowed bool, err error) {
	var document json.RawMessage
	if err := c.JSON(ctx, http.MethodPost, "/api/explain", question, &document); err != nil {
		return false, err
	}
	var answer struct {
		Allowed bool
		Reasons []string
	}
	if err := json.Unmarshal(document, &answer); err != nil {
		return false, fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
	}
	if asJSON {
		return answer.Allowed, printJSON(w, document)
	}
	out := bufio.NewWriter(w)
	verdict := "refused"
	if answer.Allowed {
		verdict = "allowed"
	}
	_, _ = fmt.Fprintln(out, verdict)
	for _, reason := range answer.Reasons {
		_, _ = fmt.Fprintln(out, "- "+printable(reason))
	}
	return answer.Allowed, out.Flush()
}
