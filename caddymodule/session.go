package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// csrfHeader is what a page of another site cannot send: a browser asks the
	// API first whether it may (CORS), and the API never says yes. It is
	// X-Tokens-CSRF, as net/http spells it.
	csrfHeader = "X-Tokens-Csrf"
	// anySession is its value in requests that mean whichever session the browser has.
	// Others have the token of the one that they mean.
	anySession = "1"
	// maxSessionCookies bounds how many cookies of our name are looked at. A browser
	// sends several where sites at several paths of a host have a console each.
	maxSessionCookies = 4
	// sessionCheck is how often a request that lasts is asked whether its session
	// still does.
	sessionCheck = time.Second
)

// sessionCookies are the cookies of a request by which somebody may be signed in;
// none where they do not count. A browser sends a cookie with whatever any page
// asks it for. So it counts only for a page of this very site, which alone can set
// the header.
func sessionCookies(r *http.Request) []realm.Hidden {
	if means := r.Header.Get(csrfHeader); means != anySession && !session.IsToken(means) {
		return nil
	}
	if adminapi.SaysSiteTwice(r) {
		return nil
	}
	if from := r.Header.Get("Sec-Fetch-Site"); from != "" && from != "same-origin" {
		return nil
	}
	if origin := r.Header.Get("Origin"); origin != "" && !consoleSite(r).isOrigin(origin) {
		return nil
	}
	return cookiesNamed(r.Header["Cookie"], inject.SessionCookie)
}

// cookiesNamed returns the values of the cookies of a name, a few at most. It
// takes them as they are: what is none of ours is found by its signature.
func cookiesNamed(lines []string, name string) []realm.Hidden {
	var values []realm.Hidden
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			key, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if key == name && len(values) < maxSessionCookies {
				values = append(values, realm.Hidden(value))
			}
		}
	}
	return values
}

// reached is where a browser reached the site of the console.
type reached struct {
	scheme, host, path string
}

// consoleSite is where the caller reached the site: behind a proxy that Caddy
// trusts (trusted_proxies), what that proxy says. Which part of the path is the
// site's own, is seen as siteOf sees it.
func consoleSite(r *http.Request) reached {
	s := reached{scheme: "http", host: r.Host}
	if r.TLS != nil {
		s.scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			s.scheme = proto
		}
		if host := r.Header.Get("X-Forwarded-Host"); host != "" {
			s.host = host
		}
	}
	if sent := sentURL(r.Context()); sent != nil {
		s.path, _, _ = beginnings(sentPath(sent), r.URL.EscapedPath())
	}
	return s
}

// isOrigin reports whether an Origin is the site's. A page of https may be behind a
// proxy that is not trusted, so that we see http; a page of http is never one of a
// site that we see with https, since anybody on the way can write it.
func (s reached) isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, s.host) && (u.Scheme == "https" || u.Scheme == s.scheme)
}

// cookie is the value of Set-Cookie for a session that ends then; the zero time
// takes the cookie away.
func (s reached) cookie(value realm.Hidden, r *http.Request, ends time.Time) string {
	c := http.Cookie{ // #nosec G124 -- without Secure where the browser uses http, or it would not send it
		Name: inject.SessionCookie, Value: value.Reveal(), Path: s.path + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: s.scheme == "https" || strings.HasPrefix(r.Header.Get("Origin"), "https://"), MaxAge: -1,
	}
	if !ends.IsZero() {
		// Rounded up: the store has the last word.
		c.MaxAge = max(1, int((time.Until(ends)+time.Second-1)/time.Second))
	}
	return c.String()
}

// admitSession returns who is signed in by a cookie, in the session that is meant:
// its token, or anySession. What he may do is looked up anew, and so is whether what
// he signed in with still is good.
func (a *Admin) admitSession(r *http.Request, repl *caddy.Replacer, cookies []realm.Hidden, means string) (caller, *realm.Error) {
	x, err := a.readSession(cookies, means)
	switch {
	case errors.Is(err, errOtherSession):
		return caller{}, errOtherSession
	case errors.Is(err, session.ErrForged), errors.Is(err, session.ErrEnded):
		// One that is not ours does not count as a wrong key does: nobody guesses a
		// signature, and a browser may have the cookie of another instance, or an old one.
		return caller{}, errSessionEnded
	case err != nil:
		return caller{}, refusalOf(catalog.StoreError(err))
	}
	// Whoever an authentication directive names now has to be who it named then.
	if x.User != a.admission.user(repl) {
		return caller{}, errSessionEnded
	}
	who, refused := a.identify(r, repl, identityOf(x))
	if refused != nil {
		return caller{}, refused
	}
	if err := a.sessions.Check(r.Context(), x); err != nil {
		if errors.Is(err, session.ErrEnded) {
			return caller{}, errSessionEnded
		}
		return caller{}, refusalOf(catalog.StoreError(err))
	}
	who.session = x
	return who, nil
}

