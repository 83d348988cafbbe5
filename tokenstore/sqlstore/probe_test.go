package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// A database that cannot be written counted as well, because it could be read.
func TestHealthOfADatabaseThatCannotBeWritten(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t))
		wantWritable(t, s, true)
		lift := testserver.LimitFiles(t, 0, 1)
		failed := s.ProbeWrite(t.Context())
		health, err := healthOf(t, s), s.Ping(t.Context())
		lift() // nothing can be logged before
		if err != nil {
			t.Fatalf("it cannot be read either, so that the test proves nothing: %v", err)
		}
		if !tokenstore.IsUnavailable(failed) || health.OK {
			t.Errorf("on a full disk: %v, %v", failed, health)
		}
		wantWritable(t, s, true)
	})
	t.Run("mysql", func(t *testing.T) {
		m := testserver.MariaDB(t)
		s := openMySQL(t, m.DSN())
		wantWritable(t, s.Store, true)
		m.ReadOnly(t, true)
		wantWritable(t, s.Store, false)
		m.ReadOnly(t, false)
		wantWritable(t, s.Store, true)
	})
}

// A probe changes nothing that another node or a reader would see.
func TestProbeWriteLeavesNothing(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN())
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wantWritable(t, s.Store, true)
	}
	saveSecret(t, s, map[string]realm.Hidden{"x": "y"})
	changes, _, err := s.Changes(t.Context(), cursor)
	if err != nil || len(changes) != 1 || changes[0].Ref != ref {
		t.Errorf("%v, %v", changes, err)
	}
}

func healthOf(t *testing.T, s *sqlstore.Store) tokenstore.Health {
	t.Helper()
	levels := s.Health(t.Context())
	if len(levels) != 1 {
		t.Fatal(levels)
	}
	return levels[0]
}

func wantWritable(t *testing.T, s *sqlstore.Store, want bool) {
	t.Helper()
	err, health := s.ProbeWrite(t.Context()), healthOf(t, s)
	if (err == nil) != want || health.OK != want || !want && !tokenstore.IsUnavailable(err) {
		t.Errorf("%v, %v, not %v", err, health, want)
	}
}
