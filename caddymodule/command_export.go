package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const exportAllLong = `
Writes what the database of the instance has as one JSON document: realms, secrets
with the names of their fields, companies, and clients without their keys. There is
no value of a secret, no token and no key in it; a backup has them, sealed. What the
Caddyfile defines is not in it either.

The same content is the same document, byte for byte, so that it can be kept with the
code and compared. caddy tokens import --file takes it back.

Exit status: 0, or 1 if it could not be read.
` + apiLong

const companyCollection = "/api/company"

// exportVersion is that of the document's form.
const exportVersion = 1

// exported is the document. What the API answers is kept as it is, but for what
// only the API itself says.
type exported struct {
	Version   int              `json:"version"`
	Realms    []map[string]any `json:"realms"`
	Secrets   []exportedSecret `json:"secrets"`
	Companies []map[string]any `json:"companies,omitempty"`
	Clients   []map[string]any `json:"clients,omitempty"`
}

// exportedSecret is a secret without its values.
type exportedSecret struct {
	Realm      string   `json:"realm"`
	Key        string   `json:"key"`
	Fields     []string `json:"fields"`
	InjectOnly bool     `json:"inject_only,omitempty"`
}

// echoed are the members of an answer that mean nothing in a request.
var echoed = []string{
	"created_at", "updated_at", "used_at", "read_only", "damaged", "not_yet_active", "needs_values", "needs_shared", "keys", "closes_loopback", "warnings", "pushed",
}

func exportAllCommand() *cobra.Command {
	var api apiFlags
	var realms []string
	cmd := &cobra.Command{
		Use:               "export",
		Short:             "Writes realms, secrets without values, companies and clients as JSON",
		Long:              exportAllLong,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api.needs = "admin_read"
			return withAPI(cmd, &api, func(ctx context.Context, c *apiclient.Client) error {
				e := &exporter{client: c, realms: realms, tell: func(format string, args ...any) {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
				}}
				document, err := e.export(ctx)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), document)
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.Flags().StringArrayVar(&realms, "realm", nil, "export this realm and its secrets alone (may be repeated)")
	return cmd
}

// exporter reads the lists of the API.
type exporter struct {
	client *apiclient.Client
	// realms are those that are exported; all if there is none.
	realms []string
	tell   func(format string, args ...any)
}

func (e *exporter) export(ctx context.Context) (*exported, error) {
	document := &exported{Version: exportVersion, Realms: []map[string]any{}, Secrets: []exportedSecret{}}
	var err error
	if document.Realms, err = e.list(ctx, realmCollection, "id"); err != nil {
		return nil, err
	}
	if len(e.realms) > 0 {
		document.Realms = slices.DeleteFunc(document.Realms, func(r map[string]any) bool { return !slices.Contains(e.realms, member(r, "id")) })
		for _, id := range e.realms {
			if !slices.ContainsFunc(document.Realms, func(r map[string]any) bool { return member(r, "id") == id }) {
				return nil, fmt.Errorf("--realm %s: the database has no realm of this id", printable(id))
			}
		}
	}
	secrets, err := e.list(ctx, secretCollection, "realm")
	if err != nil {
		return nil, err
	}
	for _, s := range secrets {
		if len(e.realms) == 0 || slices.Contains(e.realms, member(s, "realm")) {
			document.Secrets = append(document.Secrets, secretNames(s))
		}
	}
	slices.SortFunc(document.Secrets, func(a, b exportedSecret) int {
		return cmp.Or(strings.Compare(a.Realm, b.Realm), strings.Compare(a.Key, b.Key))
	})
	if len(e.realms) > 0 {
		return document, nil
	}
	if document.Companies, err = e.list(ctx, companyCollection, "taxpayer_id"); err != nil {
		return nil, err
	}
	for _, company := range document.Companies {
		delete(company, "id") // a number of this database
	}
	document.Clients, err = e.list(ctx, clientCollection, "id")
	if errors.Is(err, apiclient.ErrForbidden) {
		e.tell("the clients are left out: only who may read everything sees them")
		return document, nil
	}
	return document, err
}

// list is one list of the API, by the member that names its items. What the
// Caddyfile defines and what cannot be opened is left out.
func (e *exporter) list(ctx context.Context, path, id string) ([]map[string]any, error) {
	items, err := listAll(ctx, e.client, path, url.Values{})
	if err != nil {
		return nil, err
	}
	kept := []map[string]any{}
	for _, item := range items {
		var v map[string]any
		if err := json.Unmarshal(item, &v); err != nil {
			return nil, fmt.Errorf("%w: its list cannot be read", apiclient.ErrNotAPI)
		}
		if v["damaged"] == true {
			e.tell("%s %s is damaged and is left out", strings.TrimPrefix(path, "/api/"), printable(member(v, id)))
			continue
		}
		if v["read_only"] == true {
			continue
		}
		kept = append(kept, withoutEchoes(v))
	}
	slices.SortStableFunc(kept, func(a, b map[string]any) int { return strings.Compare(member(a, id), member(b, id)) })
	return kept, nil
}

func withoutEchoes(v map[string]any) map[string]any {
	for _, name := range echoed {
		delete(v, name)
	}
	return v
}

// member is a member that is a text.
func member(v map[string]any, name string) string {
	s, _ := v[name].(string)
	return s
}

// secretNames are the names of a secret's fields. The slots key_1, key_2 ... stand
// beside the other members.
func secretNames(s map[string]any) exportedSecret {
	out := exportedSecret{Realm: member(s, "realm"), Key: member(s, "key"), InjectOnly: s["inject_only"] == true}
	fields, _ := s["fields"].(map[string]any)
	out.Fields = append([]string{}, slices.Collect(maps.Keys(fields))...)
	for name := range s {
		if strings.HasPrefix(name, "key_") {
			out.Fields = append(out.Fields, name)
		}
	}
	slices.Sort(out.Fields)
	return out
}

// exists asks the API for one object; nil where there is none.
func exists(ctx context.Context, c *apiclient.Client, path string) (v map[string]any, err error) {
	err = c.JSON(ctx, http.MethodGet, path, nil, &v)
	var refused *apiclient.RefusedError
	if errors.As(err, &refused) && slices.Contains([]realm.Code{
		realm.CodeRealmNotFound, realm.CodeSecretNotFound, realm.CodeNotFound, realm.CodeCompanyNotFound,
	}, refused.Code) {
		return nil, nil
	}
	return v, err
}
