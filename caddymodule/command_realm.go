package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const realmCollection = "/api/realm"

func realmPath(id string) string { return realmCollection + "/" + url.PathEscape(id) }

// realmCommand is `caddy tokens realm`.
func realmCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "realm", Short: "Works with the realms: what a provider is"}
	cmd.AddCommand(realmNewCommand(), realmListCommand(), realmGetCommand(), realmSetCommand(), realmDeleteCommand())
	return cmd
}

// shownRealm is what the commands read of a realm that the API answers.
type shownRealm struct {
	ID      string `json:"id"`
	Comment string `json:"comment"`
	Config  struct {
		Preset string            `json:"preset"`
		API    string            `json:"api"`
		Shared map[string]string `json:"shared"`
	} `json:"config"`
	UpdatedAt   *time.Time `json:"updated_at"`
	ReadOnly    bool       `json:"read_only"`
	Damaged     bool       `json:"damaged"`
	NeedsValues []string   `json:"needs_values"`
	NeedsShared []string   `json:"needs_shared"`
	Warnings    []string   `json:"warnings"`
}

// definedIn is where something is defined, and whether it can be read.
func definedIn(readOnly, damaged bool) cell {
	switch {
	case damaged:
		return cell{"database (damaged)", red}
	case readOnly:
		return cell{text: "Caddyfile"}
	}
	return cell{text: "database"}
}

func realmListCommand() *cobra.Command {
	f := new(verbFlags)
	var keyword string
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "Lists the realms",
		Long:              "\nLists the realms: first those of the Caddyfile, then the newest first.\n\nExit status: 0, or 1 if they could not be listed.\n" + apiLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "admin_read", func(ctx context.Context, c *apiclient.Client, out output) error {
				query := url.Values{}
				if keyword != "" {
					query.Set("keyword", keyword)
				}
				list, err := listAll(ctx, c, realmCollection, query)
				if err != nil {
					return err
				}
				if out.json {
					return printJSON(out, list)
				}
				rows, err := tableRows(list, func(r shownRealm) []cell {
					return append(plain(r.ID, r.Config.Preset, r.Config.API, r.Comment), definedIn(r.ReadOnly, r.Damaged))
				})
				if err != nil {
					return err
				}
				return out.table([]string{"REALM", "PRESET", "API", "COMMENT", "DEFINED IN"}, rows)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&keyword, "keyword", "", "list only realms with this in the id or the comment")
	return cmd
}

func realmGetCommand() *cobra.Command {
	f := new(verbFlags)
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Writes one realm as JSON",
		Long:  "\nWrites one realm as JSON, as the API has it. After an edit, realm set takes it back.\n\nExit status: 0, or 1 if there is none.\n" + apiLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := realm.ValidateID("realm", args[0]); err != nil {
				return err
			}
			return f.run(cmd, "admin_read", func(ctx context.Context, c *apiclient.Client, out output) error {
				var document json.RawMessage
				if err := c.JSON(ctx, http.MethodGet, realmPath(args[0]), nil, &document); err != nil {
					return err
				}
				return printJSON(out, document)
			})
		},
	}
	f.AddFlags(cmd)
	cmd.ValidArgsFunction = completeArgs(&f.api, realmIDs)
	return cmd
}

const realmSetLong = `
Creates or updates a realm. Its JSON is that of POST /api/realm, as realm get writes
it; it comes from --file, or from standard input. A field that is absent stays as it
is, and config is replaced as a whole.

Exit status: 0 if it was saved, else 1.
` + apiLong

func realmSetCommand() *cobra.Command {
	f := new(verbFlags)
	var file string
	cmd := &cobra.Command{
		Use:   "set [id] [--file FILE]",
		Short: "Creates or updates a realm",
		Long:  realmSetLong,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			document, err := readRealm(cmd, file, args)
			if err != nil {
				return err
			}
			return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
				var answer json.RawMessage
				var saved shownRealm
				if err := c.JSON(ctx, http.MethodPost, realmCollection, document, &answer); err != nil {
					return err
				}
				if err := json.Unmarshal(answer, &saved); err != nil {
					return fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
				}
				saved.tellSaved(cmd.ErrOrStderr())
				if out.json {
					return printJSON(out, answer)
				}
				return out.line("realm %s was saved", printable(saved.ID))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&file, "file", "-", "a file with the realm as JSON; - for standard input")
	cmd.ValidArgsFunction = completeArgs(&f.api, realmIDs)
	return cmd
}

