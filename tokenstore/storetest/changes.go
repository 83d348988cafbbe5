package storetest

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// testChanges: a second handle hears of every kind of write, once, and of
// none that was not committed.
func testChanges(t *testing.T, b Backend) {
	stores := handles(t, b)
	writer, reader := stores[0], stores[1]
	ref := realm.Ref{Realm: "wx", Key: "main"}
	putSecret(t, writer, realm.Ref{Realm: "before", Key: "the cursor"}, nil)
	_, cursor, err := reader.(tokenstore.ChangeFeed).Changes(t.Context(), "")
	ok(t, err)
	heard := func() []realm.Ref {
		t.Helper()
		changes, next, err := reader.(tokenstore.ChangeFeed).Changes(t.Context(), cursor)
		ok(t, err)
		cursor = next
		refs := map[realm.Ref]bool{}
		for _, c := range changes {
			refs[c.Ref] = true
			if c.At.IsZero() {
				t.Errorf("%s has no time", c.Ref)
			}
		}
		return slices.Collect(maps.Keys(refs))
	}
	if got := heard(); len(got) != 0 {
		t.Fatalf("nothing changed, and it says %v", got)
	}
	steps := []struct {
		name  string
		want  realm.Ref
		write func() error
	}{
		{"save realm", realm.Ref{Realm: "wx"}, func() error {
			_, err := SaveRealm(t.Context(), writer, realm.Realm{ID: "wx"})
			return err
		}},
		{"save secret", ref, func() error { putSecret(t, writer, ref, nil); return nil }},
		{"save token", ref, func() error {
			_, err := SaveToken(t.Context(), writer, ref, token(1), 0)
			return err
		}},
		{"save token under a claim", ref, func() error {
			child := token(2)
			coordinate(t, writer, ref, func(st *tokenstore.State) { st.Save, st.Claim.Purpose = &child, "x" })
			return nil
		}},
		{"push", ref, func() error {
			_, err := writer.Push(t.Context(), ref, "ticket", "1", 0)
			return err
		}},
		{"delete token", ref, func() error { return DropToken(t.Context(), writer, ref) }},
		{"delete secret", ref, func() error { return writer.DeleteSecret(t.Context(), ref) }},
		{"delete realm", realm.Ref{Realm: "wx"}, func() error { return writer.DeleteRealm(t.Context(), "wx", true) }},
	}
	for _, step := range steps {
		ok(t, step.write())
		if got := heard(); !slices.Equal(got, []realm.Ref{step.want}) {
			t.Errorf("%s: it says %v", step.name, got)
		}
		if got := heard(); len(got) != 0 {
			t.Errorf("%s: it says so again: %v", step.name, got)
		}
	}
	coordinate(t, writer, ref, func(st *tokenstore.State) { st.Claim.Purpose, st.Budget.Failure.Count = "x", 1 })
	_, err = writer.Once(t.Context(), "nightly", time.Now())
	ok(t, err)
	if got := heard(); len(got) != 0 {
		t.Errorf("no token was saved, and it says %v", got)
	}
	if err := writer.DeleteSecret(t.Context(), ref); err == nil {
		t.Fatal("deleted twice")
	}
	if got := heard(); len(got) != 0 {
		t.Errorf("after a write that failed it says %v", got)
	}
	if _, _, err := reader.(tokenstore.ChangeFeed).Changes(t.Context(), "not a cursor"); err == nil {
		t.Error("a foreign cursor is accepted")
	}
}
