package caddymodule

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestHangingMySQL: a server that takes connections and never answers is as
// good as one that cannot be reached. It does not stop a start.
func TestHangingMySQL(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := storeSettings{dsn: fmt.Sprintf("u:p@tcp(%s)/d", l.Addr()), keys: []realm.Hidden{realm.Hidden(newKey(t))}}
	store, _, err := s.store(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	a := &App{log: zap.NewNop(), remote: true, pool: broker.New(store, zap.NewNop(), nil)}
	defer func() { _ = a.pool.Destruct() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.open(ctx); err != nil {
		t.Error(err)
	}
}
