package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/edge"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() {
	caddy.RegisterModule((*Admin)(nil))
}

// Admin serves the HTTP API of realms, secrets, tokens and companies below
// /api/, and that of accounts: /<realm>-account/ with get-access-token,
// request-access-token, refresh-token, init-all-token, refresh-all-token and
// callback-token. Other paths go to the next handler.
//
// It serves those who send the admin token, and users that an authentication
// handler in front of it accepted; others where auth says so. The callback, which
// a provider leads anybody's browser to, serves everybody, as token_callback does.
//
// Requests whose URL, or the URL that they are answered with, is confidential
// are left out of the access log, and have a line of their own in the log of
// this handler.
type Admin struct {
	// The admin token, which lets callers in: Authorization: Bearer <token>,
	// or as the password of Basic; in Proxy-Authorization too. Write it as
	// {env.NAME} or {file./absolute/path}. Default: the one in the file
	// tokens.admin, which the first start makes beside the key file of SQLite,
	// or in Caddy's data directory where there is none.
	AdminToken string `json:"admin_token,omitempty"`

	// Write local to serve callers on this machine that use a loopback name
	// without authentication. Write none to serve everybody so, if the Host is
	// a name of the site, an address, a name without a dot, or one of the names
	// behind it: "none tokens.corp.example". Or write one placeholder: its
	// value, if it is not empty, is the user that another authenticator
	// accepted. Default: those with the admin token, and those accepted by an
	// authentication handler.
	Auth string `json:"auth,omitempty"`

	token     *adminToken // of the configuration; nil for that of the file
	file      *adminFile
	admission admission
	failures  *failures
	sessions  *session.Sessions
	api       http.Handler
	calls     *apiCalls
	refusals  *zap.Logger // anybody may cause one
	recorder  *audit.Recorder
	// end ends the answers that go on for ever.
	end context.CancelFunc
}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_admin",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Provision sets up the API.
func (a *Admin) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if a.admission, err = parseAdmission(a.Auth); err != nil {
		return err
	}
	if a.admission.none {
		ctx.Logger().Warn("auth none: everybody who can reach this handler may read tokens and change secrets")
	}
	a.file = app.adminFile
	if a.AdminToken != "" {
		token, err := resolveHidden(a.AdminToken)
		if err != nil {
			return fmt.Errorf("admin_token: %w", err)
		}
		a.token = newAdminToken(token)
	}
	a.failures, a.sessions = app.tokenFailures, app.sessions
	a.admission.connect(app)
	a.refusals = adminapi.Sampled(ctx.Logger())
	if a.calls, err = newAPICalls(ctx, app); err != nil {
		return err
	}
	opts := adminapi.Options{
		Clients: app.clients, Audit: app.recorder, APIs: a.calls, Log: ctx.Logger(), Ending: a.ending(ctx), Activities: recentActivity,
		Now: app.pool.Now,
	}
	if app.isEdge() {
		opts.Edge = edge.ErrReadOnly
	}
	a.api = adminapi.New(app.view, app.view.Catalog(), opts)
	a.recorder = app.recorder
	return nil
}

// ending is closed when the server begins to shut down: it waits for what is under
// way, and would wait for ever for a stream. Cleanup comes only after that.
func (a *Admin) ending(ctx caddy.Context) <-chan struct{} {
	ending, end := context.WithCancel(context.Background())
	a.end = end
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterOnShutdown(end)
	}
	return ending.Done()
}

// Cleanup ends streams, and closes the connections of calls.
func (a *Admin) Cleanup() error {
	if a.end != nil {
		a.end()
	}
	if a.calls == nil {
		return nil
	}
	return a.calls.close()
}

