package storetest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testPushed(t *testing.T, b Backend) {
	t.Run("pushed and read back", func(t *testing.T) { testPushRoundTrip(t, fresh(t, b)) })
	t.Run("deleted with their secret", func(t *testing.T) { testPushedDeleted(t, fresh(t, b)) })
	if !b.Unsealed {
		t.Run("a damaged row", func(t *testing.T) { testPushedDamaged(t, b) })
	}
}

// pushed are the values of a secret as texts.
func pushed(t *testing.T, s tokenstore.Store, ref realm.Ref) map[string]string {
	t.Helper()
	p, err := s.Pushed(t.Context(), ref)
	ok(t, err)
	texts := map[string]string{}
	for field, v := range p.Fields {
		texts[field] = v.Value.Reveal()
	}
	return texts
}

func push(t *testing.T, s tokenstore.Store, ref realm.Ref, field, value string, life time.Duration) tokenstore.PushedValue {
	t.Helper()
	v, err := s.Push(t.Context(), ref, field, realm.Hidden(value), life)
	ok(t, err)
	return v
}

func wantPushed(t *testing.T, s tokenstore.Store, ref realm.Ref, want map[string]string) {
	t.Helper()
	if got := pushed(t, s, ref); !maps.Equal(got, want) {
		t.Errorf("%s has %q, want %q", ref, got, want)
	}
}

// testPushRoundTrip: each field has its own value and end, whether the store has
// the secret or the Caddyfile, and the secret and its token stay as they are.
func testPushRoundTrip(t *testing.T, s tokenstore.Store) {
	ref, other := realm.Ref{Realm: "wx", Key: "main"}, realm.Ref{Realm: "wx", Key: "other"}
	wantPushed(t, s, ref, map[string]string{})
	saved := putSecret(t, s, ref, map[string]realm.Hidden{"ticket": "own"})
	stored, err := SaveToken(t.Context(), s, ref, token(1), 0)
	ok(t, err)

	forever := push(t, s, ref, "ticket", "t-1", 0)
	if !forever.ExpiresAt.IsZero() || forever.UpdatedAt.IsZero() {
		t.Errorf("without an end it is %+v", forever)
	}
	ends := push(t, s, ref, "suite", "s-1", time.Hour)
	if life := ends.ExpiresAt.Sub(ends.UpdatedAt); life != time.Hour {
		t.Errorf("it lives for %s", life)
	}
	push(t, s, other, "ticket", "of another", 0)
	wantPushed(t, s, ref, map[string]string{"ticket": "t-1", "suite": "s-1"})
	wantPushed(t, s, other, map[string]string{"ticket": "of another"})

	got, err := s.Pushed(t.Context(), ref)
	ok(t, err)
	if v := got.Fields["suite"]; !v.ExpiresAt.Equal(ends.ExpiresAt) || !v.UpdatedAt.Equal(ends.UpdatedAt) || v.HasEnded(got.Now) {
		t.Errorf("at %s it came back as %+v, pushed was %+v", got.Now, v, ends)
	}
	if v := got.Fields["suite"]; v.HasEnded(v.ExpiresAt.Add(-time.Microsecond)) || !v.HasEnded(v.ExpiresAt) || got.Fields["ticket"].HasEnded(got.Now.AddDate(9, 0, 0)) {
		t.Error("it ends at another time than it says")
	}
	push(t, s, ref, "ticket", "t-2", 1) // in the next nanosecond
	got, err = s.Pushed(t.Context(), ref)
	ok(t, err)
	if v := got.Fields["ticket"]; v.Value.Reveal() != "t-2" || v.ExpiresAt.IsZero() {
		t.Errorf("pushed again it is %+v", v)
	}
	wantPushed(t, s, ref, map[string]string{"ticket": "t-2", "suite": "s-1"})

	secret, err := s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, saved, secret)
	now, _, err := s.Token(t.Context(), ref)
	ok(t, err)
	if now != stored {
		t.Error("a push touched the token")
	}
}

// testPushedDeleted: what was pushed to a secret is not that of the next one
// with its key.
func testPushedDeleted(t *testing.T, s tokenstore.Store) {
	gone, stays, defined := realm.Ref{Realm: "wx", Key: "gone"}, realm.Ref{Realm: "wx", Key: "stays"}, realm.Ref{Realm: "file", Key: "main"}
	_, err := SaveRealm(t.Context(), s, realm.Realm{ID: "wx"})
	ok(t, err)
	for _, ref := range []realm.Ref{gone, stays} {
		putSecret(t, s, ref, nil)
		push(t, s, ref, "ticket", "1", 0)
	}
	push(t, s, defined, "ticket", "2", 0)
	ok(t, s.DeleteSecret(t.Context(), gone))
	wantPushed(t, s, gone, map[string]string{})
	wantPushed(t, s, stays, map[string]string{"ticket": "1"})
	putSecret(t, s, gone, nil)
	push(t, s, gone, "ticket", "3", 0)
	_, err = s.UpdateSecret(t.Context(), stays, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		return old, tokenstore.TokenChange{DropPushed: true}, nil
	})
	ok(t, err)
	wantPushed(t, s, stays, map[string]string{})
	push(t, s, stays, "ticket", "4", 0)
	ok(t, s.DeleteRealm(t.Context(), "wx", true))
	for _, ref := range []realm.Ref{gone, stays} {
		wantPushed(t, s, ref, map[string]string{})
	}
	wantPushed(t, s, defined, map[string]string{"ticket": "2"})

	// A realm without secrets leaves nothing behind either.
	_, err = SaveRealm(t.Context(), s, realm.Realm{ID: "file"})
	ok(t, err)
	ok(t, s.DeleteRealm(t.Context(), "file", false))
	wantPushed(t, s, defined, map[string]string{})

	// A secret that was the Caddyfile's is no secret of the store yet.
	push(t, s, defined, "ticket", "5", 0)
	putSecret(t, s, defined, nil)
	wantPushed(t, s, defined, map[string]string{})
}

// testPushedDamaged: a damaged row is named and not used, and the next push is
// good again.
func testPushedDamaged(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	ref := realm.Ref{Realm: "wx", Key: "main"}
	push(t, s, ref, "ticket", "1", 0)
	push(t, s, ref, "suite", "1", 0)
	for name, statement := range map[string]string{
		"its seal":    "UPDATE tokens_pushed SET seal = ?",
		"its version": "UPDATE tokens_pushed SET version = version + 1 WHERE ? <> ''",
	} {
		db.Alter(t, statement, []byte("short"))
		if _, err := s.Pushed(t.Context(), ref); !errors.Is(err, tokenstore.ErrDamaged) || tokenstore.IsUnavailable(err) {
			t.Errorf("%s: %v", name, err)
		}
		if found := damaged(t, s); !slices.Equal(found, []tokenstore.Damage{{Kind: "pushed", Realm: "wx", Key: "main"}}) {
			t.Errorf("%s: damaged are %v", name, found)
		}
		push(t, s, ref, "ticket", "2", 0)
		wantPushed(t, s, ref, map[string]string{"ticket": "2"})
		if found := damaged(t, s); len(found) != 0 {
			t.Errorf("%s: damaged are %v", name, found)
		}
	}
}
