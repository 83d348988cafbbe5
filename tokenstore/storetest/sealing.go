package storetest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testSealing(t *testing.T, b Backend) {
	t.Run("nothing in clear", func(t *testing.T) { testCanaries(t, b) })
	t.Run("swapped rows do not open", func(t *testing.T) { testSwap(t, b) })
	t.Run("swapped authorizations do not open", func(t *testing.T) { testSwapStates(t, b) })
	t.Run("wrong key", func(t *testing.T) { testWrongKey(t, b) })
	t.Run("rotation", func(t *testing.T) { testRotation(t, b) })
}

// testCanaries looks for every confidential value in everything that was
// written, also in some encodings; what is not confidential must be found
// there, or the search is blind.
func testCanaries(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	ref := realm.Ref{Realm: "visible-realm-7731", Key: "visible-key-7732"}
	canaries := []string{"canary-shared-4401", "canary-field-4402", "canary-access-4403", "canary-refresh-4404", "canary-dropped-4405", "canary-candidate-4406", "canary-fpr-4407!", "canary-verifier-4408", "canary-callback-4409", "canary-state-4410", "canary-taken-4411", "canary-fail-4412", "canary-realm-413", "canary-clnt-4414", "canary-pushed-4415"}
	r := realm.Realm{ID: ref.Realm, Comment: "visible-comment-7733"}
	r.Config.Shared = map[string]realm.Hidden{"app_secret": realm.Hidden(canaries[0])}
	_, err := SaveRealm(t.Context(), s, r)
	ok(t, err)
	putSecret(t, s, ref, map[string]realm.Hidden{"secret": realm.Hidden(canaries[1])})
	_, err = s.Push(t.Context(), ref, "ticket", realm.Hidden(canaries[14]), time.Hour)
	ok(t, err)
	_, err = SaveToken(t.Context(), s, ref, realm.Token{Access: realm.Hidden(canaries[4])}, 0)
	ok(t, err)
	_, err = SaveToken(t.Context(), s, ref, realm.Token{Access: realm.Hidden(canaries[2]), Refresh: realm.Hidden(canaries[3])}, 1)
	ok(t, err)
	coordinate(t, s, ref, func(st *tokenstore.State) {
		st.Claim.Purpose, st.Claim.Rejected.Digest = "visible-why-7734", realm.Digest([]byte(canaries[6]))
		st.Claim.Candidates = []realm.Token{{Refresh: realm.Hidden(canaries[5])}}
		st.Claim.Failure.Digest, st.Budget.Failure.Digest = realm.Digest([]byte(canaries[11])), realm.Digest([]byte(canaries[12]))
	})
	a := tokenstore.Authorization{
		State: tokenstore.HashState(realm.Hidden(canaries[9])), Ref: ref, CallbackURL: "https://gw/" + canaries[8], Verifier: realm.Hidden(canaries[7]),
		Client: realm.Digest([]byte(canaries[13])),
	}
	ok(t, s.BeginAuthorization(t.Context(), a, time.Hour))
	taken := begin(t, s, ref, canaries[10])
	_, err = s.TakeAuthorization(t.Context(), taken.State)
	ok(t, err)
	putCompany(t, s, "visible-taxpayer-7735", func(c *tokenstore.Company) { c.BankAccount = "visible-account-7736" })
	_, _, err = s.Token(t.Context(), ref)
	ok(t, err)
	ok(t, s.Close())
	raw := db.Raw(t)
	for _, visible := range []string{ref.Realm, ref.Key, "visible-comment-7733", "visible-why-7734", string(a.State[:]), "visible-taxpayer-7735", "visible-account-7736"} {
		if !bytes.Contains(raw, []byte(visible)) {
			t.Errorf("%q is not found in the raw data: the search proves nothing", visible)
		}
	}
	lower := bytes.ToLower(raw)
	for _, canary := range canaries {
		for name, form := range map[string]string{
			"plain": canary, "hex": hex.EncodeToString([]byte(canary)), "prefix": canary[:len(canary)-5],
			"base64": base64.RawStdEncoding.EncodeToString([]byte(canary[:15])),
		} {
			if bytes.Contains(lower, []byte(strings.ToLower(form))) {
				t.Errorf("%s is found in the raw data (%s)", canary, name)
			}
		}
	}
}

