package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const clientAddLong = `
Creates a client. Its key goes to standard output, alone in a line, and everything
else to standard error: KEY=$(caddy tokens client add billing --allow 'use crm').
The key is not shown again. A client with --user, --subject or --source has no
key; client rotate gives it one.

A rule is one argument, in the words of a Caddyfile: the rights with commas
between them, a realm, perhaps a key, then perhaps methods and paths.

    --allow 'use,read crm *'
    --allow 'use wechat main methods GET POST paths /cgi-bin/**'
    --deny 'use * * paths /cgi-bin/token'

Denials win, and what no rule allows is refused. Several realms or keys in one
rule, and names with blanks, are written as JSON: see --file.

A client that exists is left alone, unless --update is given: then it gets what
the flags say, a list (all rules, all limits, all users ...) in place of the
list before, and keeps the rest and its keys. A client that does not exist is
created.

--file takes the JSON of POST /api/client, as client show writes it. Its id is
the client's.

Exit status: 0 if the client was saved, else 1.
` + apiLong

// clientAddFlags are the flags of tokens client add.
type clientAddFlags struct {
	api                      apiFlags
	comment, expires, file   string
	rules                    []tokenstore.Rule
	limits                   tokenstore.ClientLimits
	users, subjects, sources []string
	edge, update             bool
}

