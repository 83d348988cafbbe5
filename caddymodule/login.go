package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// login makes and ends the sessions of one request. It implements adminapi.Login.
type login struct {
	admin *Admin
	r     *http.Request
	// who sends the request; refused is why he is nobody, if he is.
	who     caller
	refused *realm.Error
	// found is whom Identify found, until when.
	found caller
	until time.Time
}

// IsSignedIn implements adminapi.Login. A cookie that is good for nothing, for
// whatever reason, is none.
func (l *login) IsSignedIn() (bool, error) {
	cookies := sessionCookies(l.r)
	if cookies == nil {
		return false, nil
	}
	repl, _ := l.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	_, refused := l.admin.admitSession(l.r, repl, cookies, anySession)
	switch {
	case refused == nil:
		return true, nil
	case refused.Code == realm.CodeForbidden:
		return false, nil
	}
	return false, refused
}

// IsLetIn implements adminapi.Login.
func (l *login) IsLetIn() bool { return l.refused == nil && l.who.kind != "" }

// Identify implements adminapi.Login.
func (l *login) Identify(ctx context.Context, key, link realm.Hidden) (adminapi.Caller, error) {
	repl, _ := l.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	who, refused := l.who, l.refused
	switch {
	case key != "":
		who, refused = l.byKey(key)
	case link != "":
		who, refused = l.byLink(ctx, repl, link)
	}
	if refused != nil {
		return adminapi.Caller{}, refused
	}
	found := adminapi.Caller{Kind: who.kind, ID: who.id(), Client: who.client}
	if !adminapi.MaySignIn(who.client) {
		return found, adminapi.ErrNoConsole
	}
	l.found = who
	return found, nil
}

// byKey finds the owner of a key, or of the admin token. Wrong ones are counted as
// those in Authorization are.
func (l *login) byKey(key realm.Hidden) (caller, *realm.Error) {
	a, from := l.admin, addressOf(l.r)
	given := credentials{values: [len(credentialHeaders)]string{key.Reveal()}, bearer: true}
	if a.admission.clients != nil {
		if who, refused := a.admission.admitKey(l.r, given); who.client != nil || refused != nil {
			return who, refused
		}
	}
	if access.IsKey(key.Reveal()) {
		return caller{}, errWrongKey
	}
	// An address that sent many wrong ones waits, and until then its next one is
	// not even compared.
	wait, token := a.failures.wait(from), a.expected()
	if wait == 0 {
		right := token.equals(key.Reveal())
		if wait = a.failures.record(from, right); wait == 0 {
			if !right {
				return caller{}, errWrongKey
			}
			return caller{kind: adminapi.KindAdmin, digest: token[:]}, nil
		}
	}
	return caller{}, errTooManyFailures(wait)
}

// byLink finds who made a link, as he is today. Wrong codes are counted like wrong
// admin tokens; not so that of a link which was good once, which a browser may send
// several times.
func (l *login) byLink(ctx context.Context, repl *caddy.Replacer, code realm.Hidden) (caller, *realm.Error) {
	a, from := l.admin, addressOf(l.r)
	if wait := a.failures.wait(from); wait > 0 {
		return caller{}, errTooManyFailures(wait)
	}
	link, err := a.sessions.Redeem(ctx, code)
	if errors.Is(err, session.ErrForged) {
		if wait := a.failures.record(from, false); wait > 0 {
			return caller{}, errTooManyFailures(wait)
		}
	}
	if errors.Is(err, session.ErrForged) || errors.Is(err, session.ErrEnded) {
		return caller{}, errLinkEnded
	}
	if err != nil {
		return caller{}, refusalOf(catalog.StoreError(err))
	}
	i := identity{kind: adminapi.CallerKind(link.Who.Kind), id: link.Who.ID}
	if want := link.Who.Credential; want != nil {
		i.isOf = func(digest []byte) bool { return string(digest) == string(want) }
	}
	who, refused := a.identify(l.r, repl, i)
	if refused == errSessionEnded {
		refused = errLinkEnded
	}
	l.until = link.Until
	return who, refused
}

// Begin implements adminapi.Login. The session that the browser had ends: its cookie
// is replaced, so that nobody could end it any more.
func (l *login) Begin(ctx context.Context) (adminapi.BegunSession, error) {
	repl, _ := l.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	value, ends, err := l.admin.sessions.Begin(ctx, session.Identity{
		Kind: string(l.found.kind), ID: l.found.id(), Credential: l.found.credential(), User: l.admin.admission.user(repl),
	}, l.until)
	if err != nil {
		return adminapi.BegunSession{}, catalog.StoreError(err)
	}
	if err := l.end(l.r.Context(), anySession); err != nil { //nolint:contextcheck // ctx has the entry of the audit, which is written already
		return adminapi.BegunSession{}, err
	}
	begun, err := l.admin.sessions.Read(value)
	if err != nil {
		return adminapi.BegunSession{}, errSessionEnded // a link of a session that ends at this moment
	}
	return adminapi.BegunSession{Cookie: consoleSite(l.r).cookie(value, l.r, ends), Token: begun.Token(), Ends: ends}, nil
}

// End implements adminapi.Login. The cookie decides which session it is, whoever
// else sends the request.
func (l *login) End(ctx context.Context) (string, error) {
	if err := l.end(ctx, l.r.Header.Get(csrfHeader)); err != nil {
		return "", err
	}
	return consoleSite(l.r).cookie("", l.r, time.Time{}), nil
}

// end ends the session that is meant: its token, or anySession. A console below the
// path of another one gets the cookies of both, its own first (RFC 6265 section 5.4),
// and the other's session goes on.
func (l *login) end(ctx context.Context, means string) error {
	x, err := l.admin.readSession(sessionCookies(l.r), means)
	switch {
	case errors.Is(err, errOtherSession):
		return errOtherSession // its cookie stays
	case errors.Is(err, session.ErrForged), errors.Is(err, session.ErrEnded):
		return nil // no cookie is good for anything already
	case err != nil:
		return catalog.StoreError(err)
	}
	if err := l.admin.sessions.End(ctx, x); err != nil {
		return catalog.StoreError(err)
	}
	return nil
}

// Link implements adminapi.Login. The code stands in the fragment of the URL,
// which no browser sends to anybody.
func (l *login) Link(ctx context.Context) (string, time.Duration, error) {
	if !l.admin.hasConsole(l.r) {
		return "", 0, errNoConsoleHere
	}
	made := session.Link{Who: session.Identity{Kind: string(l.who.kind), ID: l.who.id(), Credential: l.who.credential()}}
	if l.who.session != nil {
		made.Until = l.who.session.Ends
	}
	code, err := l.admin.sessions.MakeLink(ctx, made)
	if err != nil {
		return "", 0, catalog.StoreError(err)
	}
	site := consoleSite(l.r)
	return site.scheme + "://" + site.host + site.path + "/#link=" + code.Reveal(), session.LinkLife, nil
}

var (
	errWrongKey = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "this is neither the admin token nor the key of a client",
	}
	errNoConsoleHere = &realm.Error{
		Code: realm.CodeNotFound, Status: http.StatusNotFound, Detail: "this site has no console: write token_console beside token_admin",
	}
	errLinkEnded = &realm.Error{
		Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "the link was used already, or has ended; ask for another one",
	}
)

var _ adminapi.Login = (*login)(nil)
