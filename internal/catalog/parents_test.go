package catalog

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ticket is a realm whose request sends what value says, to the API of wechat.
func ticket(value string) realm.Config {
	return realm.Config{Recipe: realm.Recipe{
		URL: "https://api.example.com/ticket", TokenPath: "ticket",
		Arguments: []realm.Argument{{Name: "access_token", Place: realm.PlaceURL, Value: value}},
	}}
}

// definedAs is a realm of a configuration with the secret main.
func definedAs(id string, c realm.Config, fields ...string) Definition {
	d := Definition{Realm: realm.Realm{ID: id, Config: c}, Secrets: []realm.Secret{{Ref: realm.Ref{Realm: id, Key: "main"}, Fields: map[string]realm.Hidden{}}}}
	for i := 0; i < len(fields); i += 2 {
		d.Secrets[0].Fields[fields[i]] = realm.Hidden(fields[i+1])
	}
	return d
}

const ticketField = "config.arguments[0].value"

// wantParentFault asserts that a realm cannot be saved.
func (f *fixture) wantParentFault(t *testing.T, id string, c realm.Config, field, reason string) {
	t.Helper()
	_, err := f.SaveRealm(t.Context(), id, becomes(c))
	var fault *realm.FieldError
	if !errors.As(err, &fault) || fault.Field != field || !strings.Contains(fault.Reason, reason) {
		t.Errorf("%v, want %s: %s", err, field, reason)
	}
}

func TestParentsOfASavedRealm(t *testing.T) {
	f := ready(t)
	for value, reason := range map[string]string{
		"{token_of.nobody}":      `there is no realm "nobody"`,
		"{token_of.nobody.main}": `there is no realm "nobody"`,
		"{token_of.jsapi}":       "another one of the same realm",
		"{token_of.jsapi.other}": "another one of the same realm",
	} {
		f.wantParentFault(t, "jsapi", ticket(value), ticketField, reason)
	}
	// A key may be created later.
	for _, value := range []string{"{token_of.wx}", "{token_of.wx.main}", "{token_of.wx.later}", `{token_of["wx"]["x.y"]}`} {
		f.saveRealm(t, "jsapi", ticket(value))
	}

	inURL := ticket("x")
	inURL.URL = `https://api.example.com/{token_of["wx"]["a}b"]}?t={token_of["wx"]}`
	f.saveRealm(t, "jsapi", inURL)

	elsewhere := ticket("{token_of.wx}")
	elsewhere.URL = "https://evil.example.com/ticket"
	const reason = "goes elsewhere"
	f.wantParentFault(t, "jsapi", elsewhere, ticketField, reason)
	elsewhere = ticket("x")
	elsewhere.URL = "https://evil.example.com/ticket?t={token_of.wx}"
	f.wantParentFault(t, "jsapi", elsewhere, "config.url", reason)
	elsewhere.URL = "https://api.example.com:8443/ticket?t={token_of.wx}"
	f.wantParentFault(t, "jsapi", elsewhere, "config.url", reason)
	elsewhere = ticket("x")
	elsewhere.Refresh = &realm.Recipe{URL: "https://evil.example.com/r?t={token_of.wx}&r={refresh_token}"}
	f.wantParentFault(t, "jsapi", elsewhere, "config.refresh.url", reason)
	plain := ticket("{token_of.wx}")
	plain.AllowHTTP, plain.URL = realm.On, "http://api.example.com/ticket"
	f.wantParentFault(t, "jsapi", plain, ticketField, reason)

	wide := wechat()
	wide.Hosts = []string{"*.example.com"}
	f.saveRealm(t, "wx", wide)
	elsewhere = ticket("{token_of.wx}")
	elsewhere.URL = "https://tickets.example.com/ticket"
	f.saveRealm(t, "jsapi", elsewhere)
	elsewhere.URL = "https://a.tickets.example.com/ticket"
	f.wantParentFault(t, "jsapi", elsewhere, ticketField, reason)

	wide.InjectOnly = realm.On
	f.saveRealm(t, "wx", wide)
	f.wantParentFault(t, "jsapi", ticket("{token_of.wx}"), ticketField, "inject_only")
	f.saveRealm(t, "wx", wechat())
	yes := true
	if _, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: wx, InjectOnly: &yes}); err != nil {
		t.Fatal(err)
	}
	f.wantParentFault(t, "jsapi", ticket("{token_of.wx.main}"), ticketField, "inject_only")
	f.saveRealm(t, "jsapi", ticket("{token_of.wx.other}"))
}

