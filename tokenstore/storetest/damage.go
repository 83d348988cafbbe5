package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testDamage(t *testing.T, b Backend) {
	t.Run("one row of a list", func(t *testing.T) { testDamagedRow(t, b) })
	t.Run("columns in clear", func(t *testing.T) { testColumns(t, b) })
	t.Run("old rows put back", func(t *testing.T) { testReplay(t, b) })
	t.Run("old registers put back", func(t *testing.T) { testOldRegisters(t, b) })
	t.Run("lost registers", func(t *testing.T) { testLostRegisters(t, b) })
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
	db.Alter(t, "UPDATE tokens_realms SET seal = ? WHERE id = ?", []byte("short"), []byte("bad"))
	db.Alter(t, "UPDATE tokens_secrets SET seal = ? WHERE realm = ?", []byte("short"), []byte("bad"))

	page := tokenstore.Page{Number: 1, Size: 10}
	realms, total, err := s.Realms(t.Context(), page, tokenstore.RealmFilter{})
	ok(t, err)
	if len(realms) != 2 || total != 2 {
		t.Fatalf("%d realms of %d", len(realms), total)
	}
	for _, r := range realms {
		if wrong := r.ID == "bad"; r.Damaged != wrong || (r.Config.API == "") != wrong {
			t.Errorf("realm %s: damaged %v, api %q", r.ID, r.Damaged, r.Config.API)
		}
	}
	secrets, total, err := s.Secrets(t.Context(), page, tokenstore.SecretFilter{})
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

// damageable is one thing of each kind, whose rows all differ in their columns.
type damageable struct {
	s   tokenstore.Store
	ref realm.Ref
}

// newDamageable saves everything about a (realm, key), twice, so that its times
// differ. The company and the client have the id of the realm.
func newDamageable(t *testing.T, s tokenstore.Store, id string) damageable {
	t.Helper()
	d := damageable{s, realm.Ref{Realm: id, Key: "main"}}
	for range 2 {
		d.saveRealm(t, "https://api.example.com")
		d.saveSecret(t, "right")
		d.push(t, "right")
		d.saveCompany(t, "right")
		d.saveClient(t, "right")
	}
	coordinate(t, s, d.ref, func(st *tokenstore.State) {
		child := token(1)
		child.IssuedAt = child.IssuedAt.Add(-time.Minute)
		st.Save, st.Claim.Phase, st.Claim.Deadline, st.Budget.Failure.Count = &child, tokenstore.PhaseCalling, st.Now.Add(time.Minute), 1
	})
	return d
}

func (d damageable) saveRealm(t *testing.T, api string) {
	t.Helper()
	r := sample(d.ref.Realm)
	r.LogicCode, r.Config.API = "https://logic.example.com", api
	_, err := SaveRealm(t.Context(), d.s, r)
	ok(t, err)
}

func (d damageable) saveSecret(t *testing.T, value realm.Hidden) {
	t.Helper()
	putSecret(t, d.s, d.ref, map[string]realm.Hidden{"x": value})
}

func (d damageable) push(t *testing.T, value realm.Hidden) {
	t.Helper()
	_, err := d.s.Push(t.Context(), d.ref, "ticket", value, time.Hour)
	ok(t, err)
}

func (d damageable) saveCompany(t *testing.T, key string) {
	t.Helper()
	putCompany(t, d.s, d.ref.Realm, func(c *tokenstore.Company) {
		c.Name, c.Phone, c.RegisteredAddress, c.BankName, c.BankAccount = "a", "b", "c", "d", "e"
		c.Accounts = map[string]string{"jd": key}
	})
}

func (d damageable) saveClient(t *testing.T, realmID string) {
	t.Helper()
	putClient(t, d.s, d.ref.Realm, func(c *tokenstore.Client) {
		c.Rules = []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{realmID}}}
	})
}

