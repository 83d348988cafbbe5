package test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	zitadelstorage "github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// assertionServer is a server of ory/fosite whose one client authenticates itself
// by private_key_jwt. It takes each assertion once, for five minutes or less, and
// only if it is meant for the token endpoint.
func assertionServer(t *testing.T, key crypto.Signer, algorithm string) (base string) {
	t.Helper()
	secretless := &fosite.DefaultOpenIDConnectClient{
		DefaultClient:                     &fosite.DefaultClient{ID: appID, GrantTypes: []string{"client_credentials"}, Scopes: []string{"read"}},
		TokenEndpointAuthMethod:           "private_key_jwt",
		TokenEndpointAuthSigningAlgorithm: algorithm,
		JSONWebKeys:                       &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "key-1", Use: "sig", Algorithm: algorithm, Key: key.Public()}}},
	}
	serverKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	store := storage.NewMemoryStore()
	store.Clients[appID] = secretless
	s := &authServer{token: "/oauth2/token"}
	s.serve(t, func(base string) http.Handler {
		config := &fosite.Config{GlobalSecret: random(32), AccessTokenLifespan: time.Hour, TokenURL: base + s.token}
		f := &fositeServer{provider: compose.ComposeAllEnabled(config, store, serverKey)}
		mux := http.NewServeMux()
		mux.HandleFunc("POST "+s.token, f.token)
		mux.HandleFunc("GET /me", f.robot)
		return mux
	})
	return s.base
}

// robot is an API for every token: those of a client have no owner.
func (f *fositeServer) robot(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, _, err := f.provider.IntrospectToken(r.Context(), token, fosite.AccessToken, openid.NewDefaultSession()); err != nil {
		http.Error(w, "the token is not valid", http.StatusUnauthorized)
	}
}

// A server that somebody else wrote takes our assertion, and each of several: no
// two have the same jti.
func TestServerTakesPrivateKeyJWT(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[string]crypto.Signer{"RS256": rsaKey, "PS256": rsaKey, "ES256": ecKey} {
		t.Run(algorithm, func(t *testing.T) {
			base := assertionServer(t, key, algorithm)
			n := launch(t, config{
				tokens: fmt.Sprintf(`realm fosite {
	api %[1]s
	allow_http on
	grant client_credentials {
		token_url %[1]s/oauth2/token
		token_endpoint_auth_method private_key_jwt
		key_id key-1
		algorithm %[2]s
		scopes read
	}
	inject header Authorization "Bearer {token}"
	secret main {
		client_id %[3]s
		private_key {file.%[4]s}
	}
}
`, base, algorithm, appID, keyFile(t, key)),
				proxy: tokenProxy("/fosite", "fosite"),
			}.caddyfile)
			n.get(base+"/me", http.StatusUnauthorized)
			n.get(n.proxy+"/fosite/me", http.StatusOK)
			for range 2 {
				n.get(n.admin+"/api/token?realm=fosite&key=main&flush=true", http.StatusOK)
				n.get(n.proxy+"/fosite/me", http.StatusOK)
			}
		})
	}
}

// keyFile is a file with the key.
func keyFile(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The tokens of another party, which the server below takes for an exchange.
const (
	partnerToken = "partner-token-01"
	actorToken   = "actor-token-01"
)

// robots are the example server's users, and the service user as one who may
// act for others: an exchange needs that.
type robots struct{ zitadelstorage.UserStore }

func (r robots) GetUserByID(id string) *zitadelstorage.User {
	if id == serviceUser {
		return &zitadelstorage.User{ID: serviceUser, Username: "robot", IsAdmin: true}
	}
	return r.UserStore.GetUserByID(id)
}

// partners is the example server's storage, which knows the tokens of another
// party.
type partners struct{ *zitadelstorage.Storage }

func (partners) VerifyExchangeSubjectToken(_ context.Context, token string, kind oidc.TokenType) (string, string, map[string]any, error) {
	if token != partnerToken || kind != oidc.AccessTokenType {
		return "", "", nil, errors.New("not the token of the partner")
	}
	return token, serviceUser, nil, nil
}

func (partners) VerifyExchangeActorToken(_ context.Context, token string, kind oidc.TokenType) (string, string, map[string]any, error) {
	if token != actorToken || kind != oidc.AccessTokenType {
		return "", "", nil, errors.New("not the token of the actor")
	}
	return token, serviceUser, nil, nil
}

// A token of another party is exchanged for one of the server, which the server's
// own protected endpoint takes. Neither token is told.
func TestServerExchangesAToken(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	base := "http://" + srv.Listener.Addr().String()
	store := partners{zitadelstorage.NewStorageWithClients(robots{zitadelstorage.NewUserStore(base)}, map[string]*zitadelstorage.Client{
		appID: zitadelstorage.WebClient(appID, appSecret),
	})}
	srv.Config.Handler = exampleop.SetupServer(base, store, slog.New(slog.DiscardHandler), false)
	srv.Start()
	t.Cleanup(srv.Close)
	exchange := func(id, subject string) string {
		return fmt.Sprintf(`realm %[1]s {
	api %[2]s
	allow_http on
	grant token_exchange {
		token_url %[2]s/oauth/token
		actor_token {secret.actor}
		requested_token_type urn:ietf:params:oauth:token-type:access_token
		audience orders
		resource https://orders.example.com/
		scopes openid profile
	}
	inject header Authorization "Bearer {token}"
	secret main {
		client_id %[3]s
		client_secret %[4]s
		subject_token %[5]s
		actor %[6]s
	}
}
`, id, base, appID, appSecret, subject, actorToken)
	}
	n := launch(t, config{
		tokens: exchange("sts", partnerToken) + exchange("wrong", "not-the-partner-01"),
		proxy:  tokenProxy("/sts", "sts") + tokenProxy("/wrong", "wrong"),
	}.caddyfile)
	info := decode[map[string]any](t, n.get(n.proxy+"/sts/userinfo", http.StatusOK))
	if info["sub"] != serviceUser || info["preferred_username"] != "robot" {
		t.Errorf("the server told about %v", info)
	}
	status, refused := n.try(n.proxy + "/wrong/userinfo")
	if status == http.StatusOK || decode[map[string]any](t, refused)["provider_code"] != "invalid_request" {
		t.Errorf("a wrong token: %d %s", status, refused)
	}
	for _, hidden := range []string{partnerToken, actorToken, "not-the-partner-01"} {
		if strings.Contains(string(n.log())+string(refused), hidden) {
			t.Errorf("%s is told", hidden)
		}
	}
}