// A circle is refused, whoever closes it, and so is a chain that is too long.
func TestCircles(t *testing.T) {
	f := ready(t)
	f.saveRealm(t, "b", ticket("{token_of.wx}"))
	within := ticket("{token_of.b.main}")
	within.API = "https://api.example.com"
	openToB := ticket("{token_of.wx}")
	openToB.API = "https://api.example.com"
	f.saveRealm(t, "b", openToB)
	f.saveRealm(t, "c", within)
	closing := wechat()
	closing.Arguments[0].Value = "{token_of.c.main}"
	f.wantParentFault(t, "wx", closing, ticketField, "circle")
	closing.Arguments[0].Value = "{token_of.b.main}"
	f.wantParentFault(t, "wx", closing, ticketField, "circle")

	f = ready(t)
	last := "wx"
	for i := range maxChain + 1 {
		c := ticket("{token_of." + last + "}")
		c.API = "https://api.example.com"
		last = fmt.Sprint("r", i)
		if i < maxChain-1 {
			f.saveRealm(t, last, c)
		} else {
			f.wantParentFault(t, last, c, ticketField, "too many")
			break
		}
	}
}

// TestConcurrentSave: what the parents of a realm are was judged before the realm is
// written. If somebody else has changed it in between, nothing is written.
func TestConcurrentSave(t *testing.T) {
	f := ready(t)
	f.saveRealm(t, "jsapi", ticket("x"))
	calls := 0
	_, err := f.SaveRealm(t.Context(), "jsapi", func(r realm.Realm, _ bool) (realm.Realm, error) {
		if calls++; calls > 1 {
			r.Config = ticket("{token_of.nobody}")
		}
		return r, nil
	})
	wantError(t, err, realm.CodeConflict, http.StatusConflict)
}

// Realms of a configuration are judged together, in any order.
func TestParentsInAConfiguration(t *testing.T) {
	parent := definedAs("wx", wechat(), "key_1", "app", "key_2", "s3cret-value")
	child := definedAs("jsapi", ticket("{token_of.wx.main}"))
	newFixture(t, child, parent)
	newFixture(t, parent, child)

	secluded, kept := parent, definedAs("wx", wechat(), "key_1", "app", "key_2", "s3cret-value")
	secluded.Realm.Config.InjectOnly = realm.On
	kept.Secrets[0].InjectOnly = true
	elsewhere := child
	elsewhere.Realm.Config.URL = "https://evil.example.com/ticket"
	circle := parent
	circle.Realm.Config.Arguments = append(slices.Clone(circle.Realm.Config.Arguments), realm.Argument{Name: "t", Place: realm.PlaceURL, Value: "{token_of.jsapi.main}"})
	open := child
	open.Realm.Config.API = "https://api.example.com"
	for reason, definitions := range map[string][]Definition{
		`realm "jsapi": ` + ticketField + `: there is no realm "wx"`: {child},
		`is inject_only`: {child, secluded},
		`inject_only`:    {child, kept},
		`goes elsewhere`: {parent, elsewhere},
		`circle`:         {open, circle},
	} {
		if _, err := New(NewCache(Config{}), definitions, false); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want %s", err, reason)
		}
	}
	// A realm of the store is none of the configuration's parents.
	f := newFixture(t)
	f.saveRealm(t, "wx", wechat())
	if _, err := New(f.cache, []Definition{child}, false); err == nil {
		t.Error("a realm of the store is the parent of one of the configuration")
	}
}

// use is the one use of a parent that a secret of a realm has, as a call finds it.
func (f *fixture) use(t *testing.T, ref realm.Ref) (Parent, error) {
	t.Helper()
	r, err := f.Realm(t.Context(), ref.Realm)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Secret(t.Context(), r, ref)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Bind(s)
	if err != nil {
		return Parent{}, err
	}
	uses, err := b.ParentUses(grant.FetchRecipe)
	if err != nil || len(uses) != 1 {
		t.Fatalf("%v %v", uses, err)
	}
	return f.Parent(t.Context(), r, uses[0], b.OwnParentKey())
}

