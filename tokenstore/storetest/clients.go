package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testClients(t *testing.T, b Backend) {
	t.Run("saved and read back", func(t *testing.T) { testClientRoundTrip(t, fresh(t, b)) })
	t.Run("update in place", func(t *testing.T) { testUpdateClient(t, fresh(t, b)) })
	t.Run("listed by their ids", func(t *testing.T) { testClientList(t, fresh(t, b)) })
	t.Run("delete", func(t *testing.T) { testDeleteClient(t, fresh(t, b)) })
	t.Run("identities", func(t *testing.T) { testIdentities(t, fresh(t, b)) })
	t.Run("last use", func(t *testing.T) { testClientsUsed(t, fresh(t, b)) })
	t.Run("required", func(t *testing.T) { testRequired(t, b) })
	t.Run("updates at once", func(t *testing.T) { testClientUpdates(t, b) })
	t.Run("one identity taken at once", func(t *testing.T) { testIdentityRace(t, b) })
	if b.Shared {
		t.Run("changes", func(t *testing.T) { testClientChanges(t, b) })
	}
	if !b.Unsealed {
		t.Run("sealed", func(t *testing.T) { testClientIsSealed(t, b) })
		t.Run("swapped", func(t *testing.T) { testSwappedClients(t, b) })
		t.Run("rotation", func(t *testing.T) { testClientRotation(t, b) })
		t.Run("rows deleted by hand", func(t *testing.T) { testClientRowsDeleted(t, b) })
		t.Run("required for ever", func(t *testing.T) { testRequiredForEver(t, b) })
	}
}

// sampleClient says as much as a client can say; n tells it from others.
func sampleClient(n int) tokenstore.Client {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return tokenstore.Client{
		Comment: "结算服务 <&> 😀",
		Rules: []tokenstore.Rule{
			{Effect: "deny", Rights: []string{"use"}, Realms: []string{"*"}, Methods: []string{"DELETE"}, Paths: []string{"/v1/**"}},
			{Effect: "allow", Rights: []string{"use", "read"}, Realms: []string{"wx", "jd*"}, Keys: []string{"main"}},
		},
		Limits: tokenstore.ClientLimits{Requests: "100/s", Concurrency: 7, Fetches: "60/h"},
		Users:  []string{fmt.Sprint("user-", n), "用户" + fmt.Sprint(n)}, Subjects: []string{fmt.Sprint("CN=app-", n)},
		Sources: []string{fmt.Sprintf("10.%d.0.0/16", n)},
		Edge:    true, ExpiresAt: at.Add(time.Hour),
		Keys: []tokenstore.ClientKey{
			{Digest: digestOf(2 * n), CreatedAt: at},
			{Digest: digestOf(2*n + 1), CreatedAt: at.Add(-time.Hour), ExpiresAt: at.Add(time.Minute)},
		},
	}
}

func digestOf(n int) tokenstore.KeyDigest {
	return tokenstore.KeyDigest{byte(n), byte(n >> 8), 3, 4, 0, 6}
}

// putClient saves a client; edit nil leaves it as it is.
func putClient(t *testing.T, s tokenstore.Store, id string, edit func(*tokenstore.Client)) tokenstore.Client {
	t.Helper()
	saved, err := s.UpdateClient(t.Context(), id, func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		if edit != nil {
			edit(&c)
		}
		return c, nil
	})
	ok(t, err)
	return saved
}

// clients are the ids of all clients, and whether clients are required.
func clients(t *testing.T, s tokenstore.Store) (ids string, required bool) {
	t.Helper()
	list, required, err := s.Clients(t.Context())
	ok(t, err)
	all := make([]string, 0, len(list))
	for _, c := range list {
		all = append(all, c.ID)
	}
	return strings.Join(all, " "), required
}