// tellSaved tells in words what the API answered beside the realm.
func (r shownRealm) tellSaved(notes io.Writer) {
	for _, key := range r.NeedsValues {
		_, _ = fmt.Fprintf(notes, "warning: the realm has new hosts, and the values of secret %s were not entered for them: %s\n",
			printable(key), executable.Command("secret set "+printable(r.ID)+" "+printable(key)))
	}
	for _, field := range r.NeedsShared {
		_, _ = fmt.Fprintf(notes, "warning: the realm has new hosts, and the shared field %s was not entered for them: send it again\n", printable(field))
	}
	for _, warning := range r.Warnings {
		_, _ = fmt.Fprintln(notes, "warning:", inLine(warning))
	}
}

// readRealm reads the document and completes its id. It is sent as it is: the API
// knows what a realm may have.
func readRealm(cmd *cobra.Command, file string, args []string) (document map[string]json.RawMessage, err error) {
	if file == "-" && isTerminal(cmd.InOrStdin()) {
		return nil, fmt.Errorf("name a file with --file, or send the realm to standard input; %s asks for what is needed", executable.Command("realm new"))
	}
	text, err := readInput(cmd, file)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	if json.Unmarshal(text, &document) != nil || document == nil {
		return nil, errors.New("--file: it is not one JSON object with an id and a config")
	}
	if len(args) == 0 {
		return document, nil
	}
	var id string
	if said, ok := document["id"]; ok && (json.Unmarshal(said, &id) != nil || id != args[0]) {
		return nil, fmt.Errorf("--file: its id is %.80s, and the realm is to be %q", inLine(string(said)), args[0])
	}
	document["id"], err = json.Marshal(args[0])
	return document, err
}

// readInput reads a file; - is standard input.
func readInput(cmd *cobra.Command, file string) ([]byte, error) {
	if file != "-" {
		return os.ReadFile(filepath.Clean(file))
	}
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("there are more than %d bytes", maxAnswer)
	}
	return text, err
}

const realmDeleteLong = `
Deletes a realm. One that has secrets is only deleted with --cascade, which deletes
them and their tokens, too; a person is asked first, and a script says --yes.

Exit status: 0 if it was deleted, else 1.
` + apiLong

func realmDeleteCommand() *cobra.Command {
	f := new(verbFlags)
	var cascade, yes bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Deletes a realm",
		Long:  realmDeleteLong,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := realm.ValidateID("realm", args[0]); err != nil {
				return err
			}
			return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
				path := realmPath(args[0])
				if cascade {
					if err := confirm(ctx, cmd, "Delete realm "+printable(args[0])+" with all its secrets and tokens?", yes); err != nil {
						return err
					}
					path += "?cascade=true"
				}
				err := c.JSON(ctx, http.MethodDelete, path, nil, nil)
				var refused *apiclient.RefusedError
				if !cascade && errors.As(err, &refused) && refused.Code == realm.CodeConflict {
					return &advisedError{err, "realm " + printable(args[0]) + " still has secrets: delete them first, or add --cascade, which deletes them, too"}
				}
				return done(out, err, "realm %s was deleted", printable(args[0]))
			})
		},
	}
	f.AddFlags(cmd)
	cmd.Flags().BoolVar(&cascade, "cascade", false, "delete its secrets and their tokens, too")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.ValidArgsFunction = completeArgs(&f.api, realmIDs)
	return cmd
}

// done says that something was done.
func done(out output, err error, format string, args ...any) error {
	switch {
	case err != nil:
		return err
	case out.json:
		return printJSON(out, map[string]string{"success": "ok"})
	}
	return out.line(format, args...)
}
