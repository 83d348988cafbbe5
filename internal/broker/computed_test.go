package broker

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// computing is a node with a realm that computes its tokens: they differ from
// second to second, and half an hour is their life.
func computing(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.saveRealm(t, "wx", realm.Config{
		API: "https://api.example.com", Inject: []realm.Injection{{Place: realm.PlaceHeader, Name: "Authorization", Value: "Bearer {token}"}},
		Lifetime: realm.Lifetime{Duration: realm.Duration(30 * time.Minute)},
		Grant:    &realm.Grant{Name: realm.GrantComputed, Expr: "secret.key_1 + ' ' + now('150405', 'UTC')"},
	})
	n.saveSecret(t, wx, "key_1", "app")
	return n
}

// A computed token is made once for all callers and kept. Nobody is asked, and no
// client pays for it.
func TestComputedToken(t *testing.T) {
	n := computing(t)
	poor := &allowance{}
	lease, err := n.Token(poor.context(t), wx)
	if err != nil || !strings.HasPrefix(lease.Access.Reveal(), "app ") || lease.Source != realm.FromUpstream {
		t.Fatalf("%+v %v", lease, err)
	}
	if left := lease.Expires.Time().Sub(n.clock.now()); left > 30*time.Minute || left <= 30*time.Minute-time.Second {
		t.Errorf("ends in %v", left)
	}
	n.clock.advance(20 * time.Minute)
	want(t, n.View, wx, lease.Access.Reveal(), realm.FromMemory)
	other := nodeOn(t, n.pool.store, n.provider, n.clock)
	want(t, other.View, wx, lease.Access.Reveal(), realm.FromDatabase)

	n.clock.advance(10 * time.Minute)
	next, err := n.Token(poor.context(t), wx)
	if err != nil || next.Access == lease.Access || next.Lineage != lease.Lineage+1 {
		t.Errorf("after its end: %+v %v", next, err)
	}
	if report, err := n.Test(poor.context(t), wx, nil); err != nil || report.Error != "" || report.Token == nil {
		t.Errorf("%+v %v", report, err)
	}
	poor.owes(t, 0)
}

// A flush computes anew, and so does an API that refuses the token; one that
// refuses everything does not cause a computation for each request.
func TestComputedTokenHeals(t *testing.T) {
	n := computing(t)
	first, err := n.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	n.clock.advance(time.Minute)
	lease, err := n.heal(t.Context(), wx, first.Access)
	if err != nil || lease.Access == first.Access {
		t.Fatalf("%+v %v", lease, err)
	}
	for range 100 {
		if _, err := n.heal(t.Context(), wx, lease.Access); err == nil {
			t.Fatal("a token that nobody accepted was computed again at once")
		}
	}
	n.clock.advance(time.Hour)
	if flushed, err := n.Flush(t.Context(), wx); err != nil || flushed.Access == lease.Access {
		t.Errorf("%+v %v", flushed, err)
	}
}

// A key that is none is the field's fault: when a secret is saved, and when a
// realm that was saved later uses it.
func TestComputedTokenOfAWrongKey(t *testing.T) {
	n := newNode(t)
	signing := realm.Config{
		Lifetime: realm.Lifetime{Duration: realm.Duration(time.Hour)},
		Grant:    &realm.Grant{Name: realm.GrantComputed, Expr: "jwt('RS256', secret.key_2, {'iss': secret.key_1})"},
	}
	n.saveRealm(t, "wx", signing)
	wrong := realm.Hidden("s3cret-value")
	_, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, Fields: map[string]*realm.Hidden{"key_2": &wrong}})
	var field *realm.FieldError
	if !errors.As(err, &field) || field.Field != "fields.key_2" || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("saved: %v", err)
	}
	plain := signing
	plain.Grant = &realm.Grant{Name: realm.GrantComputed, Expr: "secret.key_1 + secret.key_2"}
	n.saveRealm(t, "wx", plain)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	n.saveRealm(t, "wx", signing)
	_, err = n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeInvalidField, http.StatusConflict)
	if !strings.Contains(err.Error(), "fields.key_2") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("used: %v", err)
	}
}
