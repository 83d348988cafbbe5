package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testTwins(t *testing.T, b Backend) {
	t.Run("refused", func(t *testing.T) { testTwinsRefused(t, fresh(t, b)) })
	t.Run("created at once", func(t *testing.T) { testTwinsAtOnce(t, b) })
}

// twins are ids that equal the first but for case: of ASCII, of other scripts,
// and where the other case is of another length in UTF-8.
var twins = [][]string{
	{"Main", "main", "MAIN", "mAIN"},
	{"é", "É"},
	{"ключ", "КЛЮЧ", "Ключ"},
	{"k", "K", "\u212a"}, // Kelvin
	{"σ", "ς", "Σ"},
	{"\u01c5", "\u01c4", "\u01c6"}, // DŽ, dž and the one in title case
}

// strangers are ids that look alike and are none: nothing is folded but case.
var strangers = []string{"straße", "STRASSE", "İ", "i", "ı", "e\u0301", "é", "a", "а"}

func saveSecret(t *testing.T, s tokenstore.Store, ref realm.Ref) error {
	t.Helper()
	_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		return old, tokenstore.TokenChange{}, nil
	})
	return err
}

func isTwinOf(err error, other string) bool {
	twin := new(tokenstore.TwinError)
	return errors.As(err, &twin) && twin.Other == other
}

func testTwinsRefused(t *testing.T, s tokenstore.Store) {
	for _, ids := range twins {
		first := ids[0]
		_, err := SaveRealm(t.Context(), s, sample(first))
		ok(t, err)
		ok(t, saveSecret(t, s, realm.Ref{Realm: "r", Key: first}))
		for _, id := range ids[1:] {
			if _, err := SaveRealm(t.Context(), s, sample(id)); !isTwinOf(err, first) {
				t.Errorf("realm %q beside %q: %v", id, first, err)
			}
			if err := saveSecret(t, s, realm.Ref{Realm: "r", Key: id}); !isTwinOf(err, first) {
				t.Errorf("secret %q beside %q: %v", id, first, err)
			}
			ok(t, saveSecret(t, s, realm.Ref{Realm: "in " + id, Key: id})) // of another realm
			if _, err := s.Realm(t.Context(), id); !errors.Is(err, tokenstore.ErrRealmNotFound) {
				t.Errorf("realm %q: %v", id, err)
			}
			if _, err := s.Secret(t.Context(), realm.Ref{Realm: "r", Key: id}); !errors.Is(err, tokenstore.ErrSecretNotFound) {
				t.Errorf("secret %q: %v", id, err)
			}
		}
		_, err = SaveRealm(t.Context(), s, sample(first)) // is no twin of itself
		ok(t, err)
		ok(t, saveSecret(t, s, realm.Ref{Realm: "r", Key: first}))
		// Once it is gone, another one may have the name.
		ok(t, s.DeleteRealm(t.Context(), first, false))
		ok(t, s.DeleteSecret(t.Context(), realm.Ref{Realm: "r", Key: first}))
		_, err = SaveRealm(t.Context(), s, sample(ids[1]))
		ok(t, err)
		ok(t, saveSecret(t, s, realm.Ref{Realm: "r", Key: ids[1]}))
		ok(t, s.DeleteRealm(t.Context(), ids[1], false))
		ok(t, s.DeleteSecret(t.Context(), realm.Ref{Realm: "r", Key: ids[1]}))
	}
	for _, id := range strangers {
		_, err := SaveRealm(t.Context(), s, sample(id))
		ok(t, err)
		ok(t, saveSecret(t, s, realm.Ref{Realm: "r", Key: id}))
	}
}

// testTwinsAtOnce: of two nodes that create ids which differ in case only, one
// wins, every time.
func testTwinsAtOnce(t *testing.T, b Backend) {
	stores := handles(t, b)
	for round := range 20 {
		names := []string{fmt.Sprint("Main", round), fmt.Sprint("main", round)}
		var realms, secrets [2]error
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i, name := range names {
			wg.Go(func() {
				<-start
				_, realms[i] = SaveRealm(t.Context(), stores[i], sample(name))
			})
			wg.Go(func() {
				<-start
				secrets[i] = saveSecret(t, stores[i], realm.Ref{Realm: "r", Key: name})
			})
		}
		close(start)
		wg.Wait()
		for what, errs := range map[string][2]error{"realms": realms, "secrets": secrets} {
			first := errs[0] == nil && isTwinOf(errs[1], names[0])
			second := errs[1] == nil && isTwinOf(errs[0], names[1])
			if !first && !second {
				t.Fatalf("%s, round %d: %v; %v", what, round, errs[0], errs[1])
			}
		}
	}
}
