// Command child makes one token request to the URL of its argument.
package main

import (
	"context"
	"os"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func main() {
	var r realm.Realm
	r.ID, r.Config.URL, r.Config.TokenPath = "x", os.Args[1], "t"
	program, err := grant.Compile(r, true)
	if err != nil {
		panic(err)
	}
	bound, err := program.Bind(realm.Secret{})
	if err != nil {
		panic(err)
	}
	if _, err := bound.Fetch(context.Background(), grant.NewClient(nil, nil), grant.Request{}); err != nil {
		panic(err)
	}
}
