package test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// startZitadel starts zitadel/oidc's example server, with a page of ours for
// the consent, for which it has none.
func startZitadel(t *testing.T, o authOptions) *authServer {
	t.Helper()
	s := &authServer{
		authorize: "/auth", token: "/oauth/token", revoke: "/revoke", api: "/userinfo", callback: o.callback,
		subject: "id2", dead: http.StatusForbidden, semantics: "strict",
	}
	s.kill = func(t *testing.T, token string) { s.revokeToken(t, token, "access_token") }
	s.serve(t, func(base string) http.Handler {
		z := &zitadel{life: o.life, ends: map[string]time.Time{}, Storage: storage.NewStorageWithClients(
			storage.NewUserStore(base),
			map[string]*storage.Client{appID: storage.WebClient(appID, appSecret, o.callback)},
		)}
		silent := slog.New(slog.DiscardHandler)
		z.pages = exampleop.SetupServer(base, z, silent, false)
		var err error
		z.errors, err = op.NewProvider(&op.Config{}, z, op.StaticIssuer(base), op.WithAllowInsecure(), op.WithLogger(silent))
		if err != nil {
			t.Fatal(err)
		}
		return z
	})
	return s
}

// zitadel is the example server's storage. It wants PKCE, lets the tests say how
// long an access token lives, and asks for consent after the login.
type zitadel struct {
	*storage.Storage
	pages  http.Handler
	errors op.Authorizer // tells the app that the person denied
	life   time.Duration

	mu   sync.Mutex
	ends map[string]time.Time // by the id of an access token
}

func (z *zitadel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/auth/callback": // the login is done
		z.pages.ServeHTTP(w, r)
	case r.Method == http.MethodGet:
		w.Write([]byte(consentPage))
	case r.PostFormValue("consent") == "allow":
		r.Method = http.MethodGet
		z.pages.ServeHTTP(w, r)
	default:
		asked, err := z.AuthRequestByID(r.Context(), r.URL.Query().Get("id"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		denied := oidc.ErrAccessDenied().WithDescription("the person denied")
		op.AuthRequestError(w, r, asked, denied, z.errors)
	}
}

func (z *zitadel) CreateAuthRequest(ctx context.Context, r *oidc.AuthRequest, userID string) (op.AuthRequest, error) {
	if r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE is required")
	}
	return z.Storage.CreateAuthRequest(ctx, r, userID)
}

func (z *zitadel) CreateAccessAndRefreshTokens(
	ctx context.Context, r op.TokenRequest, used string,
) (id, refresh string, end time.Time, err error) {
	id, refresh, _, err = z.Storage.CreateAccessAndRefreshTokens(ctx, r, used)
	end = time.Now().Add(z.life)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ends[id] = end
	return id, refresh, end, err
}

func (z *zitadel) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	z.mu.Lock()
	end := z.ends[id]
	z.mu.Unlock()
	if time.Now().After(end) {
		return errors.New("the token is expired")
	}
	return z.Storage.SetUserinfoFromToken(ctx, info, id, subject, origin)
}