func clientAddCommand() *cobra.Command {
	f := new(clientAddFlags)
	cmd := &cobra.Command{
		Use:   "add ID",
		Short: "Creates a client, or updates one",
		Long:  clientAddLong,
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	f.api.AddFlags(flags)
	flags.StringVar(&f.comment, "comment", "", "a note for people")
	flags.Var(ruleFlag{"allow", &f.rules}, "allow", "what the client may do: 'use wechat main' (may be repeated)")
	flags.Var(ruleFlag{"deny", &f.rules}, "deny", "what it may not do (may be repeated)")
	flags.Var(limitFlag{&f.limits}, "limit", "'requests 100/s', 'concurrency 20' or 'fetches 60/h' (may be repeated)")
	flags.StringArrayVar(&f.users, "user", nil, "a user by whom the client is known (may be repeated)")
	flags.StringArrayVar(&f.subjects, "subject", nil, "the subject of a client certificate, such as CN=billing (may be repeated)")
	flags.StringArrayVar(&f.sources, "source", nil, "a prefix of addresses, such as 10.1.0.0/16 (may be repeated)")
	flags.BoolVar(&f.edge, "edge", false, "the client is an instance that takes its tokens from this one (storage edge); it gets those that are inject_only, too")
	flags.StringVar(&f.expires, "expires", "", "when it ends: in 30d or 12h, at 2027-01-31T12:00:00Z, or never (default: never)")
	flags.StringVar(&f.file, "file", "", "a file with the client as JSON, in place of the flags above; - for standard input")
	flags.BoolVar(&f.update, "update", false, "update the client if it exists")
	return cmd
}

func (f *clientAddFlags) run(cmd *cobra.Command, args []string) error {
	id, document, err := f.document(cmd, args)
	if err != nil {
		return err
	}
	return withClient(cmd, &f.api, id, func(ctx context.Context, c *apiclient.Client) error {
		if !f.update {
			if err := requireNoClient(ctx, c, id); err != nil {
				return err
			}
		}
		var saved shownClient
		if err := c.JSON(ctx, http.MethodPost, clientCollection, document, &saved); err != nil {
			return err
		}
		notes := cmd.ErrOrStderr()
		saved.tellSaved(notes)
		if len(saved.Rules) == 0 {
			_, _ = fmt.Fprintln(notes, "warning: the client has no rule, so that it may do nothing")
		}
		switch identified := len(saved.Users)+len(saved.Subjects)+len(saved.Sources) > 0; {
		case saved.Key != "":
			_, _ = fmt.Fprintf(notes, "client %s was created; its key is not shown again\n", printable(id))
			return saved.writeKey(cmd)
		case !f.update && !identified:
			// A client without a key can only have been updated.
			return fmt.Errorf("client %s was created by somebody else at the same moment, and was updated: look at it with %s",
				printable(id), executable.Command("client show"))
		}
		_, _ = fmt.Fprintf(notes, "client %s was saved; it got no new key\n", printable(id))
		return nil
	})
}

// requireNoClient makes sure that there is no client of this id. The API itself
// creates and updates by the same route.
func requireNoClient(ctx context.Context, c *apiclient.Client, id string) error {
	err := c.JSON(ctx, http.MethodGet, clientPath(id), nil, nil)
	var refused *apiclient.RefusedError
	switch {
	case err == nil:
		return fmt.Errorf("client %s exists: --update changes it, and %s gives it another key", printable(id), executable.Command("client rotate"))
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound && refused.Code == realm.CodeNotFound:
		return nil
	}
	return err
}

// document is the body of POST /api/client, and the id of the client.
func (f *clientAddFlags) document(cmd *cobra.Command, args []string) (id string, document any, err error) {
	if f.file != "" {
		return f.readDocument(cmd, args)
	}
	if len(args) == 0 {
		return "", nil, errors.New("name the client: " + executable.Command("client add ID"))
	}
	fields := map[string]any{"id": args[0]}
	if cmd.Flags().Changed("expires") {
		if fields["expires_at"], err = parseEnd(f.expires, time.Now()); err != nil {
			return "", nil, fmt.Errorf("--expires: %w", err)
		}
	}
	// What no flag says is not sent, so that an update leaves it alone.
	for flag, field := range map[string]struct {
		name  string
		value any
	}{
		"comment": {"comment", f.comment}, "allow": {"rules", f.rules}, "deny": {"rules", f.rules}, "limit": {"limits", f.limits},
		"user": {"users", f.users}, "subject": {"subjects", f.subjects}, "source": {"sources", f.sources}, "edge": {"edge", f.edge},
	} {
		if cmd.Flags().Changed(flag) {
			fields[field.name] = field.value
		}
	}
	return args[0], fields, nil
}

// clientAddFields are the flags that say what a client has.
var clientAddFields = []string{"comment", "allow", "deny", "limit", "user", "subject", "source", "edge", "expires"}

// readDocument reads the client of --file. It is sent as it is: the API knows
// what a client may have.
func (f *clientAddFlags) readDocument(cmd *cobra.Command, args []string) (id string, document json.RawMessage, err error) {
	for _, flag := range clientAddFields {
		if cmd.Flags().Changed(flag) {
			return "", nil, fmt.Errorf("--file and --%s exclude each other: write it into the file", flag)
		}
	}
	if f.file == "-" {
		document, err = io.ReadAll(cmd.InOrStdin())
	} else {
		document, err = os.ReadFile(filepath.Clean(f.file))
	}
	if err != nil {
		return "", nil, fmt.Errorf("--file: %w", err)
	}
	var named struct{ ID string }
	if err := json.Unmarshal(document, &named); err != nil {
		return "", nil, errors.New("--file: it is not one JSON object with an id")
	}
	if len(args) > 0 && named.ID != args[0] {
		return "", nil, fmt.Errorf("--file: its id is %q, and the client is to be %q", named.ID, args[0])
	}
	return named.ID, document, nil
}

// parseEnd reads when a client ends: a time, a duration from now on, or never
// (nil).
func parseEnd(text string, now time.Time) (any, error) {
	if text == "never" {
		return nil, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := realm.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%.40q is neither a duration such as 30d, nor a time such as 2027-01-31T12:00:00Z, nor never", text)
	}
	return now.Add(d.Std()).UTC().Truncate(time.Second), nil
}

// ruleFlag is --allow or --deny. Both add to one list, so that the rules stay in
// the order in which they were written.
type ruleFlag struct {
	effect string
	rules  *[]tokenstore.Rule
}

var (
	_ pflag.Value = ruleFlag{}
	_ pflag.Value = limitFlag{}
)

func (f ruleFlag) String() string { return "" }
func (f ruleFlag) Type() string   { return "rule" }

// Set reads one rule. Only its form is checked here. What it may say is checked
// by the API.
func (f ruleFlag) Set(text string) error {
	// They would be parts of names here, and are not in a Caddyfile.
	if strings.ContainsAny(text, "\"`{}") {
		return errors.New("has a quote or a brace; write 'use wechat main methods GET paths /cgi-bin/**', and names with such characters as JSON with --file")
	}
	words := strings.Fields(text)
	isList := func(word string) bool { return word == "methods" || word == "paths" }
	n := len(words)
	// A realm may have the name of a list.
	if n > 2 {
		if i := slices.IndexFunc(words[2:], isList); i >= 0 {
			n = i + 2
		}
	}
	if n < 2 || n > 3 {
		return errors.New("takes rights, a realm and perhaps a key, then perhaps methods and paths: 'use,read crm *'")
	}
	r := tokenstore.Rule{Effect: f.effect, Rights: strings.Split(words[0], ","), Realms: words[1:2]}
	if n > 2 {
		r.Keys = words[2:n]
	}
	for rest := words[n:]; len(rest) > 0; {
		name, list := rest[0], &r.Paths
		if name == "methods" {
			list = &r.Methods
		}
		end := 1
		for end < len(rest) && !isList(rest[end]) {
			end++
		}
		switch {
		case *list != nil:
			return fmt.Errorf("has %s twice", name)
		case end == 1:
			return fmt.Errorf("names no %s", name)
		}
		*list, rest = rest[1:end], rest[end:]
	}
	*f.rules = append(*f.rules, r)
	return nil
}

// limitFlag is --limit.
type limitFlag struct{ limits *tokenstore.ClientLimits }

func (f limitFlag) String() string { return "" }
func (f limitFlag) Type() string   { return "limit" }

// Set reads one limit. How much may be allowed is checked by the API.
func (f limitFlag) Set(text string) error {
	what, much, _ := strings.Cut(strings.TrimSpace(text), " ")
	much = strings.TrimSpace(much)
	if much == "" {
		return errors.New("takes what is limited and how much: 'requests 100/s'")
	}
	var twice bool
	switch limits := f.limits; what {
	case "requests":
		twice, limits.Requests = limits.Requests != "", much
	case "fetches":
		twice, limits.Fetches = limits.Fetches != "", much
	case "concurrency":
		n, err := strconv.Atoi(much)
		if err != nil || n < 1 {
			return fmt.Errorf("concurrency %q is not a number from 1 on", much)
		}
		twice, limits.Concurrency = limits.Concurrency != 0, n
	default:
		return fmt.Errorf("unknown limit %q; there are requests, concurrency, fetches", what)
	}
	if twice {
		return fmt.Errorf("limit %s is given twice", what)
	}
	return nil
}
