package test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/storage"
)

// startFosite starts a server of ory/fosite, the library within Ory Hydra. It
// ends all tokens of an authorization where a code or a refresh token is used
// twice.
func startFosite(t *testing.T, o authOptions) *authServer {
	t.Helper()
	config := &fosite.Config{
		AccessTokenLifespan: o.life, EnforcePKCE: true,
		GlobalSecret: random(32), HashCost: 4, // bcrypt's least
	}
	secret, err := (&fosite.BCrypt{Config: config}).Hash(t.Context(), []byte(appSecret))
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	store := storage.NewMemoryStore()
	store.Clients[appID] = &fosite.DefaultClient{
		ID: appID, Secret: secret, RedirectURIs: []string{o.callback}, ResponseTypes: []string{"code"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: []string{"openid", "offline_access"},
	}
	s := &authServer{
		authorize: "/oauth2/auth", token: "/oauth2/token", revoke: "/oauth2/revoke", api: "/me", callback: o.callback,
		subject: personName, dead: http.StatusUnauthorized, semantics: "family",
		kill: func(t *testing.T, token string) {
			// Its revocation endpoint ends the refresh token as well.
			signature := compose.NewOAuth2HMACStrategy(config).AccessTokenSignature(t.Context(), token)
			if err := store.DeleteAccessTokenSession(t.Context(), signature); err != nil {
				t.Fatal(err)
			}
		},
	}
	s.serve(t, func(base string) http.Handler {
		config.IDTokenIssuer = base
		f := &fositeServer{provider: compose.ComposeAllEnabled(config, store, key), cookie: rand.Text()}
		mux := http.NewServeMux()
		mux.HandleFunc(s.authorize, f.authorize)
		mux.HandleFunc("GET /login", f.loginPage)
		mux.HandleFunc("POST /login", f.login)
		mux.HandleFunc("POST "+s.token, f.token)
		mux.HandleFunc("POST "+s.revoke, f.revoke)
		mux.HandleFunc("GET "+s.api, f.me)
		return mux
	})
	return s
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails, see crypto/rand
	return b
}

// fositeServer is what a program with fosite writes itself: the pages, and one
// API.
type fositeServer struct {
	provider fosite.OAuth2Provider
	cookie   string // of the one session
}

const loginPage = `<!DOCTYPE html>
<html><body><form method="POST" action="">
<input name="username"><input name="password" type="password">
<button type="submit">Log in</button>
</form></body></html>`

func (f *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	asked, err := f.provider.NewAuthorizeRequest(ctx, r)
	if err != nil {
		f.provider.WriteAuthorizeError(ctx, w, asked, err)
		return
	}
	session, err := r.Cookie("session")
	switch {
	case err != nil || session.Value != f.cookie:
		http.Redirect(w, r, "/login?to="+url.QueryEscape(r.URL.RequestURI()), http.StatusFound)
	case r.Method == http.MethodGet:
		w.Write([]byte(consentPage))
	case r.PostFormValue("consent") == "allow":
		f.grant(w, r, asked)
	default:
		f.provider.WriteAuthorizeError(ctx, w, asked, fosite.ErrAccessDenied)
	}
}

func (f *fositeServer) grant(w http.ResponseWriter, r *http.Request, asked fosite.AuthorizeRequester) {
	for _, scope := range asked.GetRequestedScopes() {
		asked.GrantScope(scope)
	}
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.Subject = personName, personName
	answer, err := f.provider.NewAuthorizeResponse(r.Context(), asked, session)
	if err != nil {
		f.provider.WriteAuthorizeError(r.Context(), w, asked, err)
		return
	}
	f.provider.WriteAuthorizeResponse(r.Context(), w, asked, answer)
}

func (f *fositeServer) loginPage(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(loginPage)) }

func (f *fositeServer) login(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("username") != personName || r.PostFormValue("password") != personPassword {
		w.Write([]byte(loginPage))
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Value: f.cookie, Path: "/"})
	http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
}

func (f *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	asked, err := f.provider.NewAccessRequest(r.Context(), r, openid.NewDefaultSession())
	if err != nil {
		f.provider.WriteAccessError(r.Context(), w, asked, err)
		return
	}
	answer, err := f.provider.NewAccessResponse(r.Context(), asked)
	if err != nil {
		f.provider.WriteAccessError(r.Context(), w, asked, err)
		return
	}
	f.provider.WriteAccessResponse(r.Context(), w, asked, answer)
}

func (f *fositeServer) revoke(w http.ResponseWriter, r *http.Request) {
	f.provider.WriteRevocationResponse(r.Context(), w, f.provider.NewRevocationRequest(r.Context(), r))
}

// me tells who the owner of a token is.
func (f *fositeServer) me(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	use, owned, err := f.provider.IntrospectToken(r.Context(), token, fosite.AccessToken, openid.NewDefaultSession(), "openid")
	if err != nil || use != fosite.AccessToken {
		http.Error(w, "the token is not valid", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"sub": owned.GetSession().GetSubject()}) // the client is gone, and there is nobody to tell
}
