package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// testClientIsSealed: nothing but the id is written down.
func testClientIsSealed(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	putClient(t, s, "visible-id", func(c *tokenstore.Client) {
		*c = tokenstore.Client{
			Comment: "hidden-comment", Rules: []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"hidden-realm"}}},
			Users: []string{"hidden-user"}, Subjects: []string{"hidden-subject"}, Sources: []string{"hidden-source"},
			Keys: []tokenstore.ClientKey{{Digest: tokenstore.KeyDigest([]byte("hidden-digest-of-a-key-32-bytes!"))}},
		}
	})
	// A shared cache that holds nothing would prove nothing.
	_, err := SaveToken(t.Context(), s, realm.Ref{Realm: "wx", Key: "main"}, token(1), 0)
	ok(t, err)
	_, _, err = s.Token(t.Context(), realm.Ref{Realm: "wx", Key: "main"})
	ok(t, err)
	ok(t, s.Close())
	raw := string(db.Raw(t))
	if !strings.Contains(raw, "visible-id") {
		t.Fatal("the id is not found: the search proves nothing")
	}
	if i := strings.Index(raw, "hidden-"); i >= 0 {
		t.Errorf("found in clear: %q", raw[i:min(i+20, len(raw))])
	}
}

// testSwappedClients: the seal of one client says nothing about another one.
func testSwappedClients(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	putClient(t, s, "admin", func(c *tokenstore.Client) { *c = sampleClient(1) })
	putClient(t, s, "guest", nil)
	db.Alter(t, "CREATE TABLE swapped AS SELECT * FROM tokens_clients")
	for _, ids := range [][2]string{{"admin", "guest"}, {"guest", "admin"}} {
		db.Alter(t, "UPDATE tokens_clients SET seal = (SELECT seal FROM swapped WHERE id = ?) WHERE id = ?", []byte(ids[0]), []byte(ids[1]))
	}
	list, required, err := s.Clients(t.Context())
	ok(t, err)
	same(t, []tokenstore.Client{{ID: "admin", Damaged: true}, {ID: "guest", Damaged: true}}, list)
	if !required {
		t.Error("clients are not required")
	}
	want := []tokenstore.Damage{{Kind: "client", Key: "admin"}, {Kind: "client", Key: "guest"}}
	if found := damaged(t, s); !slices.Equal(found, want) {
		t.Errorf("damaged: %v", found)
	}
	// What is damaged keeps its identities until it is deleted.
	if _, err := s.UpdateClient(t.Context(), "other", func(tokenstore.Client, bool) (tokenstore.Client, error) { return sampleClient(1), nil }); err == nil {
		t.Error("a damaged client's key was taken")
	}
	for _, id := range []string{"admin", "guest"} {
		ok(t, s.DeleteClient(t.Context(), id))
		putClient(t, s, id, nil)
	}
	putClient(t, s, "admin", func(c *tokenstore.Client) { *c = sampleClient(1) })
	if found := damaged(t, s); len(found) != 0 {
		t.Errorf("damaged after all was created again: %v", found)
	}
}

// testClientRotation: with a new key in front clients are sealed anew, with the
// note that they are required.
func testClientRotation(t *testing.T, b Backend) {
	const many = 210 // more than a batch
	db := b.Fresh(t)
	oldKey, newKey := Key(t), Key(t)
	s := Open(t, db.Handle(t, Ring(t, oldKey)))
	var want []tokenstore.Client
	for i := range many {
		want = append(want, putClient(t, s, fmt.Sprintf("client-%03d", i), func(c *tokenstore.Client) {
			*c = tokenstore.Client{Comment: fmt.Sprint(i), Keys: []tokenstore.ClientKey{{Digest: digestOf(i)}}}
		}))
	}
	ok(t, s.Close())
	s = Open(t, db.Handle(t, Ring(t, newKey, oldKey)))
	rotate(t, s)
	ok(t, s.Close())
	s = Open(t, db.Handle(t, Ring(t, newKey)))
	list, required, err := s.Clients(t.Context())
	ok(t, err)
	same(t, want, list)
	if found := damaged(t, s); len(found) != 0 || !required {
		t.Errorf("damaged %v, required %v", found, required)
	}
}

