package sqlstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// BenchmarkAudit is what the audit adds to a change, and how many entries
// without a change can be written by one caller and by many. What bounds it is
// the disk's fsync: BenchmarkCoordinate/append+fsync.
func BenchmarkAudit(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		benchAudit(b, openSQLite(b, filepath.Join(b.TempDir(), "tokens.db"), keyring(b)))
	})
	b.Run("mariadb", func(b *testing.B) {
		s, err := sqlstore.MySQL(testserver.MariaDB(b).DSN(), keyring(b))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		if err := s.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		benchAudit(b, s)
	})
}

func benchAudit(b *testing.B, s tokenstore.Store) {
	entry := tokenstore.AuditEntry{ActorKind: "client", ActorID: "billing", Address: "192.0.2.1", Act: "secret.update", Result: tokenstore.AuditOK}
	var n atomic.Int64
	change := func(ctx context.Context, b *testing.B) {
		ref := realm.Ref{Realm: "wx", Key: fmt.Sprint(n.Add(1) % 500)}
		_, err := s.UpdateSecret(ctx, ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			old.Fields = map[string]realm.Hidden{"appid": "x"}
			return old, tokenstore.TokenChange{}, nil
		})
		if err != nil {
			b.Error(err)
		}
	}
	read := func(b *testing.B) {
		e := entry
		if err := s.AppendAudit(b.Context(), &e); err != nil {
			b.Error(err)
		}
	}
	b.Run("change", func(b *testing.B) {
		for b.Loop() {
			change(b.Context(), b)
		}
	})
	b.Run("audited change", func(b *testing.B) {
		ctx := tokenstore.WithAudit(b.Context(), entry)
		for b.Loop() {
			change(ctx, b)
		}
	})
	b.Run("audited changes of many", func(b *testing.B) {
		ctx := tokenstore.WithAudit(b.Context(), entry)
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				change(ctx, b)
			}
		})
	})
	b.Run("entry", func(b *testing.B) {
		for b.Loop() {
			read(b)
		}
	})
	b.Run("entries of many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				read(b)
			}
		})
	})
}
