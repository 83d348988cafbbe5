package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

const explainLong = `
Says why a proxied request of a client would or would not get its token: "allowed"
or "refused", and the reasons: which rule decided, what the realm says, where the
request and the token would go, the state of the token and of the limits. Rules are
counted from 0. Nothing is sent to the provider.

--path is the path as the provider gets it, with the path of the realm's api in
front. It may have a query.

The exit status is 0 if the request would be allowed, 2 if it would be refused,
and 1 if that could not be found out.
` + apiLong

// exitRefused is the exit status of explain for a request that would be refused.
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
	f := new(verbFlags)
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
			for _, field := range explainFields[:3] {
				if question[field.name] == "" {
					return fmt.Errorf("--%s is missing: --client, --realm and --key say what request it is about", field.name)
				}
			}
			var allowed bool
			err := f.run(cmd, "admin_read", func(ctx context.Context, c *apiclient.Client, out output) (err error) {
				allowed, err = explain(ctx, c, question, out)
				return err
			})
			if err != nil || allowed {
				return err
			}
			return endWith(cmd, exitRefused)
		},
	}
	f.AddFlags(cmd)
	for i, field := range explainFields {
		cmd.Flags().StringVar(&values[i], field.name, "", field.usage)
	}
	completeFlag(cmd, "client", &f.api, clientIDs)
	completeFlag(cmd, "realm", &f.api, realmIDs)
	return cmd
}

// explain asks the question, writes the answer, and reports whether the request
// would be allowed.
func explain(ctx context.Context, c *apiclient.Client, question map[string]string, w output) (allowed bool, err error) {
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
	if w.json {
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