// testSwap: whoever can write the database cannot give one secret's
// credentials to another.
func testSwap(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	one, two := realm.Ref{Realm: "wx", Key: "one"}, realm.Ref{Realm: "wx", Key: "two"}
	s := Open(t, db.Handle(t, ring))
	for _, ref := range []realm.Ref{one, two} {
		putSecret(t, s, ref, map[string]realm.Hidden{"x": "y"})
		_, err := SaveToken(t.Context(), s, ref, token(1), 0)
		ok(t, err)
		_, err = s.Push(t.Context(), ref, "ticket", "1", 0)
		ok(t, err)
		coordinate(t, s, ref, func(st *tokenstore.State) { st.Claim = fullClaim(st.Now) })
	}
	ok(t, s.Close())
	db.Swap(t, one, two)
	s = Open(t, db.Handle(t, ring))
	for _, ref := range []realm.Ref{one, two} {
		if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("secret %s: %v", ref, err)
		}
		if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("token %s: %v", ref, err)
		}
		if _, err := s.Pushed(t.Context(), ref); !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("pushed to %s: %v", ref, err)
		}
		_, peeked := s.Peek(t.Context(), ref)
		_, coordinated := s.Coordinate(t.Context(), ref, func(*tokenstore.State) error { return nil })
		for _, err := range []error{peeked, coordinated} { // of the claim, which is opened before the token
			if !errors.Is(err, tokenstore.ErrDamaged) || strings.Contains(err.Error(), "tokens_tokens") {
				t.Errorf("claim %s: %v", ref, err)
			}
		}
	}
	ok(t, s.Close())
	db.Swap(t, one, two)
	s = Open(t, db.Handle(t, ring))
	if _, err := s.Secret(t.Context(), one); err != nil {
		t.Fatalf("swapped back: %v", err)
	}
}

// testSwapStates: whoever can write the database cannot have another person's
// code exchanged as part of an authorization of theirs, of the same key or
// not.
func testSwapStates(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	ref, other := realm.Ref{Realm: "jd", Key: "one"}, realm.Ref{Realm: "jd", Key: "two"}
	s := Open(t, db.Handle(t, ring))
	mine, theirs, elsewhere := begin(t, s, ref, "mine").State, begin(t, s, ref, "theirs").State, begin(t, s, other, "elsewhere").State
	ok(t, s.Close())
	for _, swapped := range []tokenstore.StateHash{theirs, elsewhere} {
		db.SwapStates(t, mine, swapped)
		s = Open(t, db.Handle(t, ring))
		for _, state := range []tokenstore.StateHash{mine, swapped} {
			if got, err := s.TakeAuthorization(t.Context(), state); !errors.Is(err, tokenstore.ErrDamaged) || got != (tokenstore.Authorization{}) {
				t.Errorf("got %v, %v", got, err)
			}
		}
		ok(t, s.Close())
		db.SwapStates(t, mine, swapped)
	}
	s = Open(t, db.Handle(t, ring))
	if got, err := s.TakeAuthorization(t.Context(), mine); err != nil || got.Ref != ref {
		t.Fatalf("swapped back: %v, %v", got, err)
	}
}

// testWrongKey: a database is refused with another key, the error names the
// key that is needed, and nothing is changed.
func testWrongKey(t *testing.T, b Backend) {
	db, right := b.Fresh(t), Ring(t)
	ref := realm.Ref{Realm: "wx", Key: "main"}
	s := Open(t, db.Handle(t, right))
	saved := putSecret(t, s, ref, map[string]realm.Hidden{"x": "y"})
	ok(t, s.Close())

	wrong := db.Handle(t, Ring(t))
	t.Cleanup(func() { _ = wrong.Close() })
	for range 2 {
		err := wrong.Open(t.Context())
		if !errors.Is(err, tokenstore.ErrKey) || !strings.Contains(err.Error(), right.IDs()[0].String()) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := wrong.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	s = Open(t, db.Handle(t, right))
	got, err := s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, saved, got)
}

