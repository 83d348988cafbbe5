package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testSecrets(t *testing.T, b Backend) {
	t.Run("saved and read back", func(t *testing.T) { testSecretRoundTrip(t, fresh(t, b)) })
	t.Run("inject_only", func(t *testing.T) { testInjectOnly(t, fresh(t, b)) })
	t.Run("ids are bytes", func(t *testing.T) { testIdentity(t, fresh(t, b)) })
	t.Run("pages", func(t *testing.T) { testSecretPages(t, fresh(t, b)) })
	t.Run("their tokens", func(t *testing.T) { testTokenChange(t, fresh(t, b)) })
	t.Run("delete", func(t *testing.T) { testDeleteSecret(t, fresh(t, b)) })
	t.Run("cancelled", func(t *testing.T) { testCancelled(t, fresh(t, b)) })
}

func testSecretRoundTrip(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
		t.Fatalf("got %v", err)
	}
	pem := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A0+/", 16<<10) + "\n-----END PRIVATE KEY-----\n"
	want := map[string]realm.Hidden{
		"key_1": "wx123", "key_2": realm.Hidden(pem), "empty": "", "binary": "\x00\t\"'\\%_", "密": "码",
	}
	saved := putSecret(t, s, ref, want)
	got, err := s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, saved, got)
	for name, value := range want {
		if got.Fields[name].Reveal() != value.Reveal() {
			t.Errorf("field %s is not what was saved", name)
		}
	}
	bound, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		old.Hosts = []string{"a.example", "*.b.example:81"}
		return old, tokenstore.TokenChange{}, nil
	})
	ok(t, err)
	got, err = s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, bound, got)
	if !slices.Equal(got.Hosts, []string{"a.example", "*.b.example:81"}) {
		t.Errorf("hosts: %q", got.Hosts)
	}
	again := putSecret(t, s, ref, map[string]realm.Hidden{"key_1": "changed"})
	if !again.CreatedAt.Equal(saved.CreatedAt) || !again.UpdatedAt.After(saved.UpdatedAt) {
		t.Fatalf("times: %v, %v, then %v, %v", saved.CreatedAt, saved.UpdatedAt, again.CreatedAt, again.UpdatedAt)
	}
	got, err = s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, again, got)
}

// testInjectOnly: whether a token is kept from everybody is a part of its secret,
// and stays when the fields change.
func testInjectOnly(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	putSecret(t, s, ref, map[string]realm.Hidden{"key_1": "1"})
	for _, want := range []bool{true, false} {
		_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			old.InjectOnly = want
			return old, tokenstore.TokenChange{}, nil
		})
		ok(t, err)
		_, err = s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			old.Fields = map[string]realm.Hidden{"key_1": "2"}
			return old, tokenstore.TokenChange{}, nil
		})
		ok(t, err)
		got, err := s.Secret(t.Context(), ref)
		ok(t, err)
		list, _, err := s.Secrets(t.Context(), tokenstore.Page{Number: 1, Size: 10}, tokenstore.SecretFilter{})
		ok(t, err)
		if got.InjectOnly != want || len(list) != 1 || list[0].InjectOnly != want {
			t.Errorf("saved as %v: read as %v, listed as %+v", want, got.InjectOnly, list)
		}
	}
}

// testIdentity: ids that differ by a trailing blank or their Unicode form are
// different ids. For those that differ by case, see testTwins.
func testIdentity(t *testing.T, s tokenstore.Store) {
	names := []string{"id", "id ", " id", "id\u00a0", "caf\u00e9", "cafe\u0301", "i", "İd", strings.Repeat("x", 255)}
	for i, id := range names {
		_, err := SaveRealm(t.Context(), s, realm.Realm{ID: id, Comment: fmt.Sprint(i)})
		ok(t, err)
		for j, key := range names {
			ref := realm.Ref{Realm: id, Key: key}
			putSecret(t, s, ref, map[string]realm.Hidden{"v": realm.Hidden(fmt.Sprint(i, j))})
			_, err := SaveToken(t.Context(), s, ref, realm.Token{Access: realm.Hidden(fmt.Sprint(i, j))}, 0)
			ok(t, err)
		}
	}
	for i, id := range names {
		r, err := s.Realm(t.Context(), id)
		ok(t, err)
		if r.ID != id || r.Comment != fmt.Sprint(i) {
			t.Errorf("realm %q came as %q, %q", id, r.ID, r.Comment)
		}
		for j, key := range names {
			ref := realm.Ref{Realm: id, Key: key}
			secret, err := s.Secret(t.Context(), ref)
			ok(t, err)
			token, _, err := s.Token(t.Context(), ref)
			ok(t, err)
			if want := fmt.Sprint(i, j); secret.Ref != ref || secret.Fields["v"].Reveal() != want || token.Access.Reveal() != want {
				t.Errorf("%q holds another one's secret or token", ref)
			}
		}
	}
	// A tuple joined as text would make these two one.
	a, b := realm.Ref{Realm: "a/b", Key: "c"}, realm.Ref{Realm: "a", Key: "b/c"}
	_, err := SaveToken(t.Context(), s, a, token(1), 0)
	ok(t, err)
	if _, _, err := s.Token(t.Context(), b); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
}

