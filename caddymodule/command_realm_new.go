package caddymodule

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/caddyfile"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const realmNewLong = `
Makes a realm and its first secret. On a terminal it asks for what it needs: the
provider, out of the catalogue or another one, and the values of the secret, which
are not shown. It says what it will do before it does it.

    caddy tokens realm new
    caddy tokens realm new --preset wechat --id wechat < values.json
    caddy tokens realm new --token-url https://login.example.com/token --id crm \
        --api-base https://crm.example.com --inject 'header Authorization Bearer {token}'

Without a terminal, standard input brings the values as JSON, or as lines of
field=value, and the flags answer the questions. No value is an argument.

--curl makes the realm of a token request that works in a terminal:

    caddy tokens realm new --curl - < command.txt

What is confidential in it goes into the secret, and the rest into the realm. Unless
standard input is used (-), the command is an argument: other users of the machine
can read it as long as this runs, and the shell keeps it in its history. Then one
token request is made by the instance, if you agree, to learn where the token stands
in the answer.

--caddyfile writes a block for the Caddyfile in place of calling the API. There is no
value in it: placeholders name the variables and files that hold the values.

--inject takes the words of a Caddyfile: query access_token, or header Authorization
Bearer {token}; none if apps take the token themselves.

Exit status: 0 if the realm was made, 2 if it was made and the dry run got no token,
else 1.
` + apiLong

// realmNewFlags are the flags of tokens realm new.
type realmNewFlags struct {
	verbFlags
	preset, id, key, curl            string
	tokenURL, apiBase, inject        string
	tokenPath, expiresPath           string
	scopes                           []string
	writesCaddyfile, yes, tries, dry bool
}

// realmNewCommand is `caddy tokens realm new`.
func realmNewCommand() *cobra.Command {
	f := new(realmNewFlags)
	cmd := &cobra.Command{
		Use:               "new",
		Short:             "Makes a realm: asks what it needs, or reads a curl command",
		Long:              realmNewLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.makeRealm(cmd) },
	}
	f.AddFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.preset, "preset", "", "the provider of the catalogue; caddy tokens presets lists them")
	flags.StringVar(&f.id, "id", "", "the id of the realm")
	flags.StringVar(&f.key, "key", "main", "the key of its secret")
	flags.StringVar(&f.curl, "curl", "", "a curl command that gets a token; - for standard input")
	flags.StringVar(&f.tokenURL, "token-url", "", "the token endpoint of another provider, for the grant client_credentials")
	flags.StringSliceVar(&f.scopes, "scope", nil, "a scope of that grant (may be repeated)")
	flags.StringVar(&f.apiBase, "api-base", "", "the base URL of the provider's API")
	flags.StringVar(&f.inject, "inject", "", "where the API takes the token, in the words of a Caddyfile")
	flags.StringVar(&f.tokenPath, "token-path", "", "where the token stands in the answer (default: the dry run tells)")
	flags.StringVar(&f.expiresPath, "expires-in-path", "", "where its life stands in the answer (default: the dry run tells)")
	flags.BoolVar(&f.writesCaddyfile, "caddyfile", false, "write a block for the Caddyfile, and call no API")
	flags.BoolVar(&f.tries, "test", false, "make the dry run without asking")
	flags.BoolVar(&f.dry, "no-test", false, "make no dry run")
	flags.BoolVar(&f.yes, "yes", false, "do not ask whether to create it")
	cmd.MarkFlagsMutuallyExclusive("test", "no-test")
	cmd.MarkFlagsMutuallyExclusive("token-url", "curl")
	cmd.MarkFlagsMutuallyExclusive("token-url", "preset")
	return cmd
}

// newRealm is a realm that is being made.
type newRealm struct {
	realm  realm.Realm
	key    string
	fields map[string]realm.Hidden
	// refreshToken is the first one of a realm that can only refresh.
	refreshToken realm.Hidden
	// wanted are the fields that the secret needs.
	wanted []presets.Field
	// learns: where the token stands in the answer is not known yet.
	learns bool
	notes  []string
}

// makeRealm goes through the steps: what realm, which secret, where the token goes, and
// then the API or the Caddyfile.
func (f *realmNewFlags) makeRealm(cmd *cobra.Command) error {
	if f.writesCaddyfile {
		n, err := f.collect(cmd.Context(), cmd)
		if err != nil {
			return err
		}
		block, err := n.block()
		if err != nil {
			return err
		}
		n.tellNotes(cmd)
		_, err = fmt.Fprint(cmd.OutOrStdout(), block)
		return err
	}
	return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
		n, err := f.collect(ctx, cmd)
		if err != nil {
			return err
		}
		return f.create(ctx, cmd, c, out, n)
	})
}

// block is the realm as a block of a Caddyfile.
func (n *newRealm) block() (string, error) {
	s := caddyfile.Secret{Key: n.key, Fields: slices.Sorted(maps.Keys(n.fields))}
	for _, field := range n.wanted {
		if !slices.Contains(s.Fields, field.Name) && field.Default == "" {
			s.Fields = append(s.Fields, field.Name)
		}
	}
	for name, value := range n.fields {
		if caddyfile.IsMultiline(value) {
			s.Files = append(s.Files, name)
		}
	}
	return caddyfile.Write(n.realm, []caddyfile.Secret{s})
}

func (n *newRealm) tellNotes(cmd *cobra.Command) {
	for _, note := range n.notes {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", inLine(note))
	}
}
