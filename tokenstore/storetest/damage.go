package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testDamage(t *testing.T, b Backend) {
	t.Run("one row of a list", func(t *testing.T) { testDamagedRow(t, b) })
}

// damaged are the rows that a store names.
func damaged(t *testing.T, s tokenstore.Store) []tokenstore.Damage {
	t.Helper()
	found, err := s.(tokenstore.DamageReporter).Damaged(t.Context())
	ok(t, err)
	return found
}

// testDamagedRow: one damaged realm or secret made every list an error.
func testDamagedRow(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	good, bad := realm.Ref{Realm: "good", Key: "main"}, realm.Ref{Realm: "bad", Key: "main"}
	for _, ref := range []realm.Ref{good, bad} {
		_, err := SaveRealm(t.Context(), s, sample(ref.Realm))
		ok(t, err)
		putSecret(t, s, ref, map[string]realm.Hidden{"x": "y"})
	}
	if found := damaged(t, s); len(found) != 0 {
		t.Fatalf("damaged before: %v", found)
	}
	db.Alter(t, "UPDATE tokens_realms SET shared = ? WHERE id = ?", []byte("short"), []byte("bad"))
	db.Alter(t, "UPDATE tokens_secrets SET fields = ? WHERE realm = ?", []byte("short"), []byte("bad"))

	page := tokenstore.Page{Number: 1, Size: 10}
	realms, total, err := s.Realms(t.Context(), page, "")
	ok(t, err)
	if len(realms) != 2 || total != 2 {
		t.Fatalf("%d realms of %d", len(realms), total)
	}
	for _, r := range realms {
		if wrong := r.ID == "bad"; r.Damaged != wrong || (r.Config.API == "") != wrong {
			t.Errorf("realm %s: damaged %v, api %q", r.ID, r.Damaged, r.Config.API)
		}
	}
	secrets, total, err := s.Secrets(t.Context(), page, "")
	ok(t, err)
	if len(secrets) != 2 || total != 2 {
		t.Fatalf("%d secrets of %d", len(secrets), total)
	}
	for _, secret := range secrets {
		if wrong := secret.Realm == "bad"; secret.Damaged != wrong || (len(secret.Fields) == 0) != wrong {
			t.Errorf("secret %s: damaged %v", secret.Ref, secret.Damaged)
		}
	}

	if _, err := s.Realm(t.Context(), "bad"); !errors.Is(err, tokenstore.ErrDamaged) || tokenstore.IsUnavailable(err) {
		t.Errorf("the damaged realm: %v", err)
	}
	if _, err := s.Secret(t.Context(), bad); !errors.Is(err, tokenstore.ErrDamaged) || tokenstore.IsUnavailable(err) {
		t.Errorf("the damaged secret: %v", err)
	}
	if _, err := s.Realm(t.Context(), "good"); err != nil {
		t.Errorf("the other realm: %v", err)
	}
	want := []tokenstore.Damage{{Kind: "realm", Realm: "bad"}, {Kind: "secret", Realm: "bad", Key: "main"}}
	if found := damaged(t, s); !slices.Equal(found, want) {
		t.Errorf("damaged: %v", found)
	}

	// What is damaged can be deleted and created again.
	ok(t, s.DeleteRealm(t.Context(), "bad", true))
	_, err = SaveRealm(t.Context(), s, sample("bad"))
	ok(t, err)
	putSecret(t, s, bad, map[string]realm.Hidden{"x": "z"})
	if found := damaged(t, s); len(found) != 0 {
		t.Errorf("damaged after all was created again: %v", found)
	}
}
