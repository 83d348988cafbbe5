package access

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// as is a change to what it is given.
func as(want tokenstore.Client) func(tokenstore.Client, bool) (tokenstore.Client, error) {
	return func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		want.ID = c.ID
		return want, nil
	}
}

// mustSave saves a client.
func mustSave(t testing.TB, v *View, id string, c tokenstore.Client) Saved {
	t.Helper()
	saved, err := v.Save(t.Context(), id, as(c))
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

func ruleOf(change func(r *tokenstore.Rule)) tokenstore.Client {
	r := tokenstore.Rule{Effect: "allow", Rights: []string{"use"}, Realms: []string{"a"}}
	change(&r)
	return tokenstore.Client{Rules: []tokenstore.Rule{{Effect: "deny", Rights: []string{"use"}, Realms: []string{"*"}}, r}}
}

// TestBadClients: each is refused with the field that the user typed.
func TestBadClients(t *testing.T) {
	_, v := newView(t, newMemoryStore(), ViewConfig{})
	many := make([]tokenstore.Rule, maxRules+1)
	var numbers []string
	for i := range maxIdentities + 1 {
		numbers = append(numbers, strconv.Itoa(i))
	}
	type rule = tokenstore.Rule
	for want, c := range map[string]tokenstore.Client{
		`comment: must be UTF-8`:                                 {Comment: "\xff"},
		`comment: must be UTF-8 text of at most 1024`:            {Comment: strings.Repeat("x", 1025)},
		`rules: has 1001 rules; 1000 is the limit`:               {Rules: many},
		`rules[1].effect: is "forbid"; there are allow and deny`: ruleOf(func(r *rule) { r.Effect = "forbid" }),
		`rules[1].effect: is ""`:                                 ruleOf(func(r *rule) { r.Effect = "" }),
		`rules[1].rights[1]: is not a right; there are use, r`:   ruleOf(func(r *rule) { r.Rights = []string{"use", "write"} }),
		`rules[1].rights[0]: is not a right`:                     ruleOf(func(r *rule) { r.Rights = []string{"*"} }),
		`rules[1].rights[2]: is given twice`:                     ruleOf(func(r *rule) { r.Rights = []string{"use", "read", "use"} }),
		`rules[1].rights: at least one right is required`:        ruleOf(func(r *rule) { r.Rights = nil }),
		`rules[1].realms: is required; * stands for all`:         ruleOf(func(r *rule) { r.Realms = nil }),
		`rules[1].realms[0]: a**b: ** is for segments`:           ruleOf(func(r *rule) { r.Realms = []string{"a**b"} }),
		`rules[1].realms[0]: **: ** is for segments`:             ruleOf(func(r *rule) { r.Realms = []string{"**"} }),
		`rules[1].realms[1]: is given twice`:                     ruleOf(func(r *rule) { r.Realms = []string{"a", "a"} }),
		`rules[1].keys[1]: is required`:                          ruleOf(func(r *rule) { r.Keys = []string{"a", ""} }),
		`rules[1].keys[0]: has a control`:                        ruleOf(func(r *rule) { r.Keys = []string{"a\n"} }),
		`rules[1].keys: has 101 entries; 100 is the limit`:       ruleOf(func(r *rule) { r.Keys = numbers[:101] }),
		`rules[1].methods[0]: is not a method; write GET`:        ruleOf(func(r *rule) { r.Methods = []string{"get"} }),
		`rules[1].methods[0]: is not a method`:                   ruleOf(func(r *rule) { r.Methods = []string{"G T"} }),
		`rules[1].methods: only the right use has methods`:       ruleOf(func(r *rule) { r.Methods, r.Rights = []string{"GET"}, []string{"read"} }),
		`rules[1].paths: only the right use has methods and paths; write a rule of its own for read, admin`: ruleOf(func(r *rule) {
			r.Paths, r.Rights = []string{"/a"}, []string{"use", "read", "admin"}
		}),
		`rules[1].paths[0]: must begin with /`:            ruleOf(func(r *rule) { r.Paths = []string{"a/b"} }),
		`rules[1].paths[1]: must begin with /`:            ruleOf(func(r *rule) { r.Paths = []string{"/a", ""} }),
		`rules[1].paths[0]: /a**b: ** stands for whole`:   ruleOf(func(r *rule) { r.Paths = []string{"/a**b"} }),
		`rules[1].paths[0]: /x/**b/y: ** stands`:          ruleOf(func(r *rule) { r.Paths = []string{"/x/**b/y"} }),
		`rules[1].paths[0]: /***: ** stands`:              ruleOf(func(r *rule) { r.Paths = []string{"/***"} }),
		`rules[1].paths[0]: /**/**: one ** is enough`:     ruleOf(func(r *rule) { r.Paths = []string{"/**/**"} }),
		`rules[1].paths[0]: /a/../b: has a dot segment`:   ruleOf(func(r *rule) { r.Paths = []string{"/a/../b"} }),
		`rules[1].paths[0]: /a//b: has an empty`:          ruleOf(func(r *rule) { r.Paths = []string{"/a//b"} }),
		`rules[1].paths[0]: /a%20b: has a %; write the`:   ruleOf(func(r *rule) { r.Paths = []string{"/a%20b"} }),
		`rules[1].paths[0]: /a?x=1: has a ? or a #`:       ruleOf(func(r *rule) { r.Paths = []string{"/a?x=1"} }),
		`rules[1].paths[0]: has 1025 bytes`:               ruleOf(func(r *rule) { r.Paths = []string{"/" + strings.Repeat("a", 1024)} }),
		`limits.requests: has the unit "x"`:               {Limits: tokenstore.ClientLimits{Requests: "100/x"}},
		`limits.requests: allows no calls`:                {Limits: tokenstore.ClientLimits{Requests: "0/s"}},
		`limits.fetches: is not a limit`:                  {Limits: tokenstore.ClientLimits{Fetches: "many"}},
		`limits.concurrency: must be 1 to 1000000`:        {Limits: tokenstore.ClientLimits{Concurrency: -1}},
		`limits.concurrency: must be 1 to 1000000, or`:    {Limits: tokenstore.ClientLimits{Concurrency: 1_000_001}},
		`users[1]: is empty`:                              {Users: []string{"a", ""}},
		`users: has 1001 entries`:                         {Users: numbers},
		`users[1]: is given twice`:                        {Users: []string{"a", "a"}},
		`subjects[0]: must be UTF-8 text without control`: {Subjects: []string{"CN=\n"}},
		`subjects[0]: has 1025 bytes`:                     {Subjects: []string{strings.Repeat("x", 1025)}},
		`sources[0]: has host bits; write 10.1.0.0/16`:    {Sources: []string{"10.1.2.3/16"}},
		`sources[0]: has host bits; write 2001:db8::/32`:  {Sources: []string{"2001:db8::1/32"}},
		`sources[1]: is not a prefix; write 10.1`:         {Sources: []string{"10.0.0.0/8", "localhost"}},
		`sources[0]: is not a prefix`:                     {Sources: []string{"10.0.0.0/33"}},
		`sources[0]: has host bits; write ::fffe:0:0/95`:  {Sources: []string{"::ffff:0:0/95"}},
		`sources[1]: is given twice`:                      {Sources: []string{"10.0.0.1", "::ffff:10.0.0.1/128"}},
		`expires_at: is in the past`:                      {ExpiresAt: time.Now().Add(-time.Second)},
	} {
		_, err := v.Save(t.Context(), "c", as(c))
		var field *realm.FieldError
		if !errors.As(err, &field) || !strings.HasPrefix(field.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	for id, want := range map[string]string{"": "id: is required", "a/b": "id: must not hold /", "..": "id: must not be", "a\n": "id: has a control", strings.Repeat("x", 300): "id: has 300 bytes"} {
		if _, err := v.Save(t.Context(), id, as(tokenstore.Client{})); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if v.Required() {
		t.Error("what was refused was saved")
	}
}

// TestCaddyfileClients: what is wrong with one is told with its index.
func TestCaddyfileClients(t *testing.T) {
	r := NewRegistry(RegistryConfig{Store: newMemoryStore()})
	defer r.Close()
	_, keys := newKey(time.Time{})
	a := tokenstore.Client{ID: "a", Users: []string{"u"}, Keys: keys, Sources: []string{"10.0.0.0/8"}, Subjects: []string{"s"}}
	for want, second := range map[string]tokenstore.Client{
		"clients[1].id: two clients have":                   {ID: "a", Users: []string{"x"}},
		"clients[1].id: is required":                        {Users: []string{"x"}},
		"clients[1].users: client a has the same":           {ID: "b", Users: []string{"u"}},
		"clients[1].keys: client a has the same":            {ID: "b", Keys: keys},
		"clients[1].subjects: client a has":                 {ID: "b", Subjects: []string{"s"}},
		"clients[1].sources: client a has":                  {ID: "b", Sources: []string{"::ffff:10.0.0.0/104"}},
		"clients[1].keys: the client has no key":            {ID: "b"},
		"clients[1].keys: has 3 keys; 2 is":                 {ID: "b", Keys: make([]tokenstore.ClientKey, 3)},
		"clients[1].rules[0].effect: is":                    {ID: "b", Users: []string{"x"}, Rules: make([]tokenstore.Rule, 1)},
		"clients[1].limits.requests: has the unit \"fort\"": {ID: "b", Users: []string{"x"}, Limits: tokenstore.ClientLimits{Requests: "1/fort"}},
	} {
		_, err := r.View(ViewConfig{Clients: []tokenstore.Client{a, second}})
		var field *realm.FieldError
		if !errors.As(err, &field) || !strings.HasPrefix(field.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if len(r.tallies) > 0 || len(r.defined) > 0 {
		t.Error("a configuration that was refused left something")
	}
	// One that has expired does not keep the configuration from being loaded.
	a.ExpiresAt = time.Now().Add(-time.Hour)
	if v, err := r.View(ViewConfig{Clients: []tokenstore.Client{a}}); err != nil {
		t.Error(err)
	} else {
		v.Close()
	}
}

func TestSaveAndUpdate(t *testing.T) {
	_, v := newView(t, newMemoryStore(), ViewConfig{})
	first := mustSave(t, v, "a", tokenstore.Client{Comment: "x", Users: []string{"u"}, Sources: []string{"::ffff:10.0.0.0/104", "192.0.2.1"}})
	if first.Key != "" || !first.Created || !first.ClosesLoopback || !slices.Equal(first.Sources, []string{"10.0.0.0/8", "192.0.2.1/32"}) {
		t.Errorf("%+v", first)
	}
	if mustSave(t, v, "b", tokenstore.Client{}).ClosesLoopback {
		t.Error("closed twice")
	}
	stored, err := v.Get(t.Context(), "b")
	if err != nil || len(stored.Keys) != 1 {
		t.Fatalf("%+v, %v", stored, err)
	}
	// A change cannot set what is not its own.
	second, err := v.Save(t.Context(), "b", func(c tokenstore.Client, found bool) (tokenstore.Client, error) {
		if !found || len(c.Keys) != 1 {
			t.Errorf("%+v, %v", c, found)
		}
		c.ID, c.Keys, c.UsedAt, c.CreatedAt, c.Comment = "other", nil, time.Now(), time.Time{}, "new"
		return c, nil
	})
	if err != nil || second.Created || second.Key != "" || second.ID != "b" || len(second.Keys) != 1 || !second.UsedAt.IsZero() || second.CreatedAt.IsZero() || second.Comment != "new" {
		t.Errorf("%+v, %v", second, err)
	}
	// Changes count at once.
	mustBe(t, v, Caller{User: "u"}, "a")
	mustSave(t, v, "a", tokenstore.Client{Users: []string{"w"}})
	mustBe(t, v, Caller{User: "u"}, "")
	mustBe(t, v, Caller{User: "w"}, "a")
	if _, err := v.Save(t.Context(), "a", as(tokenstore.Client{})); err == nil || !strings.HasPrefix(err.Error(), "users: the client has no key") {
		t.Error(err)
	}
	// An end that has come does not keep one from changing the rest.
	past := time.Now().Add(-time.Hour)
	v.registry.store.(*memoryStore).set(tokenstore.Client{ID: "old", Users: []string{"old"}, ExpiresAt: past})
	mustSave(t, v, "old", tokenstore.Client{Users: []string{"old"}, Comment: "y", ExpiresAt: past})

	broken := errors.New("broken")
	if _, err := v.Save(t.Context(), "a", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		return c, realm.Fieldf("x", "%v", broken)
	}); err == nil || err.Error() != "x: broken" {
		t.Error(err)
	}
}

func TestConflicts(t *testing.T) {
	_, v := newView(t, newMemoryStore(), ViewConfig{Clients: []tokenstore.Client{{ID: "own", Users: []string{"own"}, Subjects: []string{"s"}, Sources: []string{"10.0.0.0/8"}}}})
	mustSave(t, v, "a", tokenstore.Client{Users: []string{"u"}})
	for name, c := range map[string]struct {
		client tokenstore.Client
		want   string
	}{
		"another stored one's": {tokenstore.Client{Users: []string{"u"}}, "conflict: users: client a has the same one"},
		"the Caddyfile's user": {tokenstore.Client{Users: []string{"own"}}, "conflict: users: client own of the Caddyfile"},
		"its subject":          {tokenstore.Client{Subjects: []string{"s"}}, "conflict: subjects: client own of the Caddyfile"},
		"its prefix":           {tokenstore.Client{Sources: []string{"::ffff:10.0.0.0/104"}}, "conflict: sources: client own of the Caddyfile"},
	} {
		if _, err := v.Save(t.Context(), "b", as(c.client)); err == nil || !strings.HasPrefix(err.Error(), c.want) || !isCode(err, realm.CodeConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, errSave := v.Save(t.Context(), "own", as(tokenstore.Client{}))
	_, errRotate := v.Rotate(t.Context(), "own", 0)
	for _, err := range []error{errSave, errRotate, v.Delete(t.Context(), "own", "")} {
		if !isCode(err, realm.CodeReadOnly) || !strings.Contains(err.Error(), "defined in the Caddyfile") {
			t.Error(err)
		}
	}
	if err := v.Delete(t.Context(), "a", "a"); !isCode(err, realm.CodeConflict) || !strings.Contains(err.Error(), "the client that you are using") {
		t.Error(err)
	}
	mustBe(t, v, Caller{User: "u"}, "a")
	if err := v.Delete(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
	mustBe(t, v, Caller{User: "u"}, "")
	_, errGet := v.Get(t.Context(), "a")
	_, errRotate = v.Rotate(t.Context(), "a", 0)
	for _, err := range []error{errGet, errRotate, v.Delete(t.Context(), "a", "")} {
		if !isCode(err, realm.CodeNotFound) {
			t.Error(err)
		}
	}
}

func TestRotate(t *testing.T) {
	s, now := newMemoryStore(), time.Now()
	s.now = func() time.Time { return now }
	_, v := newView(t, s, ViewConfig{})
	rotate := func(keep time.Duration) Saved {
		t.Helper()
		saved, err := v.Rotate(t.Context(), "c", keep)
		if err != nil || saved.Key == "" || saved.Created || saved.ClosesLoopback {
			t.Fatalf("%+v, %v", saved, err)
		}
		return saved
	}
	good := func(s Saved, want bool) {
		t.Helper()
		if c, err := v.Identify(Caller{Key: s.Key.Reveal()}); (err == nil && c != nil) != want {
			t.Errorf("%v, %v, want %v", c, err, want)
		}
	}
	first := mustSave(t, v, "c", tokenstore.Client{})
	second := rotate(24 * time.Hour)
	good(first, true)
	good(second, true)
	// The third ends the first, though that had time left.
	third := rotate(time.Hour)
	good(first, false)
	good(second, true)
	good(third, true)
	now = now.Add(time.Hour)
	good(second, false)
	good(third, true)
	fourth := rotate(0)
	good(third, false)
	good(fourth, true)
	if len(fourth.Keys) != 1 || !fourth.Keys[0].CreatedAt.Equal(now) {
		t.Errorf("%+v", fourth.Keys)
	}
	// A key that ends sooner is not prolonged.
	fifth := rotate(time.Minute)
	good(fourth, true)
	if end := fifth.Keys[1].ExpiresAt; !end.Equal(now.Add(time.Minute)) {
		t.Errorf("ends at %v", end)
	}
	if _, err := v.Rotate(t.Context(), "c", -1); err == nil || !strings.HasPrefix(err.Error(), "keep: ") {
		t.Error(err)
	}
	// A client that had no key gets one.
	mustSave(t, v, "user", tokenstore.Client{Users: []string{"u"}})
	saved, err := v.Rotate(t.Context(), "user", time.Hour)
	if err != nil || len(saved.Keys) != 1 {
		t.Fatalf("%+v, %v", saved, err)
	}
	mustBe(t, v, Caller{Key: saved.Key.Reveal()}, "user")
}

func TestList(t *testing.T) {
	s, now := newMemoryStore(), time.Now()
	s.now = func() time.Time { now = now.Add(time.Second); return now }
	_, v := newView(t, s, ViewConfig{Clients: []tokenstore.Client{{ID: "z", Users: []string{"z"}}, {ID: "y", Comment: "Billing", Users: []string{"y"}}}})
	for _, id := range []string{"b", "a", "c"} {
		mustSave(t, v, id, tokenstore.Client{Comment: "of " + id})
	}
	s.set(tokenstore.Client{ID: "broken", Damaged: true, CreatedAt: now.Add(-time.Hour)})
	s.set(tokenstore.Client{ID: "y", Users: []string{"hidden"}})
	ids := func(page, size int, keyword string) string {
		t.Helper()
		list, total, err := v.List(t.Context(), tokenstore.Page{Number: page, Size: size}, keyword)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, i := range list {
			word := i.ID
			if i.ReadOnly {
				word += "!"
			}
			if i.Damaged {
				word += "?"
			}
			words = append(words, word)
		}
		return strings.Join(words, " ") + " of " + strconv.Itoa(total)
	}
	for _, c := range []struct {
		got, want string
	}{
		{ids(1, 10, ""), "z! y! c a b broken? of 6"},
		{ids(1, 3, ""), "z! y! c of 6"},
		{ids(2, 3, ""), "a b broken? of 6"},
		{ids(3, 3, ""), " of 6"},
		{ids(1, 10, "bill"), "y! of 1"},
		{ids(1, 10, "OF "), "c a b of 3"},
		{ids(1, 10, "nothing"), " of 0"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	s.fail(errAway)
	if _, _, err := v.List(t.Context(), tokenstore.Page{Number: 1, Size: 10}, ""); !isCode(err, realm.CodeUnavailable) {
		t.Error(err)
	}
	if i, err := v.Get(t.Context(), "y"); err != nil || !i.ReadOnly {
		t.Error(i, err)
	}
}

// TestDamagedClient: it lets nobody in, it says so, and it can be deleted.
func TestDamagedClient(t *testing.T) {
	s := newMemoryStore(tokenstore.Client{ID: "c", Damaged: true})
	_, v := newView(t, s, ViewConfig{})
	if _, err := v.Get(t.Context(), "c"); !isCode(err, realm.CodeDamaged) {
		t.Error(err)
	}
	e, err := v.Explain("c", asked("/"))
	if err != nil || e.Allowed || !strings.Contains(strings.Join(e.Reasons, "; "), "damaged") {
		t.Errorf("%+v, %v", e, err)
	}
	if err := v.Delete(t.Context(), "c", ""); err != nil {
		t.Error(err)
	}
}

// TestSavedWhileTheStoreGoesAway: the caller was told that the change is made,
// so that it counts here, too.
func TestSavedWhileTheStoreGoesAway(t *testing.T) {
	s := newMemoryStore()
	_, v := newView(t, s, ViewConfig{})
	saved, err := v.Save(t.Context(), "c", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		s.err = errAway // under the store's lock: after this change
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBe(t, v, Caller{Key: saved.Key.Reveal()}, "c")
	if v.registry.Since().IsZero() {
		t.Error("nobody is told that the store is away")
	}
}

func TestWarnings(t *testing.T) {
	got := Warnings(tokenstore.Client{Rules: []tokenstore.Rule{{Realms: []string{"known"}}, {Realms: []string{"*", "un*", "known", "unknown"}}}}, func(id string) bool { return id == "known" })
	if want := []string{`rules[1].realms[3]: there is no realm "unknown"`}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestClientThatCannotBeRead: a newer version may have written it. It keeps its
// identity and has no right.
func TestClientThatCannotBeRead(t *testing.T) {
	s := newMemoryStore(tokenstore.Client{ID: "c", Users: []string{"u"}, Rules: []tokenstore.Rule{
		{Effect: "allow", Rights: []string{"use"}, Realms: []string{"*"}}, {Effect: "deny", Rights: []string{"use"}, Realms: []string{"*"}, Paths: []string{"(regexp)"}},
	}})
	s.set(tokenstore.Client{ID: "limits", Users: []string{"w"}, Limits: tokenstore.ClientLimits{Fetches: "5/fortnight"}, Rules: []tokenstore.Rule{
		{Effect: "allow", Rights: []string{"use"}, Realms: []string{"*"}},
	}})
	_, v := newView(t, s, ViewConfig{})
	for user, id := range map[string]string{"u": "c", "w": "limits"} {
		if d := mustBe(t, v, Caller{User: user}, id).Decide(asked("/")); d.Allowed {
			t.Errorf("%s: the rules that can be read allow it", id)
		}
	}
	e, err := v.Explain("c", asked("/"))
	if err != nil || e.Allowed || !strings.Contains(strings.Join(e.Reasons, "; "), "cannot be understood: rules[1].paths[0]") {
		t.Errorf("%+v, %v", e, err)
	}
}