// readSession reads the first cookie that is one of ours, and of the session that is
// meant.
func (a *Admin) readSession(cookies []realm.Hidden, means string) (*session.Session, error) {
	err := session.ErrForged
	if a.sessions == nil { // an edge has none
		return nil, err
	}
	for _, cookie := range cookies {
		x, wrong := a.sessions.Read(cookie)
		if wrong == nil && (means == anySession || means == x.Token()) {
			return x, nil
		}
		if wrong == nil {
			wrong = errOtherSession
		}
		// That one ended tells more than that one is not ours, and that another one goes
		// on tells most.
		if errors.Is(err, session.ErrForged) || errors.Is(wrong, errOtherSession) {
			err = wrong
		}
	}
	return nil, err
}

// identity is who somebody was when he signed in, or made a link.
type identity struct {
	kind adminapi.CallerKind
	id   string
	// isOf tells the credential by its digest; nil for who had none.
	isOf func(digest []byte) bool
}

func identityOf(x *session.Session) identity {
	i := identity{kind: adminapi.CallerKind(x.Kind), id: x.ID}
	if x.HasCredential() {
		i.isOf = x.IsOf
	}
	return i
}

// identify returns who somebody is today: the admin while the admin token is the
// same one, a client while it has the key, and whoever needs neither as long as he
// is let in without. It refuses a client that has nothing to do in the console by
// now.
func (a *Admin) identify(r *http.Request, repl *caddy.Replacer, i identity) (who caller, _ *realm.Error) {
	switch {
	case i.isOf == nil:
		var refused *realm.Error
		if who, refused = a.admission.admitKeyless(r, repl); refused != nil && refused.Code != realm.CodeForbidden {
			return caller{}, refused
		} else if refused != nil || who.kind != i.kind || who.id() != i.id {
			return caller{}, errSessionEnded
		}
	case i.kind == adminapi.KindAdmin:
		token := a.expected()
		if token == nil || !i.isOf(token[:]) {
			return caller{}, errSessionEnded
		}
		who = caller{kind: adminapi.KindAdmin, digest: token[:]}
	case i.kind == adminapi.KindClient && a.admission.clients != nil:
		_ = a.admission.clients.Ready(r.Context()) // ClientOfKey knows what its failure means
		var digest []byte
		client, err := a.admission.clients.ClientOfKey(i.id, func(d []byte) bool {
			digest = d
			return i.isOf(d)
		})
		if err != nil {
			return caller{}, refusalOf(err)
		}
		if client == nil {
			return caller{}, errSessionEnded
		}
		who = caller{kind: adminapi.KindClient, client: client, digest: digest}
	default:
		return caller{}, errSessionEnded
	}
	if !adminapi.MaySignIn(who.client) {
		return caller{}, adminapi.ErrNoConsole
	}
	return who, nil
}

// credential is the digest of what the caller is known by; nil for nothing.
func (c caller) credential() []byte {
	if c.digest == nil && c.key != "" {
		digest := access.Digest(c.key)
		return digest[:]
	}
	return c.digest
}

// endWithSession returns a context that ends with the session of the request: by
// signing out, by its time, or by another admin token. That of a client is ended by
// its passage, too. stop has to be called.
func (a *Admin) endWithSession(ctx context.Context, who caller) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(sessionCheck)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			token := a.expected()
			isOther := who.kind == adminapi.KindAdmin && (token == nil || !slices.Equal(who.digest, token[:]))
			if isOther || errors.Is(a.sessions.Check(ctx, who.session), session.ErrEnded) {
				cancel(errRevoked)
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// errSessionEnded is the one answer to a cookie that is good for nothing, for
// whatever reason.
var errSessionEnded = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "the session has ended; sign in again",
}

// errOtherSession is the answer to a page whose session another one has replaced in
// this browser. The page is not to act as somebody else than it shows, and the
// browser keeps the cookie.
var errOtherSession = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: "this browser is in another session than this page, or in none; load the page again",
}