func testSecretPages(t *testing.T, s tokenstore.Store) {
	for i := range 5 {
		putSecret(t, s, realm.Ref{Realm: "a", Key: fmt.Sprint(i)}, nil)
		putSecret(t, s, realm.Ref{Realm: "b", Key: fmt.Sprint(i)}, nil)
	}
	var keep func(realm.Ref) bool
	keys := func(number, size int, realmID string, wantTotal int) []string {
		t.Helper()
		list, total, err := s.Secrets(t.Context(), tokenstore.Page{Number: number, Size: size}, tokenstore.SecretFilter{Realm: realmID, Keep: keep})
		ok(t, err)
		if total != wantTotal {
			t.Fatalf("total %d, want %d", total, wantTotal)
		}
		var got []string
		for _, secret := range list {
			got = append(got, secret.String())
		}
		return got
	}
	if got, want := keys(2, 2, "a", 5), []string{"a/2", "a/1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := keys(1, 3, "", 10), []string{"b/4", "a/4", "b/3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := keys(1, 3, "A", 0); got != nil {
		t.Errorf("another realm's secrets: %v", got)
	}
	keep = func(ref realm.Ref) bool { return ref.Key != "3" }
	if got, want := keys(2, 3, "", 8), []string{"a/2", "b/1", "a/1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := keys(1, 3, "b", 4), []string{"b/4", "b/2", "b/1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := keys(4, 3, "", 8); got != nil {
		t.Errorf("behind the end: %v", got)
	}
	for _, c := range []struct {
		realms []string
		keep   func(realm.Ref) bool
		want   string
	}{
		{[]string{"a", "b", "none"}, nil, "map[a:5 b:5]"},
		{[]string{"b"}, keep, "map[b:4]"},
		{[]string{"a", "b"}, func(ref realm.Ref) bool { return ref == (realm.Ref{Realm: "a", Key: "1"}) }, "map[a:1]"},
		{nil, nil, "map[]"},
	} {
		counts, err := s.CountSecrets(t.Context(), c.realms, c.keep)
		if got := fmt.Sprint(counts); err != nil || got != c.want {
			t.Errorf("counts of %v: %s, %v, want %s", c.realms, got, err, c.want)
		}
	}
	keep = func(realm.Ref) bool { return false }
	if got := keys(1, 3, "", 0); got != nil {
		t.Errorf("what nobody wants: %v", got)
	}
}

func testTokenChange(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	first, err := SaveToken(t.Context(), s, ref, token(1), 0)
	ok(t, err)
	change := func(c tokenstore.TokenChange) {
		t.Helper()
		_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			return old, c, nil
		})
		ok(t, err)
	}
	read := func() realm.Token {
		t.Helper()
		got, _, err := s.Token(t.Context(), ref)
		ok(t, err)
		return got
	}
	change(tokenstore.TokenChange{})
	same(t, first, read())

	change(tokenstore.TokenChange{DropAccess: true})
	got := read()
	if got.Access != "" || got.Refresh.Reveal() != "refresh-1" || got.Lineage != 1 {
		t.Fatalf("after dropping the access token: access %v, lineage %d", got.Access, got.Lineage)
	}
	imported := realm.Token{Access: "imported"}
	change(tokenstore.TokenChange{Set: &imported, DropAccess: true})
	if got = read(); got.Access.Reveal() != "imported" || got.Refresh.Reveal() != "refresh-1" || got.Lineage != 2 {
		t.Fatalf("after an import: access %q, refresh %q, lineage %d", got.Access.Reveal(), got.Refresh.Reveal(), got.Lineage)
	}
	change(tokenstore.TokenChange{Set: &realm.Token{Refresh: "imported too"}})
	if got = read(); got.Access.Reveal() != "imported" || got.Refresh.Reveal() != "imported too" || got.Lineage != 3 {
		t.Fatalf("after the import of a refresh token: access %q, refresh %q, lineage %d", got.Access.Reveal(), got.Refresh.Reveal(), got.Lineage)
	}
	change(tokenstore.TokenChange{Set: &imported, DropRefresh: true})
	if got = read(); got.Access.Reveal() != "imported" || got.Refresh != "" {
		t.Fatalf("after an import that drops the refresh token: access %q, refresh %q", got.Access.Reveal(), got.Refresh.Reveal())
	}
	change(tokenstore.TokenChange{DropAccess: true, DropRefresh: true})
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
	change(tokenstore.TokenChange{Set: &imported})
	if got = read(); got.Lineage != 5 {
		t.Fatalf("lineage %d", got.Lineage)
	}
	testKeptChange(t, s)
}