// TestHostOfAChildSecret: a host that a secret fills in is judged when that is
// known.
func TestHostOfAChildSecret(t *testing.T) {
	f := ready(t)
	c := ticket("{token_of.wx.main}")
	c.URL = "https://{secret.shop}.example.com/ticket"
	f.saveRealm(t, "jsapi", c)
	good, bad := realm.Ref{Realm: "jsapi", Key: "good"}, realm.Ref{Realm: "jsapi", Key: "bad"}
	f.saveSecret(t, good, "shop", "api")
	f.saveSecret(t, bad, "shop", "evil")
	if p, err := f.use(t, good); err != nil || p.Ref != wx {
		t.Errorf("%+v %v", p, err)
	}
	_, err := f.use(t, bad)
	wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict)
	if strings.Contains(err.Error(), "evil") {
		t.Errorf("a value of the secret is told: %v", err)
	}
}

// TestCaddyfileParent: a token of a realm of the configuration goes, for a realm of
// the API, only to hosts that the configuration names, whatever a secret of the API
// fills in.
func TestCaddyfileParent(t *testing.T) {
	open := wechat()
	open.API, open.URL, open.Hosts = "https://{secret.shop}.example.com", "https://token.example.com/t", []string{"{secret.shop}.example.com"}
	f := newFixture(t, definedAs("shops", open, "shop", "named", "key_1", "app", "key_2", "s3cret-value"), defined())
	f.saveSecret(t, realm.Ref{Realm: "shops", Key: "added"}, "shop", "mine", "key_1", "app", "key_2", "s3cret-value")
	f.saveRealm(t, "fixed", ticket("{token_of.wx.main}"))
	f.saveSecret(t, realm.Ref{Realm: "fixed", Key: "k"}, "x", "y")
	if _, err := f.use(t, realm.Ref{Realm: "fixed", Key: "k"}); err != nil {
		t.Error(err)
	}
	for key, host := range map[string]string{"main": "named", "added": "mine"} {
		c := ticket("{token_of.shops." + key + "}")
		c.URL = "https://" + host + ".example.com/ticket"
		if key == "added" {
			f.wantParentFault(t, "child", c, ticketField, "names no host")
			// The secret may be added after the realm.
			c.Arguments[0].Value = "{token_of.shops}"
			f.saveRealm(t, "child", c)
			f.saveSecret(t, realm.Ref{Realm: "child", Key: "k"}, "parent", key)
			_, err := f.use(t, realm.Ref{Realm: "child", Key: "k"})
			wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict)
			continue
		}
		f.saveRealm(t, "child-of-"+key, c)
		f.saveSecret(t, realm.Ref{Realm: "child-of-" + key, Key: "k"}, "x", "y")
		if _, err := f.use(t, realm.Ref{Realm: "child-of-" + key, Key: "k"}); err != nil {
			t.Error(err)
		}
	}
	plain := ticket("{token_of.wx.main}")
	plain.URL, plain.AllowHTTP = "http://api.example.com/ticket", realm.On
	f.wantParentFault(t, "plain", plain, ticketField, "goes elsewhere")
}

// TestParentKeyOfASecret: whoever writes a secret may name only a parent that he
// may use. What was written before anybody asked does not count.
func TestParentKeyOfASecret(t *testing.T) {
	f := ready(t)
	config := wechat()
	config.DefaultKey = "main"
	f.saveRealm(t, "wx", config)
	f.saveSecret(t, realm.Ref{Realm: "wx", Key: "k2"}, "key_1", "app", "key_2", "s3cret-value")
	ref := realm.Ref{Realm: "jsapi", Key: "k"}
	f.saveRealm(t, "jsapi", ticket("x"))
	update := func(may bool, fields ...string) error {
		_, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: ref, Fields: values(fields...), MayUse: func(parent realm.Ref) error {
			if parent != (realm.Ref{Realm: "wx", Key: "k2"}) {
				t.Errorf("asked about %v", parent)
			}
			if may {
				return nil
			}
			return errors.New("not allowed")
		}})
		return err
	}
	if err := update(false, "a", "1", "parent", "k2"); err != nil {
		t.Fatalf("nothing reads the field yet: %v", err)
	}
	f.saveRealm(t, "jsapi", ticket("{token_of.wx}"))
	_, err := f.use(t, ref)
	if wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict); !strings.Contains(err.Error(), "parent") {
		t.Error(err)
	}
	for _, fields := range [][]string{{"parent", "k2"}, {"a", "2"}, {"a", "2", "parent", "k2"}} {
		if err := update(false, fields...); err == nil {
			t.Errorf("%v: whoever may not use the parent has written it", fields)
		}
	}
	if err := update(true, "parent", "k2"); err != nil {
		t.Fatal(err)
	}
	if p, err := f.use(t, ref); err != nil || p.Ref.Key != "k2" {
		t.Errorf("%+v %v", p, err)
	}
	// Another realm for the same key is another parent.
	f.saveRealm(t, "other", config)
	f.saveRealm(t, "jsapi", ticket("{token_of.other}"))
	_, err = f.use(t, ref)
	wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict)
	f.saveRealm(t, "jsapi", ticket("{token_of.wx}"))

	yes := true
	if _, err := f.SaveSecret(t.Context(), SecretUpdate{Ref: realm.Ref{Realm: "wx", Key: "k2"}, InjectOnly: &yes}); err != nil {
		t.Fatal(err)
	}
	var fault *realm.FieldError
	if err := update(true, "parent", "k2"); !errors.As(err, &fault) || fault.Field != "fields.parent" {
		t.Errorf("%v", err)
	}
	f.saveSecret(t, realm.Ref{Realm: "jsapi", Key: "of-default"}, "a", "1")
	if p, err := f.use(t, realm.Ref{Realm: "jsapi", Key: "of-default"}); err != nil || p.Ref != wx {
		t.Errorf("%+v %v", p, err)
	}
}

