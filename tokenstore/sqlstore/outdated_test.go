package sqlstore_test

import (
	"database/sql"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// operations are all that a node does with a store, but for RequireClients, which
// needs nothing but the registers.
func operations(t *testing.T, s tokenstore.Database) map[string]func() error {
	ctx, page := t.Context(), tokenstore.Page{Number: 1, Size: 10}
	return map[string]func() error{
		"realm":  func() error { _, err := s.Realm(ctx, "wx"); return err },
		"realms": func() error { _, _, err := s.Realms(ctx, page, tokenstore.RealmFilter{}); return err },
		"update realm": func() error {
			_, err := s.UpdateRealm(ctx, "wx", func(r realm.Realm, _ bool) (realm.Realm, error) { return r, nil })
			return err
		},
		"delete realm": func() error { return s.DeleteRealm(ctx, "wx", true) },
		"secret":       func() error { _, err := s.Secret(ctx, ref); return err },
		"secrets":      func() error { _, _, err := s.Secrets(ctx, page, tokenstore.SecretFilter{}); return err },
		"update secret": func() error {
			_, err := s.UpdateSecret(ctx, ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
				return old, tokenstore.TokenChange{}, nil
			})
			return err
		},
		"delete secret": func() error { return s.DeleteSecret(ctx, ref) },
		"token":         func() error { _, _, err := s.Token(ctx, ref); return err },
		"lineages":      func() error { _, err := s.Lineages(ctx, ref); return err },
		"coordinate": func() error {
			_, err := s.Coordinate(ctx, ref, func(*tokenstore.State) error { return nil })
			return err
		},
		"peek":                func() error { _, err := s.Peek(ctx, ref); return err },
		"once":                func() error { _, err := s.Once(ctx, "nightly", time.Now()); return err },
		"begin authorization": func() error { return s.BeginAuthorization(ctx, tokenstore.Authorization{Ref: ref}, time.Minute) },
		"take authorization": func() error {
			_, err := s.TakeAuthorization(ctx, tokenstore.StateHash{})
			return err
		},
		"company":   func() error { _, err := s.Company(ctx, "9131"); return err },
		"companies": func() error { _, _, err := s.Companies(ctx, page, ""); return err },
		"update company": func() error {
			_, err := s.UpdateCompany(ctx, "9131", func(c tokenstore.Company, _ bool) (tokenstore.Company, error) { return c, nil })
			return err
		},
		"delete company": func() error { return s.DeleteCompany(ctx, "9131") },
		"client":         func() error { _, err := s.Client(ctx, "a"); return err },
		"clients":        func() error { _, _, err := s.Clients(ctx); return err },
		"update client": func() error {
			_, err := s.UpdateClient(ctx, "a", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) { return c, nil })
			return err
		},
		"delete client": func() error { return s.DeleteClient(ctx, "a") },
		"clients used":  func() error { return s.ClientsUsed(ctx, map[string]time.Time{"a": time.Now()}) },
		"rotate keys":   func() error { _, err := s.RotateKeys(ctx, ignore); return err },
		"back up":       func() error { return s.Backup(ctx, io.Discard) },
	}
}

// TestNewerSchemaWhileRunning: a node that still runs when a newer program has
// migrated the database is told the reason by whatever it does. It was told
// that a table was missing.
func TestNewerSchemaWhileRunning(t *testing.T) {
	path, m := filepath.Join(t.TempDir(), "tokens.db"), testserver.MariaDB(t)
	shared := openMySQL(t, m.DSN())
	for name, c := range map[string]struct {
		store tokenstore.Database
		db    *sql.DB
		more  map[string]func() error
	}{
		"sqlite": {openSQLite(t, path, keyring(t)), plainDB(t, path), nil},
		"mariadb": {shared, plainMySQL(t, m), map[string]func() error{
			"changes": func() error { _, _, err := shared.Changes(t.Context(), ""); return err },
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, table := range []string{"realms", "secrets", "tokens", "claims", "budgets", "runs", "authorizations", "companies", "clients"} {
				execute(t, c.db, "ALTER TABLE tokens_"+table+" RENAME TO tokens_newer_"+table)
			}
			if c.more != nil {
				execute(t, c.db, "ALTER TABLE tokens_changes RENAME TO tokens_newer_changes")
			}
			all := operations(t, c.store)
			for name, do := range c.more {
				all[name] = do
			}
			// Broken by somebody's hand, not by a newer program.
			for name, do := range all {
				if err := do(); !errors.Is(err, tokenstore.ErrUnavailable) || errors.Is(err, sqlstore.ErrNewerSchema) {
					t.Errorf("%s: %v", name, err)
				}
			}
			execute(t, c.db, "INSERT INTO tokens_schema (version) VALUES (99)")
			for name, do := range all {
				err := do()
				if !errors.Is(err, tokenstore.ErrUnavailable) || !errors.Is(err, sqlstore.ErrNewerSchema) || !strings.Contains(err.Error(), "its schema is 99") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
