package sqlstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// BenchmarkCoordinate is what the nodes' agreement adds to a fetch: a claim,
// and the saving of what was fetched. append+fsync is what the disk takes for
// the smallest durable write.
func BenchmarkCoordinate(b *testing.B) {
	dir := b.TempDir()
	b.Run("append+fsync", func(b *testing.B) { benchSync(b, filepath.Join(dir, "file")) })
	b.Run("sqlite", func(b *testing.B) { benchCoordinate(b, openSQLite(b, filepath.Join(dir, "tokens.db"), keyring(b))) })
	b.Run("mariadb", func(b *testing.B) {
		s, err := sqlstore.MySQL(testserver.MariaDB(b).DSN(), keyring(b))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		if err := s.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		benchCoordinate(b, s)
	})
}

func benchCoordinate(b *testing.B, s tokenstore.Store) {
	coordinate := func(b *testing.B, alter func(st *tokenstore.State)) {
		if _, err := s.Coordinate(b.Context(), ref, func(st *tokenstore.State) error { alter(st); return nil }); err != nil {
			b.Fatal(err)
		}
	}
	claim := func(st *tokenstore.State) {
		st.Claim.ID, st.Claim.Started, st.Claim.Deadline = tokenstore.NewCallID(), st.Now, st.Now.Add(time.Minute)
		st.Claim.Rejected.Digest = realm.Digest{1}
		st.Budget.Windows = []tokenstore.Spending{{Per: time.Hour, Calls: []tokenstore.Calls{{First: st.Now, Last: st.Now, N: 1}}}}
	}
	save := func(st *tokenstore.State) {
		st.Save = &realm.Token{Access: realm.Hidden(fmt.Sprint(st.Now)), ExpiresAt: st.Now.Add(time.Hour)}
		st.Claim.ID = tokenstore.CallID{}
	}
	b.Run("claim", func(b *testing.B) {
		for b.Loop() {
			coordinate(b, claim)
		}
	})
	b.Run("claim and save", func(b *testing.B) {
		for b.Loop() {
			coordinate(b, claim)
			coordinate(b, save)
		}
	})
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			coordinate(b, func(*tokenstore.State) {})
		}
	})
	b.Run("peek", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Peek(b.Context(), ref); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save token", func(b *testing.B) { // the smallest write of before
		for b.Loop() {
			t, _, _ := s.Token(b.Context(), ref)
			if _, err := storetest.SaveToken(b.Context(), s, ref, realm.Token{Access: "a"}, t.Lineage); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchSync(b *testing.B, path string) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for b.Loop() {
		if _, err := f.WriteString("x"); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