// testClientRowsDeleted: whoever deletes all clients by hand opens nothing, and
// keeps nobody from creating them again.
func testClientRowsDeleted(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	putClient(t, s, "a", func(c *tokenstore.Client) { *c = sampleClient(1) })
	db.Alter(t, "DELETE FROM tokens_clients")
	s = Open(t, db.Handle(t, ring))
	if ids, required := clients(t, s); ids != "" || !required {
		t.Errorf("clients %q, required %v", ids, required)
	}
	putClient(t, s, "b", func(c *tokenstore.Client) { *c = sampleClient(1) })
	putClient(t, s, "a", nil)
	if ids, _ := clients(t, s); ids != "a b" {
		t.Errorf("clients %q", ids)
	}
}

// testRequiredForEver: if it cannot be told whether there was a client, there
// was one. Only the state of one moment as a whole, put back before a node
// starts, is as good as it was then.
func testRequiredForEver(t *testing.T, b Backend) {
	head := []byte("head")
	secret := func(t *testing.T, s tokenstore.Store, n int) {
		t.Helper()
		for i := range n {
			putSecret(t, s, realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}, nil)
		}
	}
	for name, tamper := range map[string]func(t *testing.T, db Database, s tokenstore.Store){
		"the head is deleted": func(t *testing.T, db Database, _ tokenstore.Store) {
			db.Alter(t, "DELETE FROM tokens_registers WHERE name = ?", head)
		},
		"the head is damaged": func(t *testing.T, db Database, _ tokenstore.Store) {
			db.Alter(t, "UPDATE tokens_registers SET seal = ? WHERE name = ?", []byte("short"), head)
		},
		"an old head is put back": func(t *testing.T, db Database, s tokenstore.Store) {
			putBack := copyTable(t, db, "tokens_registers")
			putClient(t, s, "a", nil)
			db.Alter(t, "DELETE FROM tokens_clients")
			putBack(" WHERE name = ?", head)
		},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarted ", restarted), func(t *testing.T) {
				db, ring := b.Fresh(t), Ring(t)
				s := Open(t, db.Handle(t, ring))
				secret(t, s, 3)
				tamper(t, db, s)
				if restarted {
					ok(t, s.Close())
					s = Open(t, db.Handle(t, ring))
				}
				if _, required := clients(t, Open(t, db.Handle(t, ring))); !required {
					t.Error("a node that only reads does not require clients")
				}
				secret(t, s, 5) // a node that writes before it asks, and more than was lost
				if _, required := clients(t, s); !required {
					t.Error("the node that wrote does not require clients")
				}
				if _, required := clients(t, Open(t, db.Handle(t, ring))); !required {
					t.Error("another node does not require clients")
				}
			})
		}
	}
	t.Run("all registers are put back, and a client is left", func(t *testing.T) {
		db, ring := b.Fresh(t), Ring(t)
		s := Open(t, db.Handle(t, ring))
		putBack := copyTable(t, db, "tokens_registers")
		putClient(t, s, "a", nil)
		ok(t, s.Close())
		db.Alter(t, "DELETE FROM tokens_registers")
		putBack("")
		list, required, err := Open(t, db.Handle(t, ring)).Clients(t.Context())
		ok(t, err)
		same(t, []tokenstore.Client{{ID: "a", Damaged: true}}, list)
		if !required {
			t.Error("clients are not required")
		}
	})
	t.Run("all is put back while a node runs", func(t *testing.T) {
		db, ring := b.Fresh(t), Ring(t)
		s := Open(t, db.Handle(t, ring))
		secret(t, s, 3)
		putBack := copyTable(t, db, "tokens_registers")
		putClient(t, s, "a", nil)
		db.Alter(t, "DELETE FROM tokens_clients")
		db.Alter(t, "DELETE FROM tokens_registers")
		putBack("")
		if ids, required := clients(t, s); ids != "" || !required {
			t.Errorf("clients %q, required %v", ids, required)
		}
		ok(t, s.RequireClients(t.Context()))
		if _, required := clients(t, Open(t, db.Handle(t, ring))); !required {
			t.Error("another node does not require clients")
		}
	})
}
