// Package edge is the store of an instance that has none: it takes the tokens of
// another instance, by the HTTP API of that one (tokenstore.Upstream). Nothing is
// written to a disk, and nothing can be changed.
//
//   - url.go: where the other instance is. The key goes there and nowhere else.
//   - client.go: one request to it, and what its refusals mean.
//   - token.go, realm.go: what is asked. watch.go: what is heard.
//   - store.go: what a store has and an edge has not.
//   - clock.go: the clock by which the tokens of an edge end.
package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Config says where the other instance is.
type Config struct {
	// URL is the address of its token_admin, see ParseURL.
	URL *url.URL
	// Key is that of a client of it.
	Key realm.Hidden
	Log *zap.Logger
}

// Store is another instance, as a store.
type Store struct {
	base   *url.URL
	key    realm.Hidden
	log    *zap.Logger
	client *http.Client
}

// New makes the store. Nothing is sent yet.
func New(c Config) *Store {
	return &Store{base: c.URL, key: c.Key, log: c.Log, client: newClient(c.URL)}
}

// Format is the host, for every verb: fmt would print the key in clear, because it
// cannot call the methods of an unexported field.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "upstream "+s.base.Host) }

// Open implements tokenstore.Store. An edge that starts before the other instance
// does, or while that is away, asks it later.
func (*Store) Open(context.Context) error { return nil }

// Close implements tokenstore.Store.
func (s *Store) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Interface guards
var (
	_ tokenstore.Store    = (*Store)(nil)
	_ tokenstore.Upstream = (*Store)(nil)
)