func testClientRoundTrip(t *testing.T, s tokenstore.Store) {
	if _, err := s.Client(t.Context(), "billing"); !errors.Is(err, tokenstore.ErrClientNotFound) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	want := sampleClient(1)
	saved := putClient(t, s, "billing", func(c *tokenstore.Client) { *c = want })
	if saved.CreatedAt.IsZero() || !saved.CreatedAt.Equal(saved.UpdatedAt) || !saved.UsedAt.IsZero() {
		t.Fatalf("times %v, %v, %v", saved.CreatedAt, saved.UpdatedAt, saved.UsedAt)
	}
	want.ID, want.CreatedAt, want.UpdatedAt = "billing", saved.CreatedAt, saved.UpdatedAt
	same(t, want, saved)
	got, err := s.Client(t.Context(), "billing")
	ok(t, err)
	same(t, want, got)

	// Times are kept to the microsecond, in UTC.
	odd := time.Date(2030, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 8*3600))
	id := strings.Repeat("x", tokenstore.MaxClientID)
	saved = putClient(t, s, id, func(c *tokenstore.Client) {
		c.ExpiresAt, c.Keys = odd, []tokenstore.ClientKey{{Digest: digestOf(99), CreatedAt: odd, ExpiresAt: odd}}
	})
	got, err = s.Client(t.Context(), id)
	ok(t, err)
	same(t, saved, got)
	if at := odd.UTC().Truncate(time.Microsecond); got.ExpiresAt != at || got.Keys[0].CreatedAt != at || got.Keys[0].ExpiresAt != at {
		t.Fatalf("the times are %v, %v", got.ExpiresAt, got.Keys[0])
	}
	saved = putClient(t, s, id, func(c *tokenstore.Client) { *c = tokenstore.Client{} })
	same(t, tokenstore.Client{ID: id, CreatedAt: saved.CreatedAt, UpdatedAt: saved.UpdatedAt}, saved)
	got, err = s.Client(t.Context(), id)
	ok(t, err)
	same(t, saved, got)
}

func testUpdateClient(t *testing.T, s tokenstore.Store) {
	refusal := errors.New("refused")
	_, err := s.UpdateClient(t.Context(), "billing", func(c tokenstore.Client, found bool) (tokenstore.Client, error) {
		if found || c.ID != "billing" || !c.CreatedAt.IsZero() {
			t.Errorf("a new client came as %v, found %v", c, found)
		}
		return c, refusal
	})
	if !errors.Is(err, refusal) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if ids, required := clients(t, s); ids != "" || required {
		t.Fatalf("after a refusal: clients %q, required %v", ids, required)
	}
	created := putClient(t, s, "billing", func(c *tokenstore.Client) { *c = sampleClient(1) })
	updated, err := s.UpdateClient(t.Context(), "billing", func(c tokenstore.Client, found bool) (tokenstore.Client, error) {
		if !found {
			t.Error("the stored client is not found")
		}
		same(t, created, c)
		c.Comment = "two"
		c.ID, c.CreatedAt, c.UsedAt, c.Damaged = "stays", time.Time{}, time.Now(), true
		return c, nil
	})
	ok(t, err)
	if !updated.UpdatedAt.After(created.UpdatedAt) {
		t.Fatalf("updated at %v, created at %v", updated.UpdatedAt, created.UpdatedAt)
	}
	want := created
	want.Comment, want.UpdatedAt = "two", updated.UpdatedAt
	same(t, want, updated)

	_, err = s.UpdateClient(t.Context(), "billing", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		c.Comment, c.Keys, c.Users = "never", nil, nil
		return c, refusal
	})
	if !errors.Is(err, refusal) {
		t.Fatalf("got %v", err)
	}
	got, err := s.Client(t.Context(), "billing")
	ok(t, err)
	same(t, want, got)
}

// testClientList: ids are bytes, and bytes give the order.
func testClientList(t *testing.T, s tokenstore.Store) {
	ids := []string{"b", "a", "B", "a ", "ä", "a0", "京东", "A"}
	var want []tokenstore.Client
	for i, id := range ids {
		want = append(want, putClient(t, s, id, func(c *tokenstore.Client) { *c = sampleClient(i) }))
	}
	slices.SortFunc(want, func(a, b tokenstore.Client) int { return strings.Compare(a.ID, b.ID) })
	list, required, err := s.Clients(t.Context())
	ok(t, err)
	same(t, want, list)
	if !required {
		t.Error("clients are not required")
	}
}