// TestParentKeyUnderACaddyfileRealm: the same for a secret that the API adds to a
// realm of the configuration, which comes to read the field later.
func TestParentKeyUnderACaddyfileRealm(t *testing.T) {
	f := newFixture(t, defined(), Definition{Realm: realm.Realm{ID: "jsapi", Config: ticket("x")}})
	ref := realm.Ref{Realm: "jsapi", Key: "k"}
	f.saveSecret(t, ref, "parent", "main")
	later, err := New(f.cache, []Definition{defined(), {Realm: realm.Realm{ID: "jsapi", Config: ticket("{token_of.wx}")}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	f.Catalog = later
	_, err = f.use(t, ref)
	wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict)
	f.saveSecret(t, ref, "parent", "main")
	if _, err := f.use(t, ref); err != nil {
		t.Error(err)
	}
}

// Whose tokens somebody needs the right to read, who saves or tries a realm.
func TestParentsToRead(t *testing.T) {
	f := ready(t)
	for value, want := range map[string][]realm.Ref{
		"x": nil, "{token_of.wx}": {{Realm: "wx"}}, "{token_of.wx.k}": {{Realm: "wx", Key: "k"}}, "{token_of.nobody}": {{Realm: "nobody"}},
	} {
		if got, err := f.ParentsToRead(t.Context(), realm.Realm{ID: "jsapi", Config: ticket(value)}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", value, got, err)
		}
	}
	config := wechat()
	config.DefaultKey = "main"
	f.saveRealm(t, "wx", config)
	if got, err := f.ParentsToRead(t.Context(), realm.Realm{ID: "jsapi", Config: ticket("{token_of.wx}")}); err != nil || !slices.Equal(got, []realm.Ref{wx}) {
		t.Errorf("%v %v", got, err)
	}
	f.saveRealm(t, "jsapi", ticket("{token_of.wx}"))
	ref := realm.Ref{Realm: "jsapi", Key: "k"}
	f.saveSecret(t, ref, "parent", "k2")
	if got, err := f.TestedParents(t.Context(), ref, nil); err != nil || !slices.Equal(got, []realm.Ref{{Realm: "wx", Key: "k2"}}) {
		t.Errorf("%v %v", got, err)
	}
	other := ticket("{token_of.wx.k3}")
	if got, err := f.TestedParents(t.Context(), ref, &other); err != nil || !slices.Equal(got, []realm.Ref{{Realm: "wx", Key: "k3"}}) {
		t.Errorf("%v %v", got, err)
	}
}

// A realm that others need stays, with and without its secrets.
func TestDeleteAParent(t *testing.T) {
	f := ready(t)
	f.saveRealm(t, "jsapi", ticket("{token_of.wx}"))
	f.saveRealm(t, "card", ticket("{token_of.wx.main}"))
	for _, cascade := range []bool{false, true} {
		err := f.DeleteRealm(t.Context(), "wx", cascade)
		wantError(t, err, realm.CodeConflict, http.StatusConflict)
		var children *ChildrenError
		if !errors.As(err, &children) || !slices.Equal(children.Children, []string{"card", "jsapi"}) || strings.Contains(err.(*realm.Error).Detail, "card") { //nolint:errorlint // as it is returned
			t.Errorf("%v", err)
		}
	}
	for _, id := range []string{"card", "jsapi", "wx"} {
		if err := f.DeleteRealm(t.Context(), id, true); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
