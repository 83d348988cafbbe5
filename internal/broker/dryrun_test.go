package broker

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestDryRun(t *testing.T) {
	n := ready(t)
	report, err := n.Test(t.Context(), wx, nil)
	if err != nil || report.Error != "" || report.Token == nil || report.Token.Length != len("T-1-app") {
		t.Fatalf("%+v %v", report, err)
	}
	text, err := json.Marshal(report)
	if err != nil || strings.Contains(string(text), "s3cret-value") || strings.Contains(string(text), "T-1-app") {
		t.Fatalf("the report tells too much: %s %v", text, err)
	}
	if _, _, err := n.pool.store.Token(t.Context(), wx); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("a dry run left a token behind: %v", err)
	}
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)

	config := n.wechat()
	config.TokenPath = "nowhere"
	report, err = n.Test(t.Context(), wx, &config)
	if err != nil || report.Kind != grant.KindBadResponse || report.Error == "" {
		t.Fatalf("%+v %v", report, err)
	}
	n.provider.then(fails(http.StatusInternalServerError))
	report, err = n.Test(t.Context(), wx, nil)
	if err != nil || report.Response == nil || report.Response.Status != http.StatusInternalServerError || report.Error == "" {
		t.Fatalf("%+v %v", report, err)
	}
	var field *realm.FieldError
	config.Arguments[0].Place = "moon"
	if _, err = n.Test(t.Context(), wx, &config); !errors.As(err, &field) || field.Field != "config.arguments[0].place" {
		t.Fatalf("%v", err)
	}
	_, err = n.Test(t.Context(), realm.Ref{Realm: "wx", Key: "nobody"}, nil)
	wantError(t, err, realm.CodeSecretNotFound, http.StatusNotFound)
}

// Where nothing can be fetched without a token or a person, a dry run says so.
// It drew a call from the quota that nobody made.
func TestDryRunOfWhatAPersonAuthorizes(t *testing.T) {
	s := newCodeServer(t)
	n := s.within(t, 1, false)
	for range 2 {
		report, err := n.Test(t.Context(), jd, nil)
		if err != nil || report.Kind != "" || report.Error != "the realm gets its tokens by an authorization" {
			t.Fatalf("%+v %v", report, err)
		}
	}
}

// A config that comes by the API must not say where the secrets of the
// Caddyfile are sent.
func TestDryRunDoesNotCarryTheCaddyfilesSecretsAway(t *testing.T) {
	n := newNode(t)
	v := n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: n.wechat()}, Secrets: []realm.Secret{{
		Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"},
	}}})
	if report, err := v.Test(t.Context(), wx, nil); err != nil || report.Token == nil {
		t.Fatalf("%+v %v", report, err)
	}
	config := n.wechat()
	_, err := v.Test(t.Context(), wx, &config)
	wantError(t, err, realm.CodeReadOnly, http.StatusConflict)
	if n.provider.calls.Load() != 1 {
		t.Fatal("the secret went out")
	}
}

// A dry run may be the first that asks for the store.
func TestDryRunOpensTheStore(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Limits.Windows = []realm.Window{{Calls: 1, Per: realm.Duration(time.Hour)}}
	v := n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: c}, Secrets: []realm.Secret{{
		Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"},
	}}})
	if report, err := v.Test(t.Context(), wx, nil); err != nil || report.Error != "" {
		t.Errorf("%+v %v", report, err)
	}
}
