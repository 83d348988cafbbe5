// Package storetest is the one conformance suite of all stores: what a
// tokenstore.Store promises, as tests that run on real databases.
package storetest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Backend is one kind of store under test.
type Backend struct {
	// Fresh returns handles of one new, empty database.
	Fresh func(t *testing.T) Database
	// Shared says that several handles may be open at once and tell each
	// other what changed.
	Shared bool
	// Unsealed says that nothing is ever written down, so that nothing is
	// sealed: a fake within the process, for tests of those who use a store.
	Unsealed bool
}

// Database makes handles of one database. The handles are not open.
type Database struct {
	// Handle returns a new handle, with these keys.
	Handle func(t *testing.T, keys *tokenstore.Keyring) tokenstore.Store
	// Raw returns everything that the database has written down: its files,
	// or the answers of its server. All handles are closed.
	Raw func(t *testing.T) []byte
	// Swap exchanges what is sealed of two secrets, and of their tokens, pushed
	// values and claims.
	Swap func(t *testing.T, a, b realm.Ref)
	// Alter runs a statement on the database, as somebody would who can write
	// it and does not have the key.
	Alter func(t *testing.T, statement string, args ...any)
	// SwapStates exchanges everything else of two authorizations.
	SwapStates func(t *testing.T, a, b tokenstore.StateHash)
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	t.Run("realms", func(t *testing.T) { testRealms(t, b) })
	t.Run("secrets", func(t *testing.T) { testSecrets(t, b) })
	t.Run("pushed", func(t *testing.T) { testPushed(t, b) })
	t.Run("twins", func(t *testing.T) { testTwins(t, b) })
	t.Run("tokens", func(t *testing.T) { testTokens(t, b) })
	if !b.Unsealed {
		t.Run("sealing", func(t *testing.T) { testSealing(t, b) })
		t.Run("damage", func(t *testing.T) { testDamage(t, b) })
		t.Run("audit", func(t *testing.T) { testAudit(t, b) })
		t.Run("sessions", func(t *testing.T) { testSessions(t, b) })
	}
	t.Run("coordinate", func(t *testing.T) { testCoordinate(t, b) })
	t.Run("authorizations", func(t *testing.T) { testAuthorizations(t, b) })
	t.Run("companies", func(t *testing.T) { testCompanies(t, b) })
	t.Run("clients", func(t *testing.T) { testClients(t, b) })
	t.Run("concurrency", func(t *testing.T) { testConcurrency(t, b) })
	if b.Shared {
		t.Run("changes", func(t *testing.T) { testChanges(t, b) })
	}
}

// Key is a new encryption key.
func Key(tb testing.TB) realm.Hidden {
	tb.Helper()
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		tb.Fatal(err)
	}
	return realm.Hidden(base64.StdEncoding.EncodeToString(raw))
}

// Ring is a keyring of these keys, or of a new one.
func Ring(tb testing.TB, keys ...realm.Hidden) *tokenstore.Keyring {
	tb.Helper()
	if len(keys) == 0 {
		keys = []realm.Hidden{Key(tb)}
	}
	ring, err := tokenstore.NewKeyring(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

// Open opens a handle and closes it when the test ends.
func Open(t *testing.T, s tokenstore.Store) tokenstore.Store {
	t.Helper()
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh is an open handle of a new database.
func fresh(t *testing.T, b Backend) tokenstore.Store {
	t.Helper()
	return Open(t, b.Fresh(t).Handle(t, Ring(t)))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// putSecret sets the fields of a secret.
func putSecret(t *testing.T, s tokenstore.Store, ref realm.Ref, fields map[string]realm.Hidden) realm.Secret {
	t.Helper()
	saved, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		old.Fields = fields
		return old, tokenstore.TokenChange{}, nil
	})
	ok(t, err)
	return saved
}

// token is a token that lives for an hour; n tells it from others.
// kept is what is kept with token n.
func kept(n int) realm.Kept {
	return realm.KeptOf(map[string]string{"answer.instance_url": fmt.Sprintf("https://instance-%d.example", n), "callback.id": fmt.Sprint(n)})
}

func token(n int) realm.Token {
	issued := time.Now().UTC().Truncate(time.Microsecond)
	return realm.Token{
		Access: realm.Hidden(fmt.Sprintf("access-%d", n)), ExpiresAt: issued.Add(time.Hour), IssuedAt: issued,
		Refresh: realm.Hidden(fmt.Sprintf("refresh-%d", n)), RefreshExpiresAt: issued.Add(48 * time.Hour),
		Fingerprint: realm.Fingerprint{byte(n), 1, 2, 3}, Kept: kept(n),
	}
}