func testDeleteClient(t *testing.T, s tokenstore.Store) {
	if err := s.DeleteClient(t.Context(), "absent"); !errors.Is(err, tokenstore.ErrClientNotFound) {
		t.Fatalf("got %v", err)
	}
	putClient(t, s, "a", func(c *tokenstore.Client) { *c = sampleClient(1) })
	last := putClient(t, s, "b", func(c *tokenstore.Client) { *c = sampleClient(2) })
	ok(t, s.ClientsUsed(t.Context(), map[string]time.Time{"b": time.Now()}))
	ok(t, s.DeleteClient(t.Context(), "b"))
	if _, err := s.Client(t.Context(), "b"); !errors.Is(err, tokenstore.ErrClientNotFound) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Client(t.Context(), "a"); err != nil {
		t.Fatalf("another client: %v", err)
	}
	if b := putClient(t, s, "b", nil); b.CreatedAt.Equal(last.CreatedAt) || !b.UsedAt.IsZero() || b.Keys != nil {
		t.Fatalf("created again: %v", b)
	}
	// What told it is free, though there is a client of its name again.
	c := putClient(t, s, "c", func(c *tokenstore.Client) { *c = sampleClient(2) })
	same(t, last.Keys[0].Digest, c.Keys[0].Digest)
}

func testIdentities(t *testing.T, s tokenstore.Store) {
	saved := putClient(t, s, "first", func(c *tokenstore.Client) { *c = sampleClient(1) })
	refused := func(id, field string, edit func(*tokenstore.Client)) {
		t.Helper()
		_, err := s.UpdateClient(t.Context(), id, func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
			edit(&c)
			return c, nil
		})
		var taken *tokenstore.IdentityTakenError
		if !errors.As(err, &taken) || *taken != (tokenstore.IdentityTakenError{Field: field, Client: "first"}) || errors.Is(err, tokenstore.ErrUnavailable) {
			t.Errorf("%s: %v", field, err)
		}
	}
	putClient(t, s, "second", func(c *tokenstore.Client) { *c = sampleClient(2) })
	for _, id := range []string{"second", "third"} {
		refused(id, "keys", func(c *tokenstore.Client) { c.Keys = append(c.Keys, saved.Keys[1]) })
		refused(id, "users", func(c *tokenstore.Client) { c.Users = append(c.Users, saved.Users[1]) })
		refused(id, "subjects", func(c *tokenstore.Client) { c.Subjects = append(c.Subjects, saved.Subjects[0]) })
		refused(id, "sources", func(c *tokenstore.Client) { c.Sources = append(c.Sources, saved.Sources[0]) })
	}
	// Nothing of what was refused stayed behind.
	second, err := s.Client(t.Context(), "second")
	ok(t, err)
	want := sampleClient(2)
	same(t, want.Users, second.Users)
	if ids, _ := clients(t, s); ids != "first second" {
		t.Errorf("the clients are %q", ids)
	}
	putClient(t, s, "first", func(c *tokenstore.Client) { c.Comment = "has the same as before" })
	// The same text in another field is another identity, and so are other bytes.
	putClient(t, s, "third", func(c *tokenstore.Client) {
		c.Subjects, c.Users = saved.Users, []string{strings.ToUpper(saved.Users[0]), saved.Users[0] + " ", "twice", "twice"}
	})
	// What an update gives up is free.
	putClient(t, s, "first", func(c *tokenstore.Client) { c.Users, c.Keys = nil, c.Keys[:1] })
	putClient(t, s, "fourth", func(c *tokenstore.Client) { c.Users, c.Keys = saved.Users, saved.Keys[1:] })
}