// ServeHTTP serves the API.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !adminapi.Serves(r.URL) {
		return next.ServeHTTP(w, a.withoutCredentials(r))
	}
	confidential := adminapi.IsConfidential(r.URL)
	if confidential {
		skipAccessLog(r)
	}
	ctx := r.Context() //nolint:contextcheck // a passage is a context, made of it
	who, refused := a.admit(r)
	l := a.loginOf(r, who, refused)
	if l != nil && l.refused != nil {
		refused = nil // the body says who it is
	}
	if refused == nil && who.client != nil {
		var p *passage
		if p, refused = beginPassage(ctx, who); refused == nil {
			defer p.end()
			ctx = p
		}
	}
	if refused != nil {
		if confidential {
			a.refusals.Info("refused a confidential request", zap.String("method", r.Method), zap.String("remote", r.RemoteAddr))
		}
		e := eventOf(r, audit.ActLogin, who, realm.Ref{})
		e.Code = string(refused.Code)
		a.recorder.Refused(e)
		if refused == errSessionEnded {
			// Nobody is to send it again and again.
			w.Header().Add("Set-Cookie", consoleSite(r).cookie("", r, time.Time{}))
		}
		forbid(w, refused)
		return nil
	}
	c := adminapi.Caller{Kind: who.kind, ID: who.id(), Client: who.client, Address: auditAddress(r), Host: consoleSite(r).host}
	if l != nil {
		c.Login = l
	}
	if who.session != nil {
		c.SessionEnds, c.SessionToken = who.session.Ends, who.session.Token()
		var stop func()
		ctx, stop = a.endWithSession(ctx, who)
		defer stop()
	}
	a.api.ServeHTTP(w, r.WithContext(adminapi.WithCaller(ctx, c)))
	return nil
}

// loginOf is what makes and ends sessions for a request that is about one, else
// nil. Whoever signs in may be nobody until then; not so who sent a credential
// that is wrong.
func (a *Admin) loginOf(r *http.Request, who caller, refused *realm.Error) *login {
	if !adminapi.IsAboutSession(r) {
		return nil
	}
	l := &login{admin: a, r: r, who: who}
	if refused != nil && adminapi.SignsIn(r) && refused.Code == realm.CodeForbidden && refused != errMisplacedKey && !credentialsOf(r).given() {
		l.refused = refused
	}
	return l
}

// admit returns who may call the API, else why not; what a caller may do there
// is decided by the API. It also refuses the pages of other sites, all but the
// callback's.
//
// What is sent as Bearer claims to be the admin token or a key. So a wrong one is
// refused also where the caller would have been let in without any, except where
// everybody is and no token is configured: there something in front may have
// asked for what was sent.
//
// The cookie of a session comes next, and decides, too: who signs in with a key
// wants the rights of that key, also where he has others without. It is not looked
// at where somebody signs in.
func (a *Admin) admit(r *http.Request) (caller, *realm.Error) {
	if adminapi.ServesCallback(r.URL) {
		return caller{}, nil // whoever authorizes has no credential of ours
	}
	if refused := refuseMisplacedKey(r); refused != nil {
		return caller{}, refused
	}
	given, from, wait := credentialsOf(r), addressOf(r), time.Duration(0)
	// A page of another site can make a browser send a password of its choice, also
	// many times: that is no try of whoever sits there.
	if given.given() && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return caller{}, errCrossSite
	}
	// A key decides first, and of a key and something else the key alone is looked
	// at: who has a key, or sends a wrong one, has no tries at the token beside it.
	var badKey *realm.Error
	if given.given() && a.admission.clients != nil {
		who, refused := a.admission.admitKey(r, given)
		if who.client != nil {
			return who, nil
		}
		badKey, given.values = refused, given.keys()
	}
	token := a.expected()
	claims := token != nil && given.given()
	if claims {
		// An address that sent many wrong ones waits, and until then its next
		// one is not even compared.
		if wait = a.failures.wait(from); wait == 0 && token.isAmong(given) {
			if wait = a.failures.record(from, true); wait == 0 {
				return caller{kind: adminapi.KindAdmin, digest: token[:]}, nil
			}
		}
	}
	if badKey != nil {
		return caller{}, badKey
	}
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	// What a user sent is the user's own password.
	if !claims || !given.bearer || a.admission.none && a.token == nil || a.admission.user(repl) != "" {
		means := r.Header.Get(csrfHeader)
		switch cookies := sessionCookies(r); {
		case adminapi.SignsIn(r):
		case cookies != nil:
			return a.admitSession(r, repl, cookies, means)
		case session.IsToken(means):
			return caller{}, errOtherSession
		}
		who, refused := a.admission.admitKeyless(r, repl)
		switch refused {
		case nil:
			return who, nil
		case errLocalOnly, errClientsOnly:
			refused = a.errNotAdmin()
		}
		if !claims || a.admission.user(repl) != "" {
			return caller{}, refused
		}
	}
	if wait == 0 {
		wait = a.failures.record(from, false)
	}
	if wait > 0 {
		return caller{}, errTooManyFailures(wait)
	}
	return caller{}, a.errNotAdmin()
}