// testRotation: with a new key in front everything is sealed anew, and the
// old key can go.
func testRotation(t *testing.T, b Backend) {
	const secrets = 450 // more than two batches
	db := b.Fresh(t)
	oldKey, newKey := Key(t), Key(t)
	digest := realm.Digest{7, 7, 7}
	s := Open(t, db.Handle(t, Ring(t, oldKey)))
	_, err := SaveRealm(t.Context(), s, sample("wx"))
	ok(t, err)
	for i := range secrets {
		ref := realm.Ref{Realm: fmt.Sprint("wx", i%3), Key: fmt.Sprint(i)}
		putSecret(t, s, ref, map[string]realm.Hidden{"n": realm.Hidden(fmt.Sprint(i))})
		if i%9 == 0 {
			_, err := SaveToken(t.Context(), s, ref, token(i), 0)
			ok(t, err)
			_, err = s.Push(t.Context(), ref, "ticket", realm.Hidden(fmt.Sprint("ticket-", i)), 0)
			ok(t, err)
			coordinate(t, s, ref, func(st *tokenstore.State) {
				st.Claim.Candidates = []realm.Token{{Refresh: realm.Hidden(fmt.Sprint("candidate-", i))}}
				st.Budget.Failure.Digest = digest
			})
		}
	}
	coordinate(t, s, realm.Ref{Realm: "wx0", Key: "nothing sealed"}, func(st *tokenstore.State) { st.Claim.Purpose = "x" })
	deleted := realm.Ref{Realm: "wx0", Key: "0"}
	ok(t, DropToken(t.Context(), s, deleted))
	underWay, left := begin(t, s, deleted, "under way"), begin(t, s, deleted, "left behind")
	ok(t, s.Close())

	s = Open(t, db.Handle(t, Ring(t, newKey, oldKey)))
	rotation := rotate(t, s)
	if use := rotation.Keys[1]; use.Fingerprint != Ring(t, oldKey).IDs()[0].String() || use.State != tokenstore.KeyRemovable || use.Rows != 0 {
		t.Fatalf("the keys are %+v", rotation.Keys)
	}
	if again := rotate(t, s); again.Keys[0].Rows != rotation.Keys[0].Rows || done(again) != 0 {
		t.Fatalf("first %+v, then %+v", rotation, again)
	}
	ok(t, s.Close())
	if err := db.Handle(t, Ring(t, oldKey)).Open(t.Context()); !errors.Is(err, tokenstore.ErrKey) {
		t.Fatalf("with the old key only: %v", err)
	}
	s = Open(t, db.Handle(t, Ring(t, newKey)))
	for _, a := range []tokenstore.Authorization{underWay, left} {
		if _, err := s.TakeAuthorization(t.Context(), a.State); err != nil {
			t.Fatalf("an authorization that was under way: %v", err)
		}
	}
	r, err := s.Realm(t.Context(), "wx")
	ok(t, err)
	if r.Config.Shared["app_key"].Reveal() != "shared-1" {
		t.Fatal("a shared field is lost")
	}
	for i := range secrets {
		ref := realm.Ref{Realm: fmt.Sprint("wx", i%3), Key: fmt.Sprint(i)}
		secret, err := s.Secret(t.Context(), ref)
		ok(t, err)
		if secret.Fields["n"].Reveal() != fmt.Sprint(i) {
			t.Fatalf("secret %d is lost", i)
		}
		if i%9 == 0 && ref != deleted {
			got, _, err := s.Token(t.Context(), ref)
			ok(t, err)
			if got.Lineage != 1 || got.Access.Reveal() != fmt.Sprint("access-", i) {
				t.Fatalf("token %d is lost", i)
			}
			pushed, err := s.Pushed(t.Context(), ref)
			ok(t, err)
			if pushed.Fields["ticket"].Value.Reveal() != fmt.Sprint("ticket-", i) {
				t.Fatalf("what was pushed to %d is lost", i)
			}
			if c := peek(t, s, ref).Claim.Candidates; len(c) != 1 || c[0].Refresh.Reveal() != fmt.Sprint("candidate-", i) {
				t.Fatalf("candidate %d is lost", i)
			}
			if peek(t, s, ref).Budget.Failure.Digest != digest {
				t.Fatalf("the digest in the budget of %s is lost", ref.Realm)
			}
		}
	}
}

// rotate rotates the keys, and checks that the progress leads to the result.
func rotate(t *testing.T, s tokenstore.Store) tokenstore.Rotation {
	t.Helper()
	last := map[string]tokenstore.TableProgress{}
	rotation, err := s.(tokenstore.KeyRotator).RotateKeys(t.Context(), func(p tokenstore.TableProgress) {
		if p.Done+p.Damaged <= last[p.Table].Done+last[p.Table].Damaged {
			t.Errorf("%+v came after %+v", p, last[p.Table])
		}
		last[p.Table] = p
	})
	ok(t, err)
	for _, p := range rotation.Tables {
		if seen, told := last[p.Table]; told && seen != p || !told && p.Total != 0 || p.Done+p.Damaged != p.Total {
			t.Errorf("%s: %+v, and in the end %+v", p.Table, seen, p)
		}
	}
	return rotation
}

// done counts the rows that were sealed anew.
func done(r tokenstore.Rotation) (n int64) {
	for _, p := range r.Tables {
		n += p.Done
	}
	return n
}
