package catalog

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ticketed is a realm with a ticket that is pushed.
func ticketed() realm.Config {
	c := wechat()
	c.Arguments = append(c.Arguments, realm.Argument{Name: "ticket", Place: realm.PlaceURL, Value: "{secret.ticket}"})
	c.Volatile = []string{"ticket"}
	return c
}

func (f *fixture) push(t *testing.T, ref realm.Ref, field, value string, life time.Duration) {
	t.Helper()
	if _, err := f.Push(t.Context(), ref, field, realm.Hidden(value), life); err != nil {
		t.Fatal(err)
	}
}

// TestPush: a pushed value lies over the secret's own until it ends, wherever the
// secret is defined, and the secret itself stays as it is.
func TestPush(t *testing.T) {
	d := defined()
	d.Realm.Config = ticketed()
	d.Secrets[0].Fields["ticket"] = "own"
	inFile := newFixture(t, d)
	inStore := newFixture(t)
	inStore.saveRealm(t, "wx", ticketed())
	inStore.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value", "ticket", "own")
	inStore.changes = nil
	for name, f := range map[string]*fixture{"the Caddyfile": inFile, "the store": inStore} {
		f.push(t, wx, "ticket", "pushed", time.Hour)
		f.reported(t, Change{Ref: wx, Event: Pushed})
		if s, err := f.secret(t, wx); err != nil || s.Fields["ticket"] != "pushed" || s.Fields["key_1"] != "app" {
			t.Errorf("%s: %v", name, err)
		}
		info, err := f.SecretInfo(t.Context(), wx)
		if v := info.Pushed["ticket"]; err != nil || info.Fields["ticket"] != "own" || v.Value != "pushed" || v.ExpiresAt.Sub(v.UpdatedAt) != time.Hour {
			t.Errorf("%s: shown as %+v, %v", name, info.Pushed, err)
		}
		f.push(t, wx, "ticket", "ended", 1) // at once
		if s, err := f.secret(t, wx); err != nil || s.Fields["ticket"] != "own" {
			t.Errorf("%s: a value that has ended counts: %v", name, err)
		}
	}
	other, err := New(inFile.cache, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Push(t.Context(), wx, "ticket", "x", 0); !IsNotFound(err) {
		t.Errorf("to a realm that there is not: %v", err)
	}
	if _, err := inStore.Push(t.Context(), realm.Ref{Realm: "wx", Key: "none"}, "ticket", "x", 0); !IsNotFound(err) {
		t.Errorf("to a secret that there is not: %v", err)
	}
}

func TestPushIsRefused(t *testing.T) {
	d := defined()
	d.Realm.Config = ticketed()
	f := newFixture(t, d)
	f.saveRealm(t, "stored", ticketed())
	ref := realm.Ref{Realm: "stored", Key: "main"}
	f.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
	_, err := f.Push(t.Context(), wx, "key_2", "x", 0)
	wantError(t, err, realm.CodeReadOnly, http.StatusConflict)
	for _, c := range []struct {
		field, value string
		life         time.Duration
		at, reason   string
	}{
		{"key_2", "x", 0, "field", "is none of the realm's volatile fields: ticket"},
		{"", "x", 0, "field", "volatile fields: ticket"},
		{"ticket", "", 0, "value", "is required"},
		{"ticket", realm.Mask, 0, "value", "mask"},
		{"ticket", "\xff", 0, "value", "UTF-8"},
		{"ticket", strings.Repeat("x", 64<<10+1), 0, "value", "64 KiB"},
		{"ticket", "x", -time.Second, "expires_in", "seconds"},
		{"ticket", "x", realm.MaxLifetime + time.Second, "expires_in", "1 to 34560000 seconds"},
	} {
		_, err := f.Push(t.Context(), ref, c.field, realm.Hidden(c.value), c.life)
		var fault *realm.FieldError
		if !errors.As(err, &fault) || fault.Field != c.at || !strings.Contains(fault.Reason, c.reason) {
			t.Errorf("%q %q %s: %v", c.field, c.value[:min(len(c.value), 9)], c.life, err)
		}
	}
	if s, err := f.secret(t, ref); err != nil || len(s.Fields) != 2 {
		t.Errorf("something was pushed: %d fields, %v", len(s.Fields), err)
	}
}

// TestPushNamesNoHost: whoever may push must not lead a secret to his own host,
// also where the operator defines the realm.
func TestPushNamesNoHost(t *testing.T) {
	c := ticketed()
	c.URL = "https://{secret.ticket}.example/token"
	d := Definition{Realm: realm.Realm{ID: "file", Config: c}, Secrets: []realm.Secret{{
		Ref: realm.Ref{Realm: "file", Key: "main"}, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value", "ticket": "good"},
	}}}
	f := newFixture(t, d)
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value", "ticket", "good")
	for _, ref := range []realm.Ref{wx, d.Secrets[0].Ref} {
		_, err := f.Push(t.Context(), ref, "ticket", "evil", 0)
		wantRefused(t, err, "{secret.ticket}.example")
		var fault *realm.FieldError
		if _, err := f.Push(t.Context(), ref, "ticket", "a b/", 0); !errors.As(err, &fault) || fault.Field != "value" {
			t.Errorf("%s: no part of a host: %v", ref, err)
		}
		f.push(t, ref, "ticket", "good", 0)
	}
}

// TestPushNamesNoParent: nor to the token of another credential, for which whoever
// pushes may have no right. A secret of the configuration file is no exception.
func TestPushNamesNoParent(t *testing.T) {
	c := ticket("{token_of.wx}")
	c.Arguments = append(c.Arguments, realm.Argument{Name: "app", Place: realm.PlaceURL, Value: "{secret.parent}"})
	c.Volatile = []string{grant.ParentField}
	child := realm.Ref{Realm: "jsapi", Key: "main"}
	inFile := newFixture(t, defined(), definedAs("jsapi", c, grant.ParentField, "main"))
	inStore := newFixture(t, defined())
	inStore.saveRealm(t, "jsapi", c)
	inStore.saveSecret(t, child, grant.ParentField, "main")
	for name, f := range map[string]*fixture{"file": inFile, "store": inStore} {
		_, err := f.Push(t.Context(), child, grant.ParentField, "other", 0)
		if wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict); !strings.Contains(err.Error(), "another parent") {
			t.Error(err)
		}
		f.push(t, child, grant.ParentField, "main", 0)
		if p, err := f.use(t, child); err != nil || p.Ref != wx {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestPushedForAnotherHost: whoever enters other values for his own host gets none
// of those that were pushed before.
func TestPushedForAnotherHost(t *testing.T) {
	f := newFixture(t)
	f.saveRealm(t, "wx", ticketed())
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	f.push(t, wx, "ticket", "pushed", 0)
	f.saveSecret(t, wx, "key_2", "corrected")
	if s, err := f.secret(t, wx); err != nil || s.Fields["ticket"] != "pushed" {
		t.Fatalf("a corrected field ends what was pushed: %v", err)
	}
	c := ticketed()
	c.URL = "https://evil.example/token"
	f.saveRealm(t, "wx", c)
	wantRefused(t, f.bind(t, wx), "evil.example")
	f.saveSecret(t, wx, "key_1", "made", "key_2", "up")
	if err := f.bind(t, wx); err != nil {
		t.Fatal(err)
	}
	if s, err := f.secret(t, wx); err != nil || len(s.Fields) != 2 {
		t.Errorf("it is sent with what was pushed for another host: %d fields, %v", len(s.Fields), err)
	}
}

// TestPushedToAnOlderSecret: nor does he get them from the memory of a node while the
// store fails.
func TestPushedToAnOlderSecret(t *testing.T) {
	f := newFixture(t)
	f.saveRealm(t, "wx", ticketed())
	f.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value", "ticket", "own")
	f.push(t, wx, "ticket", "pushed", 0)
	fields := func() realm.Hidden {
		t.Helper()
		s, err := f.secret(t, wx)
		if err != nil {
			t.Fatal(err)
		}
		return s.Fields["ticket"]
	}
	f.store.pushedAway = true
	if fields() != "own" {
		t.Fatal("what was never read is known")
	}
	f.store.pushedAway = false
	fields()
	f.store.pushedAway = true
	if fields() != "pushed" {
		t.Fatal("what was read last does not count")
	}
	c := ticketed()
	c.URL = "https://evil.example/token"
	f.saveRealm(t, "wx", c)
	f.saveSecret(t, wx, "key_1", "made", "key_2", "up", "ticket", "x")
	if fields() != "x" {
		t.Error("it is sent with what was pushed for another host")
	}
}

// TestPushedWithoutTheStore: what was read last is good as long as it lives, and a
// damaged row keeps nobody from the secret's own value.
func TestPushedWithoutTheStore(t *testing.T) {
	d := defined()
	d.Realm.Config = ticketed()
	f := newFixture(t, d)
	f.push(t, wx, "ticket", "pushed", time.Hour)
	f.store.away.Store(true)
	_, err := f.secret(t, wx)
	wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
	f.store.away.Store(false)
	for range 2 {
		if s, err := f.secret(t, wx); err != nil || s.Fields["ticket"] != "pushed" {
			t.Fatalf("%v", err)
		}
		f.cache.Recheck(t.Context(), wx)
		f.store.away.Store(true)
	}
	f.now = f.now.Add(time.Hour)
	if s, err := f.secret(t, wx); err != nil || len(s.Fields) != 2 {
		t.Errorf("it counts beyond its end: %v", err)
	}
	if info, err := f.SecretInfo(t.Context(), wx); err != nil || !info.ReadOnly || info.Pushed != nil {
		t.Errorf("a secret of the Caddyfile is shown without the store, too: %+v, %v", info, err)
	}
	_, err = f.Push(t.Context(), wx, "ticket", "x", 0)
	wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
	f.store.away.Store(false)
	f.store.damaged = true
	if s, err := f.secret(t, wx); err != nil || len(s.Fields) != 2 {
		t.Errorf("a damaged row: %v", err)
	}
	if _, err := f.SecretInfo(t.Context(), wx); err != nil {
		t.Errorf("a damaged row is shown: %v", err)
	}
}