// testKeptChange: what is kept with a token belongs to its refresh token, and is
// not taken for a part of what somebody else got.
func testKeptChange(t *testing.T, s tokenstore.Store) {
	t.Helper()
	for name, c := range map[string]struct {
		change tokenstore.TokenChange
		want   realm.Kept
	}{
		"nothing":                       {tokenstore.TokenChange{}, kept(1)},
		"without the access token":      {tokenstore.TokenChange{DropAccess: true}, kept(1)},
		"without the refresh token":     {tokenstore.TokenChange{DropRefresh: true}, kept(1)},
		"another access token":          {tokenstore.TokenChange{Set: &realm.Token{Access: "imported"}}, kept(1)},
		"another refresh token":         {tokenstore.TokenChange{Set: &realm.Token{Refresh: "imported"}}, ""},
		"another one of both":           {tokenstore.TokenChange{Set: &realm.Token{Access: "imported", Refresh: "imported"}}, ""},
		"another one and nothing of it": {tokenstore.TokenChange{DropAccess: true, DropRefresh: true, Set: &realm.Token{Access: "imported"}}, ""},
	} {
		ref := realm.Ref{Realm: "kept", Key: name}
		_, err := SaveToken(t.Context(), s, ref, token(1), 0)
		ok(t, err)
		_, err = s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			return old, c.change, nil
		})
		ok(t, err)
		got, _, err := s.Token(t.Context(), ref)
		ok(t, err)
		if got.Kept != c.want {
			t.Errorf("%s: %v is kept", name, got.Kept.Reveal())
		}
	}
}

func testDeleteSecret(t *testing.T, s tokenstore.Store) {
	ref, other := realm.Ref{Realm: "wx", Key: "a"}, realm.Ref{Realm: "wx", Key: "b"}
	if err := s.DeleteSecret(t.Context(), ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
		t.Fatalf("got %v", err)
	}
	for _, r := range []realm.Ref{ref, other} {
		putSecret(t, s, r, map[string]realm.Hidden{"x": "y"})
		_, err := SaveToken(t.Context(), s, r, token(1), 0)
		ok(t, err)
	}
	ok(t, s.DeleteSecret(t.Context(), ref))
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, _, err := s.Token(t.Context(), other); err != nil {
		t.Fatal(err)
	}
}

// testCancelled: a caller who leaves gets its own error back, and has written
// nothing.
func testCancelled(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.UpdateSecret(ctx, ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		cancel()
		old.Fields = map[string]realm.Hidden{"x": "y"}
		return old, tokenstore.TokenChange{}, nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrSecretNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Realm(ctx, "wx"); !errors.Is(err, context.Canceled) {
		t.Fatalf("a read: %v", err)
	}
	late, cancelLate := context.WithTimeout(t.Context(), 0)
	defer cancelLate()
	if _, err := SaveToken(late, s, ref, token(1), 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a write: %v", err)
	}
}
