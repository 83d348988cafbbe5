package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const secretCollection = "/api/secret"

// errValueInArguments: a value may have been written into the command line. It is
// not quoted.
var errValueInArguments = errors.New("a value is never an argument, because other users of the machine and the history of the shell keep it; " +
	"type it when you are asked, or send it to standard input, as JSON or as lines of field=value")

// secretArgs are the arguments of a verb that also takes values.
func secretArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return errValueInArguments
		}
		return cobra.ExactArgs(n)(cmd, args)
	}
}

// secretCommand is `caddy tokens secret`.
func secretCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "Works with the secrets: the credentials of a realm"}
	cmd.AddCommand(secretListCommand(), secretSetCommand(), secretDeleteCommand(), secretPushCommand())
	return cmd
}

// shownSecret is what the commands read of a secret that the API answers. Its
// values are masked.
type shownSecret struct {
	Realm, Key  string
	Fields      map[string]string
	UpdatedAt   *time.Time `json:"updated_at"`
	ReadOnly    bool       `json:"read_only"`
	Damaged     bool       `json:"damaged"`
	InjectOnly  bool       `json:"inject_only"`
	NeedsValues []string   `json:"needs_values"`

	slots []string // key_1 ..., which stand beside the fields
}

// UnmarshalJSON also notes the fields that stand at the top level.
func (s *shownSecret) UnmarshalJSON(text []byte) error {
	type secret shownSecret
	var named map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, (*secret)(s)), json.Unmarshal(text, &named)); err != nil {
		return err
	}
	for name := range named {
		if strings.HasPrefix(name, "key_") {
			s.slots = append(s.slots, name)
		}
	}
	return nil
}

func (s shownSecret) row() []cell {
	names := append(slices.Collect(maps.Keys(s.Fields)), s.slots...)
	slices.Sort(names)
	updated := "-"
	if s.UpdatedAt != nil {
		updated = s.UpdatedAt.UTC().Format(time.DateTime)
	}
	row := append(plain(s.Realm, s.Key, strings.Join(names, ", "), updated), definedIn(s.ReadOnly, s.Damaged))
	if len(s.NeedsValues) > 0 {
		row[4] = cell{"database (values to be entered again)", yellow}
	}
	return row
}

func secretListCommand() *cobra.Command {
	f := new(verbFlags)
	var realmID string
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "Lists the secrets, without their values",
		Long:              "\nLists the secrets and the names of their fields. Values are never shown.\n\nExit status: 0, or 1 if they could not be listed.\n" + apiLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "admin_read", func(ctx context.Context, c *apiclient.Client, out output) error {
				query := url.Values{}
				if realmID != "" {
					query.Set("realm", realmID)
				}
				list, err := listAll(ctx, c, secretCollection, query)
				if err != nil {
					return err
				}
				if realmID != "" && len(list) == 0 { // is there such a realm at all?
					if err := c.JSON(ctx, http.MethodGet, realmPath(realmID), nil, nil); err != nil {
						return err
					}
				}
				if out.json {
					return printJSON(out, list)
				}
				rows, err := tableRows(list, shownSecret.row)
				if err != nil {
					return err
				}
				return out.table([]string{"REALM", "KEY", "FIELDS", "UPDATED", "DEFINED IN"}, rows)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&realmID, "realm", "", "only the secrets of this realm")
	completeFlag(cmd, "realm", &f.api, realmIDs)
	return cmd
}

func secretDeleteCommand() *cobra.Command {
	f := new(verbFlags)
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete REALM KEY",
		Short: "Deletes a secret and its token",
		Long:  "\nDeletes a secret and its token. A person is asked first, and a script says --yes.\n\nExit status: 0 if it was deleted, else 1.\n" + apiLong,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := refOf(args)
			if err != nil {
				return err
			}
			return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
				name := printable(ref.Realm) + " " + printable(ref.Key)
				if err := confirm(ctx, cmd, "Delete secret "+name+" and its token?", yes); err != nil {
					return err
				}
				return done(out, c.JSON(ctx, http.MethodDelete, secretPath(ref), nil, nil), "secret %s was deleted", name)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}

const secretPushLong = `
Stores a value that the provider or somebody else brings from time to time, such as
a suite_ticket. The value is the first line of standard input; a person is asked
for it, and it is not shown.

    printf '%s\n' "$TICKET" | caddy tokens secret push wecom_suite main suite_ticket --expires-in 30m

Exit status: 0 if it was stored, else 1.
` + apiLong

func secretPushCommand() *cobra.Command {
	f := new(verbFlags)
	var life string
	cmd := &cobra.Command{
		Use:   "push REALM KEY FIELD",
		Short: "Stores a value that is brought from time to time",
		Long:  secretPushLong,
		Args:  secretArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := refOf(args)
			if err != nil {
				return err
			}
			pushed := map[string]any{"field": args[2]}
			if life != "" {
				d, err := realm.ParseDuration(life)
				if err != nil {
					return fmt.Errorf("--expires-in: %.40q is no duration such as 30m", life)
				}
				pushed["expires_in"] = int64(d.Std() / time.Second)
			}
			return f.run(cmd, "push", func(ctx context.Context, c *apiclient.Client, out output) error {
				value, err := askHidden(ctx, cmd, printable(args[2]))
				if err != nil {
					return err
				}
				pushed["value"] = value.Reveal()
				return done(out, c.JSON(ctx, http.MethodPost, secretPath(ref)+"/push", pushed, nil), "%s was stored", printable(args[2]))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&life, "expires-in", "", "how long the value is good, such as 30m (default: until the next one)")
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}
