package sqlstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// hostsOf tells what it was asked: a stand-in for catalog.HostsOf, which this
// package cannot import.
func hostsOf(r realm.Realm, s *realm.Secret) []string {
	if s == nil {
		return []string{"shared of " + r.Config.URL}
	}
	return []string{s.Fields["appid"].Reveal() + " at " + r.Config.URL + " with " + r.Config.Shared["x"].Reveal()}
}

// checkBindings: what is stored is bound to the hosts that its realm has. A
// secret whose realm is not in the database is bound to none.
func checkBindings(t *testing.T, s tokenstore.Store, schema byte) {
	t.Helper()
	n := fmt.Sprint(schema)
	ref := realm.Ref{Realm: "v" + n, Key: "main"}
	r, err := s.Realm(t.Context(), ref.Realm)
	if err != nil || !slices.Equal(r.SharedHosts, []string{"shared of https://token.example.com/t"}) {
		t.Errorf("realm: %q, %v", r.SharedHosts, err)
	}
	secret, err := s.Secret(t.Context(), ref)
	if err != nil || !slices.Equal(secret.Hosts, []string{"field-" + n + " at https://token.example.com/t with shared-" + n}) {
		t.Errorf("secret: %q, %v", secret.Hosts, err)
	}
	other, err := s.Secret(t.Context(), realm.Ref{Realm: "wx", Key: "closed"})
	if err != nil || other.Hosts == nil || len(other.Hosts) > 0 {
		t.Errorf("a secret of a realm that is not stored: %q, %v", other.Hosts, err)
	}
}

// TestUpgradeBinds: the secrets of a database of schema 5 had no hosts, so that
// nothing would have been sent after the upgrade. They are bound once.
func TestUpgradeBinds(t *testing.T) {
	for name, old := range oldDatabases(t, 5) {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			s := old.handle(sqlstore.WithLogger(zap.New(core)), sqlstore.WithHosts(hostsOf))
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkBindings(t, s, 5)
			checkWrittenBy(t, s, 5)
			checkRows(t, s)
			var want int64
			if err := old.db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tokens_secrets").Scan(&want); err != nil {
				t.Fatal(err)
			}
			lines := logs.FilterMessage("secrets bound to the hosts of their realms").All()
			if len(lines) != 1 || lines[0].ContextMap()["secrets"] != want || want == 0 {
				t.Errorf("the log says %v, want %d secrets", lines, want)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUpgradeFindsTwins: an id that the version before stored is found without
// regard to case. Two that were there already go on.
func TestUpgradeFindsTwins(t *testing.T) {
	for name, old := range oldDatabases(t, 4) {
		t.Run(name, func(t *testing.T) {
			s := old.handle()
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			save := func(id string) error {
				_, realms := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: id})
				_, secrets := s.UpdateSecret(t.Context(), realm.Ref{Realm: v4.Realm, Key: id}, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
					return old, tokenstore.TokenChange{}, nil
				})
				return errors.Join(realms, secrets)
			}
			twin := new(tokenstore.TwinError)
			if _, err := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: "V4"}); !errors.As(err, &twin) || twin.Other != "v4" {
				t.Fatalf("a twin of a realm of schema 4: %v", err)
			}
			_, err := s.UpdateSecret(t.Context(), realm.Ref{Realm: v4.Realm, Key: "MAIN"}, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
				return old, tokenstore.TokenChange{}, nil
			})
			if !errors.As(err, &twin) || twin.Other != "main" {
				t.Fatalf("a twin of a secret of schema 4: %v", err)
			}

			if err := save("pair"); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"realms", "secrets"} { // as they were before anybody looked
				execute(t, old.db, "UPDATE tokens_"+table+" SET folded = NULL")
			}
			if err := save("PAIR"); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"pair", "PAIR", "pair"} {
				if err := save(id); err != nil {
					t.Errorf("%s, which was there: %v", id, err)
				}
			}
		})
	}
}

// TestOldFormOfSharedFields: a node of the version before that still runs writes
// shared fields without hosts. They are read, whatever their names are, and sent
// nowhere.
func TestOldFormOfSharedFields(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{}`:                         {},
		`{"x":"y"}`:                  {"x": "y"},
		`{"fields":"f","hosts":"h"}`: {"fields": "f", "hosts": "h"},
		`{"fields":{"x":"y"}}`:       {"x": "y"}, // a secret's
	} {
		fields, hosts, err := sqlstore.ParseSealed([]byte(text))
		if err != nil || hosts != nil || len(fields) != len(want) {
			t.Errorf("%s: %v, %v, %v", text, fields, hosts, err)
		}
		for name, value := range want {
			if fields[name] != value {
				t.Errorf("%s: %s is %q", text, name, fields[name])
			}
		}
	}
	if _, _, err := sqlstore.ParseSealed([]byte(`{"fields":{"x":"y"},"other":"z"}`)); err == nil {
		t.Error("a form of no version is read")
	}
}
