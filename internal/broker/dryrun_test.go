package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
		if err != nil || report.Kind != "" || report.Fault != grant.FaultNotAuthorized || report.Error == "" {
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

// A realm that can only refresh is tried by a refresh, in the usual way: the refresh
// token that a provider rotates is kept, and the token is the live one.
func TestDryRunOfARefresh(t *testing.T) {
	s := newCodeServer(t)
	n := newNode(t)
	config := s.config(false)
	config.Authorize, config.Exchange, config.CallbackURL = nil, nil, ""
	n.saveRealm(t, jd.Realm, config)
	n.saveSecret(t, jd, "client_id", "app", "refresh_token", "R-seed-canary")
	var sent []string
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		sent = append(sent, form.Get("refresh_token"))
		s.gives(w, form)
	})
	for i := range 2 {
		report, err := n.Test(t.Context(), jd, nil)
		if err != nil || report.Error != "" || !report.Saved || !report.Refreshed || report.Token == nil || !report.Token.RefreshToken || report.Response.Status != 200 {
			t.Fatalf("%+v %v", report, err)
		}
		if text, err := json.Marshal(report); err != nil || strings.Contains(string(text), "R-") || strings.Contains(string(text), "T-") {
			t.Errorf("the report tells too much: %s %v", text, err)
		}
		want(t, n.View, jd, fmt.Sprintf("T-%d-app", i+1), realm.FromMemory)
	}
	if !slices.Equal(sent, []string{"R-seed-canary", "R-1"}) {
		t.Errorf("sent %q", sent)
	}

	report, err := n.Test(t.Context(), jd, &config) // the new refresh token would have no place
	if err != nil || report.Fault != grant.FaultTrial || len(sent) != 2 {
		t.Errorf("%+v %v", report, err)
	}
	s.thenToken(func(w http.ResponseWriter, _ url.Values) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"R-2 is gone"}`))
	})
	report, err = n.Test(t.Context(), jd, nil)
	if err != nil || report.Kind != grant.KindInvalidGrant || report.Saved || report.Class != "hopeless" {
		t.Errorf("%+v %v", report, err)
	}
	report, err = n.Test(t.Context(), jd, nil)
	if err != nil || report.Fault != grant.FaultNotAuthorized || report.Refreshed {
		t.Errorf("%+v %v", report, err)
	}
}

// A dry run reports its own refresh, and not one that somebody else has begun.
func TestDryRunOfARefreshIsItsOwn(t *testing.T) {
	s := newCodeServer(t)
	n := newNode(t)
	config := s.config(false)
	config.Authorize, config.Exchange, config.CallbackURL = nil, nil, ""
	n.saveRealm(t, jd.Realm, config)
	n.saveSecret(t, jd, "client_id", "app", "refresh_token", "R-seed")
	arrived, release := make(chan struct{}, 9), make(chan struct{})
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		arrived <- struct{}{}
		<-release
		s.gives(w, form)
	})
	done := make(chan error, 1)
	go func() {
		_, err := n.Flush(t.Context(), jd)
		done <- err
	}()
	<-arrived
	tested := make(chan grant.Report, 1)
	go func() {
		report, _ := n.Test(t.Context(), jd, nil)
		tested <- report
	}()
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if report := <-tested; !report.Saved || report.Response == nil || report.Request.URL == "" {
		t.Errorf("%+v", report)
	}
	if got := s.refreshes.Load(); got != 2 {
		t.Errorf("%d refreshes", got)
	}
}
