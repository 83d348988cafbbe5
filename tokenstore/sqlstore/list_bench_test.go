package sqlstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// BenchmarkLargeDatabase: what the console asks of a database with many realms and
// secrets. They are saved once; that takes a while.
func BenchmarkLargeDatabase(b *testing.B) {
	const realms, secrets = 1000, 10_000
	s := openSQLite(b, filepath.Join(b.TempDir(), "tokens.db"), keyring(b))
	for i := range realms {
		if _, err := s.UpdateRealm(b.Context(), fmt.Sprint("realm-", i), func(r realm.Realm, _ bool) (realm.Realm, error) {
			r.Comment = "one of many"
			return r, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range secrets {
		ref := realm.Ref{Realm: fmt.Sprint("realm-", i%realms), Key: fmt.Sprint("key-", i)}
		if _, err := s.UpdateSecret(b.Context(), ref, func(secret realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			secret.Fields = map[string]realm.Hidden{"appid": "wx0123456789", "appsecret": "0123456789abcdef0123456789abcdef"}
			return secret, tokenstore.TokenChange{Set: &realm.Token{Access: "0123456789abcdef0123456789abcdef"}}, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("damaged", func(b *testing.B) {
		for b.Loop() {
			s.ForgetDamage()
			if found, err := s.Damaged(b.Context()); err != nil || len(found) != 0 {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("1000 secrets", func(b *testing.B) {
		for b.Loop() {
			if list, _, err := s.Secrets(b.Context(), tokenstore.Page{Number: 1, Size: 1000}, tokenstore.SecretFilter{}); err != nil || len(list) != 1000 {
				b.Fatal(len(list), err)
			}
		}
	})
	b.Run("a page of realms of some", func(b *testing.B) {
		keep := tokenstore.RealmFilter{Keep: func(id string) bool { return len(id)%2 == 0 }}
		for b.Loop() {
			if list, _, err := s.Realms(b.Context(), tokenstore.Page{Number: 1, Size: 20}, keep); err != nil || len(list) != 20 {
				b.Fatal(len(list), err)
			}
		}
	})
}