// read reads the row of a kind.
func (d damageable) read(ctx context.Context, kind string) error {
	var err error
	switch kind {
	case "realm":
		_, err = d.s.Realm(ctx, d.ref.Realm)
	case "secret":
		_, err = d.s.Secret(ctx, d.ref)
	case "token":
		_, _, err = d.s.Token(ctx, d.ref)
	case "pushed":
		_, err = d.s.Pushed(ctx, d.ref)
	case "claim", "budget":
		_, err = d.s.Peek(ctx, d.ref)
	case "company":
		_, err = d.s.Company(ctx, d.ref.Realm)
	case "client":
		_, err = d.s.Client(ctx, d.ref.Realm)
	}
	return err
}

// damage names the row of a kind.
func (d damageable) damage(kind string) tokenstore.Damage {
	switch kind {
	case "realm", "budget":
		return tokenstore.Damage{Kind: kind, Realm: d.ref.Realm}
	case "company", "client":
		return tokenstore.Damage{Kind: kind, Key: d.ref.Realm}
	}
	return tokenstore.Damage{Kind: kind, Realm: d.ref.Realm, Key: d.ref.Key}
}

// wantDamaged expects the row of a kind to be damaged, to be named, and to be no
// reason for an update to go on from it.
func (d damageable) wantDamaged(t *testing.T, kind string) {
	t.Helper()
	if err := d.read(t.Context(), kind); !errors.Is(err, tokenstore.ErrDamaged) || tokenstore.IsUnavailable(err) {
		t.Errorf("read: %v", err)
	}
	if found := damaged(t, d.s); !slices.Contains(found, d.damage(kind)) {
		t.Errorf("the damaged rows are %v", found)
	}
	var err error
	switch kind {
	case "pushed":
		return // the next push counts, whatever was there
	case "realm":
		_, err = SaveRealm(t.Context(), d.s, sample(d.ref.Realm))
	case "secret", "token":
		err = DropToken(t.Context(), d.s, d.ref)
	case "claim", "budget":
		_, err = d.s.Coordinate(t.Context(), d.ref, func(*tokenstore.State) error { return nil })
	case "company":
		_, err = d.s.UpdateCompany(t.Context(), d.ref.Realm, func(c tokenstore.Company, _ bool) (tokenstore.Company, error) { return c, nil })
	case "client":
		_, err = d.s.UpdateClient(t.Context(), d.ref.Realm, func(c tokenstore.Client, _ bool) (tokenstore.Client, error) { return c, nil })
	}
	if !errors.Is(err, tokenstore.ErrDamaged) {
		t.Errorf("update: %v", err)
	}
}