// expected is the admin token; nil where there is none, since its file cannot be
// used.
func (a *Admin) expected() *adminToken {
	if a.token != nil || a.file == nil {
		return a.token
	}
	return a.file.token.Load()
}

// errNotAdmin names the ways in. It says the same whatever is missing or wrong.
// The path of the file is in the log only, which strangers do not see.
func (a *Admin) errNotAdmin() *realm.Error {
	where := "which the file " + adminFileName + " holds (the log of the start says where it is)"
	if a.token != nil {
		where = "which 'admin_token' sets"
	}
	return &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden,
		Detail: "the admin API asks for the admin token, " + where + ", or for the key of a client, as Authorization: Bearer; or put an authentication directive " +
			"(such as basic_auth) in front, name the result of another one with 'auth {placeholder}', or write 'auth local' for callers on " +
			"this machine that use a loopback name, or 'auth none' for everybody",
	}
}

// withoutCredentials takes the admin token, clients' keys and the cookie of a session
// off a request that is not for us, so that no handler behind forwards them. The
// proxies of this site still find the keys; see credentialsOf.
func (a *Admin) withoutCredentials(r *http.Request) *http.Request {
	token, given, clean := a.expected(), credentialsOf(r), r
	if inject.HasSessionCookie(r.Header) {
		clean = r.Clone(r.Context())
		inject.RemoveSessionCookie(clean.Header)
	}
	var keys http.Header
	for i, name := range credentialHeaders {
		isToken := token.equals(given.values[i])
		if r.Header.Get(name) == "" || !isToken && !a.admission.isKeyOfClient(given.values[i]) {
			continue
		}
		if clean == r {
			clean = r.Clone(r.Context())
		}
		if !isToken {
			if keys == nil {
				keys = http.Header{}
			}
			keys.Set(name, r.Header.Get(name))
		}
		clean.Header.Del(name)
	}
	if keys != nil {
		clean = clean.WithContext(context.WithValue(clean.Context(), keysTakenOff{}, keys))
	}
	return clean
}

// parseAdmin reads the admin API:
//
//	token_admin [<matcher>] {
//	    admin_token <token>
//	    auth local | none [<hosts...>] | {<placeholder>}
//	}
func parseAdmin(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Errf("token_admin: surplus argument '%s'", h.Val())
	}
	a := new(Admin)
	return a, options{
		"admin_token": value(&a.AdminToken, func(s string) (string, error) {
			warnIfOpen(h.Dispenser, "admin_token", isLiteral(s))
			return s, nil
		}),
		"auth": {parse: func(d *caddyfile.Dispenser) error {
			words, err := args(d)
			if err != nil {
				return err
			}
			a.Auth = strings.Join(words, " ")
			if _, err := parseAdmission(a.Auth); err != nil {
				return d.WrapErr(err)
			}
			return nil
		}},
	}.parse(h.Dispenser, directiveAdmin)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Admin)(nil)
	_ caddy.CleanerUpper          = (*Admin)(nil)
	_ caddyhttp.MiddlewareHandler = (*Admin)(nil)
)
