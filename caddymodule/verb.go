package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// verbFlags are the flags of a verb that asks the API and shows what it answers.
type verbFlags struct {
	api apiFlags
	out outputFlags
}

// AddFlags adds the flags to those of a verb.
func (f *verbFlags) AddFlags(cmd *cobra.Command) {
	f.api.AddFlags(cmd.Flags())
	f.out.AddFlags(cmd.Flags())
}

// run is withAPI for such a verb. needs is the right that the verb needs.
func (f *verbFlags) run(cmd *cobra.Command, needs string, do func(ctx context.Context, c *apiclient.Client, out output) error) error {
	f.api.needs = needs
	return withAPI(cmd, &f.api, func(ctx context.Context, c *apiclient.Client) error { return do(ctx, c, f.out.of(cmd)) })
}

// endWith ends a verb whose result is written already with an exit status above 1.
// 1 is the status of every error of a command, also of a wrong flag.
func endWith(cmd *cobra.Command, status int) error {
	cmd.SilenceErrors = true
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return status, nil })(cmd, nil)
}

// secretPath is the path of a secret in the API.
func secretPath(ref realm.Ref) string {
	return "/api/secret/" + url.PathEscape(ref.Realm) + "/" + url.PathEscape(ref.Key)
}

// refOf are the ids of a verb's first two arguments. An id that cannot stand in an
// address would lead to another route.
func refOf(args []string) (realm.Ref, error) {
	ref := realm.Ref{Realm: args[0], Key: args[1]}
	return ref, errors.Join(realm.ValidateID("realm", ref.Realm), realm.ValidateID("key", ref.Key))
}

// listAll returns the documents of a list that the API hands out page by page. A
// page is decoded as it comes, because a document may be large.
func listAll(ctx context.Context, c *apiclient.Client, path string, query url.Values) ([]json.RawMessage, error) {
	all, seen := []json.RawMessage{}, 0
	for page := 1; ; page++ {
		query.Set("page", strconv.Itoa(page))
		query.Set("pageSize", "1000")
		list, total, err := listPage(ctx, c, path+"?"+query.Encode())
		if err != nil {
			return nil, err
		}
		seen += len(list)
		isLast := len(list) == 0 || seen >= total
		if path == realmCollection {
			if list, err = readTruncated(ctx, c, list); err != nil {
				return nil, err
			}
		}
		all = append(all, list...)
		if isLast {
			return all, nil
		}
	}
}

// readTruncated asks for the realms that a page has no room for one by one. One that
// is gone by then is left out.
func readTruncated(ctx context.Context, c *apiclient.Client, list []json.RawMessage) ([]json.RawMessage, error) {
	whole := make([]json.RawMessage, 0, len(list))
	for _, document := range list {
		var r struct {
			ID        string `json:"id"`
			Truncated bool   `json:"truncated"`
		}
		if err := json.Unmarshal(document, &r); err != nil {
			return nil, fmt.Errorf("%w: its list cannot be read", apiclient.ErrNotAPI)
		}
		if r.Truncated {
			err := c.JSON(ctx, http.MethodGet, realmPath(r.ID), nil, &document)
			var refused *apiclient.RefusedError
			switch {
			case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
				continue
			case err != nil:
				return nil, err
			}
		}
		whole = append(whole, document)
	}
	return whole, nil
}

func listPage(ctx context.Context, c *apiclient.Client, path string) (list []json.RawMessage, total int, err error) {
	resp, err := c.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= http.StatusMultipleChoices {
		answer, err := c.Read(resp)
		if err == nil {
			err = c.Error(answer)
		}
		return nil, 0, err
	}
	var page struct {
		Data struct {
			List  []json.RawMessage `json:"list"`
			Total int               `json:"total"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, 0, fmt.Errorf("%w: what %s answers is not what was expected", apiclient.ErrNotAPI, c.Base())
	}
	return page.Data.List, page.Data.Total, nil
}

// tableRows makes a row of a table of each document.
func tableRows[T any](documents []json.RawMessage, row func(T) []cell) ([][]cell, error) {
	rows := make([][]cell, len(documents))
	for i, document := range documents {
		var v T
		if err := json.Unmarshal(document, &v); err != nil {
			return nil, fmt.Errorf("%w: its list cannot be read", apiclient.ErrNotAPI)
		}
		rows[i] = row(v)
	}
	return rows, nil
}