// testColumns: who can write the database without the key could rewrite where a
// secret is sent, how long a token lives and whose an account is.
func testColumns(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	untouched := newDamageable(t, s, "untouched")
	byRealm, byID, byTaxpayer := " WHERE realm = ?", " WHERE id = ?", " WHERE taxpayer_id = ?"
	for i, c := range []struct{ kind, change, where string }{
		{"realm", "tokens_realms SET config = '{\"api\":\"https://evil.example\"}'", byID},
		{"realm", "tokens_realms SET logic_code = 'https://evil.example'", byID},
		{"realm", "tokens_realms SET comment = 'another'", byID},
		{"realm", "tokens_realms SET created_at = updated_at", byID},
		{"realm", "tokens_realms SET updated_at = created_at", byID},
		{"realm", "tokens_realms SET version = version + 1", byID},
		{"secret", "tokens_secrets SET created_at = updated_at", byRealm},
		{"secret", "tokens_secrets SET updated_at = created_at", byRealm},
		{"secret", "tokens_secrets SET version = version + 1", byRealm},
		{"token", "tokens_tokens SET issued_at = expires_at", byRealm},
		{"token", "tokens_tokens SET expires_at = refresh_expires_at", byRealm},
		{"token", "tokens_tokens SET expires_at = NULL", byRealm},
		{"token", "tokens_tokens SET refresh_expires_at = NULL", byRealm},
		{"token", "tokens_tokens SET lineage = lineage + 1", byRealm},
		{"pushed", "tokens_pushed SET updated_at = (SELECT created_at FROM tokens_realms WHERE id = realm)", byRealm},
		{"pushed", "tokens_pushed SET version = version + 1", byRealm},
		{"claim", "tokens_claims SET state = '{}'", byRealm},
		{"claim", "tokens_claims SET state = REPLACE(state, 'calling', 'none')", byRealm},
		{"claim", "tokens_claims SET deadline = NULL", byRealm},
		{"claim", "tokens_claims SET seal = NULL, key_id = NULL", byRealm},
		{"budget", "tokens_budgets SET state = '{\"failure\":{\"count\":9}}'", byRealm},
		{"budget", "tokens_budgets SET seal = NULL, key_id = NULL", byRealm},
		{"company", "tokens_companies SET accounts = '{\"jd\":\"another\"}'", byTaxpayer},
		{"company", "tokens_companies SET company_name = 'another'", byTaxpayer},
		{"company", "tokens_companies SET company_phone = 'another'", byTaxpayer},
		{"company", "tokens_companies SET company_registered_address = 'another'", byTaxpayer},
		{"company", "tokens_companies SET bank_name = 'another'", byTaxpayer},
		{"company", "tokens_companies SET bank_account = 'another'", byTaxpayer},
		{"company", "tokens_companies SET created_at = updated_at", byTaxpayer},
		{"company", "tokens_companies SET seal = NULL, key_id = NULL", byTaxpayer},
		{"client", "tokens_clients SET created_at = updated_at", byID},
		{"client", "tokens_clients SET updated_at = created_at", byID},
		{"client", "tokens_clients SET version = version + 1", byID},
	} {
		t.Run(c.kind+" "+c.change, func(t *testing.T) {
			d := newDamageable(t, s, fmt.Sprint("altered-", i))
			if err := d.read(t.Context(), c.kind); err != nil {
				t.Fatal(err)
			}
			db.Alter(t, "UPDATE "+c.change+c.where, []byte(d.ref.Realm))
			d.wantDamaged(t, c.kind)
			for _, kind := range []string{"realm", "secret", "token", "pushed", "claim", "budget", "company", "client"} {
				if err := untouched.read(t.Context(), kind); err != nil {
					t.Errorf("%s of another realm: %v", kind, err)
				}
			}
		})
	}
}

// copyTable copies a table, of which a test puts back some rows.
func copyTable(t *testing.T, db Database, table string) (putBack func(where string, args ...any)) {
	t.Helper()
	copied := fmt.Sprintf("copied_%d", time.Now().UnixNano())
	db.Alter(t, "CREATE TABLE "+copied+" AS SELECT * FROM "+table)
	return func(where string, args ...any) {
		t.Helper()
		db.Alter(t, "REPLACE INTO "+table+" SELECT * FROM "+copied+where, args...)
	}
}

// testReplay: an old row was as good as a new one, and a deleted row could be
// put back.
func testReplay(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	for _, c := range []struct {
		kind, table, where string
		save               func(d damageable, t *testing.T, value string)
		remove             func(ctx context.Context, d damageable) error
	}{
		{
			"realm", "tokens_realms", " WHERE id = ?",
			func(d damageable, t *testing.T, value string) { d.saveRealm(t, "https://"+value+".example.com") },
			func(ctx context.Context, d damageable) error { return d.s.DeleteRealm(ctx, d.ref.Realm, true) },
		},
		{
			"secret", "tokens_secrets", " WHERE realm = ?",
			func(d damageable, t *testing.T, value string) { d.saveSecret(t, realm.Hidden(value)) },
			func(ctx context.Context, d damageable) error { return d.s.DeleteSecret(ctx, d.ref) },
		},
		{
			"pushed", "tokens_pushed", " WHERE realm = ?",
			func(d damageable, t *testing.T, value string) {
				d.saveSecret(t, "right")
				d.push(t, realm.Hidden(value))
			},
			func(ctx context.Context, d damageable) error {
				if err := d.s.DeleteSecret(ctx, d.ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
					return err
				}
				return nil // the secret is gone, and the next push replaces the row
			},
		},
		{
			"company", "tokens_companies", " WHERE taxpayer_id = ?",
			func(d damageable, t *testing.T, value string) { d.saveCompany(t, value) },
			func(ctx context.Context, d damageable) error { return d.s.DeleteCompany(ctx, d.ref.Realm) },
		},
		{
			"client", "tokens_clients", " WHERE id = ?",
			func(d damageable, t *testing.T, value string) { d.saveClient(t, value) },
			func(ctx context.Context, d damageable) error { return d.s.DeleteClient(ctx, d.ref.Realm) },
		},
	} {
		for name, then := range map[string]func(t *testing.T, d damageable){
			"updated": func(t *testing.T, d damageable) { c.save(d, t, "newer") },
			"deleted": func(t *testing.T, d damageable) { ok(t, c.remove(t.Context(), d)) },
			"created again": func(t *testing.T, d damageable) {
				ok(t, c.remove(t.Context(), d))
				c.save(d, t, "newer")
			},
		} {
			t.Run(c.kind+" "+name, func(t *testing.T) {
				d := newDamageable(t, s, c.kind+" "+name)
				putBack := copyTable(t, db, c.table)
				then(t, d)
				putBack(c.where, []byte(d.ref.Realm))
				d.wantDamaged(t, c.kind)
				ok(t, c.remove(t.Context(), d))
				c.save(d, t, "newest")
				if err := d.read(t.Context(), c.kind); err != nil {
					t.Errorf("created again: %v", err)
				}
			})
		}
	}
	if found := damaged(t, s); len(found) != 0 {
		t.Errorf("in the end: %v", found)
	}
}

