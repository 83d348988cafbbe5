package broker

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// A process of the version before died while it sent a refresh token that is
// good once. This version closes its claim and notes the doubt; it makes no call
// itself, because the provider had asked for a pause.
func TestDoubtSurvivesAnUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "schema3.db")
	for _, file := range []string{path, sqlstore.KeyFileBeside(path)} {
		text, err := os.ReadFile(filepath.Join("..", "..", "tokenstore", "sqlstore", "testdata", filepath.Base(file)))
		if err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := newClock()
	c.us.Store(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC).UnixMicro()) // when the file was made
	store := sqlstore.SQLite(path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path)), sqlstore.WithClock(c.now))
	n := nodeOn(t, store, newProvider(t), c)
	if err := n.pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref := realm.Ref{Realm: "jd", Key: "open"}
	config := n.wechat()
	config.Recipe, config.Grant = realm.Recipe{}, &realm.Grant{
		Name: "refresh_token", TokenURL: n.provider.URL + "/token", ClientID: "app", ClientSecret: "{secret.key_1}",
	}
	n.saveRealm(t, ref.Realm, config)
	n.saveSecret(t, ref, "key_1", "s3cret-value")
	// The file's realm has another host.
	_, err := n.Catalog().SaveRealmKeepingValues(t.Context(), ref.Realm, func(r realm.Realm, _ bool) (realm.Realm, error) { return r, nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Token(t.Context(), ref)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
	st, err := store.Peek(t.Context(), ref)
	want := tokenstore.Doubt{Count: 1, Lineage: 1, At: c.now()}
	if err != nil || st.Claim.Phase != tokenstore.PhaseNone || st.Claim.Doubt != want {
		t.Fatalf("%+v, %v", st.Claim, err)
	}
}
