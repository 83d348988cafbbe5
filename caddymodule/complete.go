package caddymodule

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

// completionPatience bounds what a person waits for after the tab key.
const completionPatience = time.Second

// completion lists what may stand in the place of an argument, given those before.
type completion func(ctx context.Context, c *apiclient.Client, before []string) ([]string, error)

// completeArgs completes the first arguments of a verb, one by one.
func completeArgs(api *apiFlags, each ...completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completed(cmd, api, each[len(args)], args)
	}
}

// completeRef completes a realm and a key of it.
func completeRef(api *apiFlags) cobra.CompletionFunc { return completeArgs(api, realmIDs, keysOfRealm) }

// completeFlag completes the value of a flag.
func completeFlag(cmd *cobra.Command, flag string, api *apiFlags, values completion) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completed(cmd, api, values, nil)
	})
}

// completed asks the API. Whatever is wrong, there is nothing to offer, and the
// line that is being typed stays as it is.
func completed(cmd *cobra.Command, api *apiFlags, values completion, before []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	c, err := api.connect(io.Discard)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	list, err := values(ctx, c, before)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var harmless []string
	for _, text := range list {
		if printable(text) == text {
			harmless = append(harmless, text)
		}
	}
	return harmless, cobra.ShellCompDirectiveNoFileComp
}

// namedItem is what completions read of the items of a list.
type namedItem struct{ ID, Key string }

// firstPage are the items of the first thousand of a list.
func firstPage(ctx context.Context, c *apiclient.Client, path string, query url.Values) ([]namedItem, error) {
	query.Set("pageSize", "1000")
	var page struct {
		Data struct{ List []namedItem }
	}
	err := c.JSON(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page)
	return page.Data.List, err
}

func realmIDs(ctx context.Context, c *apiclient.Client, _ []string) (ids []string, err error) {
	list, err := firstPage(ctx, c, "/api/realm", url.Values{})
	for _, item := range list {
		ids = append(ids, item.ID)
	}
	return ids, err
}

func clientIDs(ctx context.Context, c *apiclient.Client, _ []string) (ids []string, err error) {
	list, err := firstPage(ctx, c, clientCollection, url.Values{})
	for _, item := range list {
		ids = append(ids, item.ID)
	}
	return ids, err
}

func keysOfRealm(ctx context.Context, c *apiclient.Client, before []string) (keys []string, err error) {
	list, err := firstPage(ctx, c, "/api/secret", url.Values{"realm": {before[0]}})
	for _, item := range list {
		keys = append(keys, item.Key)
	}
	return keys, err
}
