package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const secretSetLong = `
Creates or updates a secret. On a terminal, each field that the realm needs is asked
for, and what is typed is not shown; an empty answer leaves a field as it is.
Elsewhere, or with --file, the values come as JSON, or as lines of field=value:

    caddy tokens secret set crm main < values.json     # {"client_id": "...", "client_secret": "..."}
    printf 'client_id=%s\nclient_secret=%s\n' "$ID" "$SECRET" | caddy tokens secret set crm main

Values are never arguments, which other users of the machine can read.

Fields that the realm needs and that are missing, and fields that nothing in the
realm reads, are saved as they are, with a warning on standard error.

A changed value drops the access token. The refresh token stays, unless
--drop-refresh-token is given.

Exit status: 0 if it was saved, else 1.
` + apiLong

// secretSetFlags are the flags of tokens secret set.
type secretSetFlags struct {
	verbFlags
	file string
	drop bool
}

func secretSetCommand() *cobra.Command {
	f := new(secretSetFlags)
	cmd := &cobra.Command{
		Use:   "set REALM KEY",
		Short: "Creates or updates a secret",
		Long:  secretSetLong,
		Args:  secretArgs(2),
		RunE:  func(cmd *cobra.Command, args []string) error { return f.set(cmd, args) },
	}
	f.AddFlags(cmd)
	cmd.Flags().StringVar(&f.file, "file", "", "a file with the values; - for standard input (default: standard input, or questions on a terminal)")
	cmd.Flags().BoolVar(&f.drop, "drop-refresh-token", false, "drop the refresh token, too")
	cmd.ValidArgsFunction = completeRef(&f.api)
	return cmd
}

func (f *secretSetFlags) set(cmd *cobra.Command, args []string) error {
	ref, err := refOf(args)
	if err != nil {
		return err
	}
	return f.run(cmd, "admin", func(ctx context.Context, c *apiclient.Client, out output) error {
		values, err := f.values(ctx, cmd, c, ref)
		if err != nil {
			return err
		}
		question := map[string]any{"realm": ref.Realm, "key": ref.Key, "fields": values}
		if f.drop {
			question["drop_refresh_token"] = true
		}
		var answer json.RawMessage
		if err := c.JSON(ctx, http.MethodPost, secretCollection, question, &answer); err != nil {
			return err
		}
		warnAboutSecret(cmd.ErrOrStderr(), answer)
		if out.json {
			return printJSON(out, answer)
		}
		name := printable(ref.Realm) + " " + printable(ref.Key)
		return out.line("secret %s was saved; %s tries it out", name, executable.Command("test "+name))
	})
}

// warnAboutSecret tells what the API answered about fields that are missing, and about
// those that nothing reads.
func warnAboutSecret(notes io.Writer, answer json.RawMessage) {
	var saved struct{ Warnings []string }
	_ = json.Unmarshal(answer, &saved) // it is shown as it is
	for _, warning := range saved.Warnings {
		_, _ = fmt.Fprintln(notes, "warning:", inLine(warning))
	}
}

// values are the new values of the fields.
func (f *secretSetFlags) values(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, ref realm.Ref) (map[string]any, error) {
	if f.file == "" && isTerminal(cmd.InOrStdin()) {
		return askFields(ctx, cmd, c, ref)
	}
	file := f.file
	if file == "" {
		file = "-"
	}
	text, err := readInput(cmd, file)
	if err != nil {
		return nil, err
	}
	return parseValues(text)
}

// parseValues reads a JSON object, or lines of field=value. No error quotes what
// may be a value.
func parseValues(text []byte) (map[string]any, error) {
	values := map[string]any{}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if err := json.Unmarshal(text, &values); err != nil {
			return nil, errors.New("the values are not one JSON object of fields")
		}
		return requireValues(values)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("line %d of the values is not field=value", n)
		}
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("line %d of the values has a field once more", n)
		}
		values[name] = value
	}
	return requireValues(values)
}

func requireValues(values map[string]any) (map[string]any, error) {
	if len(values) == 0 {
		return nil, errors.New("no value was given: write field=value lines or JSON to standard input")
	}
	return values, nil
}

// askedField is a field for which a person is asked.
type askedField struct {
	name, help string
	optional   bool
}

// askFields asks for each field that the realm needs.
func askFields(ctx context.Context, cmd *cobra.Command, c *apiclient.Client, ref realm.Ref) (map[string]any, error) {
	fields, err := fieldsOf(ctx, c, ref.Realm)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("realm %s names no field of a secret; send the values to standard input", printable(ref.Realm))
	}
	values := map[string]any{}
	for _, field := range fields {
		question := printable(field.name)
		if field.help != "" {
			question = printable(field.help) + "\n" + question
		}
		if field.optional {
			question += ", optional"
		}
		value, err := askHidden(ctx, cmd, question)
		if err != nil {
			return nil, err
		}
		if value != "" {
			values[field.name] = value.Reveal()
		}
	}
	return requireValues(values)
}

// fieldsOf are the fields that a secret of a realm needs: those of its preset, and
// what else the realm reads.
func fieldsOf(ctx context.Context, c *apiclient.Client, realmID string) ([]askedField, error) {
	var document struct {
		Config json.RawMessage
		Reads  []string
	}
	if err := c.JSON(ctx, http.MethodGet, realmPath(realmID)+"?reads=true", nil, &document); err != nil {
		return nil, err
	}
	var config struct {
		Preset   string
		Shared   map[string]any
		Volatile []string
	}
	if len(document.Config) > 0 {
		if err := json.Unmarshal(document.Config, &config); err != nil {
			return nil, fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
		}
	}
	var fields []askedField
	known := map[string]bool{}
	for _, name := range append(slices.Collect(maps.Keys(config.Shared)), config.Volatile...) {
		known[name] = true // it has its value from elsewhere
	}
	add := func(f askedField) {
		if !known[f.name] {
			known[f.name] = true
			fields = append(fields, f)
		}
	}
	if config.Preset != "" {
		var p presets.Preset
		if err := c.JSON(ctx, http.MethodGet, "/api/preset/"+url.PathEscape(config.Preset), nil, &p); err != nil {
			return nil, err
		}
		for _, f := range p.Fields {
			if !f.Pushed {
				add(askedField{f.Name, f.Help.En, !f.Required || f.Default != ""})
			}
		}
	}
	for _, name := range document.Reads {
		add(askedField{name: name})
	}
	return fields, nil
}
