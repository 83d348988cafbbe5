package grant

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestStatic(t *testing.T) {
	for _, c := range []struct {
		config string
		fields map[string]string
		token  string
		end    time.Time
	}{
		{`{}`, map[string]string{"token": "T"}, "T", time.Time{}},
		{`{"grant":{"name":"static"}}`, map[string]string{"token": "T", "expires_at": ""}, "T", time.Time{}},
		{`{"grant":{"name":"static","token":"$token"}}`, map[string]string{"token": "T", "expires_at": "1795348800000"}, "T", time.UnixMilli(1795348800000)},
		{`{"grant":{"name":"static","token":"{secret.user}.{secret.key_1}"}}`, map[string]string{"user": "u", "key_1": "k"}, "u.k", time.Time{}},
	} {
		b := bind(t, realmOf(t, c.config, ""), c.fields)
		got, err := b.Fixed()
		if err != nil || got.Access.Reveal() != c.token || !got.ExpiresAt.Equal(c.end) || got.Fingerprint != b.Fingerprint() {
			t.Errorf("%s: %q until %v, %v", c.config, got.Access.Reveal(), got.ExpiresAt, err)
		}
		if b.program.Fetches() {
			t.Errorf("%s fetches", c.config)
		}
		_, err = b.Fetch(t.Context(), testClient(t), Request{})
		if failed := failure(t, err); failed.Class != Hopeless {
			t.Errorf("error %+v", failed)
		}
	}
}

func TestStaticRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		fields map[string]string
		field  string
	}{
		"an empty token":     {map[string]string{"token": ""}, "token"},
		"control characters": {map[string]string{"token": "a\nb"}, "token"},
		"no number":          {map[string]string{"token": "T", "expires_at": "soon"}, "expires_at"},
		"before 1970":        {map[string]string{"token": "T", "expires_at": "-1"}, "expires_at"},
	} {
		_, err := bind(t, realmOf(t, `{}`, ""), c.fields).Fixed()
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := bind(t, realmOf(t, plainRealm, "https://x.example"), nil).Fixed()
	if err == nil {
		t.Error("a realm that fetches has a fixed token")
	}
}