// testOldRegisters puts back a row together with what tells that it is old.
func testOldRegisters(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	d := newDamageable(t, s, "wx")
	secrets, registers := copyTable(t, db, "tokens_secrets"), copyTable(t, db, "tokens_registers")
	d.saveSecret(t, "newer")
	another := func() tokenstore.Store {
		t.Helper()
		ok(t, s.Close())
		s = Open(t, db.Handle(t, ring))
		d.s = s
		return s
	}

	// The head has the version of the register.
	secrets("")
	registers(" WHERE name <> ?", []byte("head"))
	another()
	d.wantDamaged(t, "secret")

	// With the head, too, all is as it was. That is for a process that has seen
	// something newer.
	registers("")
	another()
	if err := d.read(t.Context(), "secret"); err != nil {
		t.Fatalf("all is as it was: %v", err)
	}
	secrets, registers = copyTable(t, db, "tokens_secrets"), copyTable(t, db, "tokens_registers")
	d.saveSecret(t, "newer")
	secrets("")
	registers("")
	d.wantDamaged(t, "secret")
	if _, err := s.Realm(t.Context(), "wx"); err != nil {
		t.Errorf("another row: %v", err)
	}
}

// testLostRegisters: what cannot be told to be new is damaged until it is
// created again, and a lost head is made again.
func testLostRegisters(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	d := newDamageable(t, s, "wx")
	db.Alter(t, "DELETE FROM tokens_registers WHERE name = ?", []byte("head"))
	head := tokenstore.Damage{Kind: "register", Key: "head"}
	if found := damaged(t, s); !slices.Equal(found, []tokenstore.Damage{head}) {
		t.Errorf("without a head: %v", found)
	}
	d.saveSecret(t, "newer")
	if found := damaged(t, s); len(found) != 0 {
		t.Errorf("with a new head: %v", found)
	}
	db.Alter(t, "UPDATE tokens_registers SET seal = ? WHERE name <> ?", []byte("short"), []byte("head"))
	for _, kind := range []string{"realm", "secret", "pushed", "company", "client"} {
		d.wantDamaged(t, kind)
	}
	ok(t, s.DeleteRealm(t.Context(), "wx", true))
	ok(t, s.DeleteCompany(t.Context(), "wx"))
	ok(t, s.DeleteClient(t.Context(), "wx"))
	d.saveRealm(t, "https://api.example.com")
	d.saveSecret(t, "newest")
	d.push(t, "newest")
	d.saveCompany(t, "newest")
	d.saveClient(t, "newest")
	for _, kind := range []string{"realm", "secret", "pushed", "company", "client"} {
		if err := d.read(t.Context(), kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if found := damaged(t, s); len(found) != 0 {
		t.Errorf("in the end: %v", found)
	}
}