// testClientsUsed: the hour is noted, and never an earlier one.
func testClientsUsed(t *testing.T, s tokenstore.Store) {
	saved := putClient(t, s, "a", func(c *tokenstore.Client) { *c = sampleClient(1) })
	putClient(t, s, "b", nil)
	hour := time.Date(2030, 5, 6, 7, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{hour.Add(59 * time.Minute), hour, hour.Add(-time.Hour)} {
		ok(t, s.ClientsUsed(t.Context(), map[string]time.Time{"a": at.In(time.FixedZone("", 5400)), "gone": at}))
	}
	ok(t, s.ClientsUsed(t.Context(), nil))
	got, err := s.Client(t.Context(), "a")
	ok(t, err)
	saved.UsedAt = hour
	same(t, saved, got)
	updated := putClient(t, s, "a", nil)
	if updated.UsedAt != hour {
		t.Errorf("after an update: %v", updated.UsedAt)
	}
	list, _, err := s.Clients(t.Context())
	ok(t, err)
	if len(list) != 2 || list[0].UsedAt != hour || !list[1].UsedAt.IsZero() {
		t.Errorf("the list: %v", list)
	}
}

// testRequired: the first client, or RequireClients alone, is noted for ever.
func testRequired(t *testing.T, b Backend) {
	for name, require := range map[string]func(t *testing.T, s tokenstore.Store){
		"the last client is deleted": func(t *testing.T, s tokenstore.Store) {
			putClient(t, s, "a", nil)
			ok(t, s.DeleteClient(t.Context(), "a"))
		},
		"there never was a client": func(t *testing.T, s tokenstore.Store) {
			ok(t, s.RequireClients(t.Context()))
			ok(t, s.RequireClients(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			stores := handles(t, b)
			putSecret(t, stores[0], realm.Ref{Realm: "wx", Key: "main"}, nil)
			for _, s := range stores {
				if ids, required := clients(t, s); ids != "" || required {
					t.Fatalf("before: clients %q, required %v", ids, required)
				}
			}
			require(t, stores[0])
			putSecret(t, stores[1], realm.Ref{Realm: "wx", Key: "main"}, nil)
			for i, s := range stores {
				if ids, required := clients(t, s); ids != "" || !required {
					t.Errorf("handle %d: clients %q, required %v", i, ids, required)
				}
			}
		})
	}
}

// testClientUpdates: no update of a client is lost, the first ones neither.
func testClientUpdates(t *testing.T, b Backend) {
	const writers, each = 8, 5
	stores := handles(t, b)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				_, err := stores[i%2].UpdateClient(t.Context(), "a", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
					c.Users = append(c.Users, fmt.Sprint(i, "-", n))
					return c, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, err := stores[1].Client(t.Context(), "a")
	ok(t, err)
	if len(c.Users) != writers*each {
		t.Fatalf("%d of %d updates are there", len(c.Users), writers*each)
	}
}

// testIdentityRace: of clients that take one key at once, one gets it.
func testIdentityRace(t *testing.T, b Backend) {
	const rivals = 8
	stores := handles(t, b)
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range rivals {
		wg.Go(func() {
			_, err := stores[i%2].UpdateClient(t.Context(), fmt.Sprint("rival-", i), func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
				c.Keys = []tokenstore.ClientKey{{Digest: digestOf(1)}}
				return c, nil
			})
			var taken *tokenstore.IdentityTakenError
			switch {
			case err == nil:
				wins.Add(1)
			case !errors.As(err, &taken):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, _, err := stores[0].Clients(t.Context()); err != nil || len(list) != 1 || wins.Load() != 1 {
		t.Errorf("%d clients, %d winners, %v", len(list), wins.Load(), err)
	}
}

// testClientChanges: a second handle hears of every change of a client, which
// no realm's can be taken for.
func testClientChanges(t *testing.T, b Backend) {
	stores := handles(t, b)
	writer, feed := stores[0], stores[1].(tokenstore.ChangeFeed)
	_, cursor, err := feed.Changes(t.Context(), "")
	ok(t, err)
	heard := func(what string, want ...tokenstore.Change) {
		t.Helper()
		changes, next, err := feed.Changes(t.Context(), cursor)
		ok(t, err)
		cursor = next
		for i, c := range changes {
			if c.At.IsZero() || c.IsClient() != (c.Ref == realm.Ref{}) {
				t.Errorf("%s: %+v", what, c)
			}
			changes[i].At = time.Time{}
		}
		if !slices.Equal(changes, want) {
			t.Errorf("%s: it says %+v", what, changes)
		}
	}
	ok(t, writer.RequireClients(t.Context()))
	heard("require clients", tokenstore.Change{})
	ok(t, writer.RequireClients(t.Context()))
	heard("require clients again")
	for _, id := range []string{"wx", "=", "=wx"} {
		putClient(t, writer, id, nil)
		heard("create client", tokenstore.Change{Client: id})
		putClient(t, writer, id, func(c *tokenstore.Client) { c.Comment = "x" })
		heard("update client", tokenstore.Change{Client: id})
		ok(t, writer.ClientsUsed(t.Context(), map[string]time.Time{id: time.Now()}))
		heard("clients used")
		ok(t, writer.DeleteClient(t.Context(), id))
		heard("delete client", tokenstore.Change{Client: id})
	}
	_, err = SaveRealm(t.Context(), writer, realm.Realm{ID: "wx"})
	ok(t, err)
	heard("save realm", tokenstore.Change{Ref: realm.Ref{Realm: "wx"}})
	putCompany(t, writer, "9111", nil)
	if err := writer.DeleteClient(t.Context(), "wx"); err == nil {
		t.Fatal("deleted twice")
	}
	heard("nothing that a node keeps")
}
