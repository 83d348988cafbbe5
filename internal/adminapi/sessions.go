package adminapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// sessionPath is where people sign in to the console, and out.
const sessionPath = "/api/session"

// Login makes and ends sessions for one request. Its cookies are the values of
// Set-Cookie, and confidential.
type Login interface {
	// IsSignedIn reports whether the browser that sends the request has a session
	// that goes on.
	IsSignedIn() (bool, error)
	// IsLetIn reports whether whoever sends the request is somebody without a session,
	// too: somebody local, or a user that the server authenticated.
	IsLetIn() bool
	// Identify finds out who signs in: with a key or the admin token, with the
	// code of a link, which is good for nothing afterwards, or with neither, as
	// whoever sends the request. The error is an answer, which may come with who
	// it is that may not.
	Identify(ctx context.Context, key, link realm.Hidden) (Caller, error)
	// Begin begins a session of whom Identify found. The session that the browser
	// had ends.
	Begin(ctx context.Context) (BegunSession, error)
	// End ends the session that the request is sent in, if there is one. The
	// cookie takes the one that the browser has away.
	End(ctx context.Context) (cookie string, _ error)
	// Link makes a link that is good for one session with the rights of whoever
	// sends the request.
	Link(ctx context.Context) (url string, life time.Duration, _ error)
}

// BegunSession is what Begin made.
type BegunSession struct {
	Cookie string
	Token  string // see Caller
	Ends   time.Time
}

// SignsIn reports whether a request signs in: it is let through to the API without
// any credential beside its body.
func SignsIn(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.EscapedPath() == sessionPath
}

// IsAboutSession reports whether a request needs a Login.
func IsAboutSession(r *http.Request) bool {
	return r.URL.Path == sessionPath || strings.HasPrefix(r.URL.Path, sessionPath+"/")
}

// MaySignIn reports whether a client may use the console: it has to have
// something to show. The audit is for those who may read all of it.
func MaySignIn(c *access.Client) bool {
	return c == nil || c.MaySomewhere(access.Admin|access.AdminRead) || c.MayAll(access.Audit)
}

// sessionDocument says who somebody is, and what he may do.
type sessionDocument struct {
	Kind   CallerKind   `json:"kind"`
	ID     string       `json:"id"`
	Ends   *time.Time   `json:"expires_at,omitempty"`
	Token  string       `json:"csrf_token,omitempty"`
	Rights extents      `json:"rights"`
	Here   *rightsThere `json:"here,omitempty"`
}

// extents says for each right how far it goes.
type extents struct {
	Use       extent `json:"use"`
	Read      extent `json:"read"`
	Flush     extent `json:"flush"`
	Authorize extent `json:"authorize"`
	Push      extent `json:"push"`
	AdminRead extent `json:"admin_read"`
	Admin     extent `json:"admin"`
	Audit     extent `json:"audit"`
}

// extent is how far a right goes.
type extent string

const (
	extentAll  extent = "all"  // every realm and key
	extentSome extent = "some" // something
	extentNone extent = "none"
)

// rightsThere are the rights for one secret, or for a realm as a whole.
type rightsThere struct {
	Use       bool `json:"use"`
	Read      bool `json:"read"`
	Flush     bool `json:"flush"`
	Authorize bool `json:"authorize"`
	Push      bool `json:"push"`
	AdminRead bool `json:"admin_read"`
	Admin     bool `json:"admin"`
	Audit     bool `json:"audit"`
}

// sessionLink is a link that was made. The URL holds its code.
type sessionLink struct {
	URL       string `json:"url"`
	ExpiresIn int64  `json:"expires_in"` // in seconds
}

// describe is what the caller is told about himself.
func (c Caller) describe() sessionDocument {
	far := func(right access.Right) extent {
		switch {
		case c.mayAll(right):
			return extentAll
		case c.maySomewhere(right):
			return extentSome
		}
		return extentNone
	}
	return sessionDocument{
		Kind: c.Kind, ID: c.ID, Ends: endOf(c.SessionEnds), Token: c.SessionToken,
		Rights: extents{
			far(access.Use), far(access.Read), far(access.Flush), far(access.Authorize), far(access.Push),
			far(access.AdminRead), far(access.Admin), far(access.Audit),
		},
	}
}

// there are the caller's rights for something. To use it counts where some request
// may be sent: which one is decided by its method and path.
func (c Caller) there(ref realm.Ref) *rightsThere {
	return &rightsThere{
		c.hasAll() || c.Client != nil && c.Client.MayAny(access.Use, ref.Realm, ref.Key),
		c.may(access.Read, ref), c.may(access.Flush, ref), c.may(access.Authorize, ref), c.may(access.Push, ref),
		c.may(access.AdminRead, ref), c.may(access.Admin, ref), c.may(access.Audit, ref),
	}
}

// showSession says who the caller is. That needs no right, and no session either.
func (a *api) showSession(_ context.Context, r *request) (any, error) {
	if r.caller.Kind == "" {
		return nil, errForbidden
	}
	ref, err := r.query.optionalRef()
	if err != nil {
		return nil, err
	}
	d := r.caller.describe()
	if ref.Realm != "" {
		d.Here = r.caller.there(ref)
	}
	return d, nil
}

// optionalRef reads the realm, and perhaps the key, that a caller asks about.
func (q query) optionalRef() (ref realm.Ref, err error) {
	if ref.Realm, err = q.text("realm"); err != nil {
		return ref, err
	}
	if ref.Key, err = q.text("key"); err != nil {
		return ref, err
	}
	if ref.Key != "" && ref.Realm == "" {
		return ref, realm.Fieldf("realm", "is required beside key")
	}
	return ref, nil
}

// signIn begins a session. The entry of the audit that says who signed in is
// written with it, and has him as the actor.
func (a *api) signIn(ctx context.Context, r *request) (any, error) {
	body, err := readSignIn(r.body)
	if err != nil {
		return nil, err
	}
	if r.caller.Login == nil {
		return nil, errForbidden
	}
	if !body.replaces {
		isSomebody, err := r.caller.Login.IsSignedIn()
		if err != nil {
			return nil, err
		}
		if isSomebody || body.link != "" && r.caller.Login.IsLetIn() {
			return nil, errSignedIn
		}
	}
	who, err := r.caller.Login.Identify(ctx, body.key, body.link)
	if who.Kind != "" {
		r.setCaller(ctx, who)
	}
	if err != nil {
		return nil, err
	}
	e := event(ctx, audit.ActLogin, realm.Ref{})
	if body.link != "" {
		e.Detail = "by a one-time link"
	}
	begun, err := r.caller.Login.Begin(a.audit.Change(ctx, e))
	if err != nil {
		return nil, err
	}
	who.SessionEnds, who.SessionToken = begun.Ends, begun.Token
	return withCookie(begun.Cookie, who.describe())
}

// signInBody is who signs in, by a key, by the code of a link, or by neither.
type signInBody struct {
	key, link realm.Hidden
	// replaces: a session that the browser has may end for it, and a link may make
	// somebody else of whoever is let in without a session. Otherwise whoever gets
	// somebody to open a link of his own would have him work as the wrong one, and
	// enter secrets there.
	replaces bool
}

// readSignIn reads the body, which may be empty.
func readSignIn(body []byte) (b signInBody, err error) {
	if len(body) == 0 {
		return b, nil
	}
	o, err := decodeObject(body)
	if err != nil {
		return b, err
	}
	hasKey, err := o.take("key", &b.key)
	if err != nil {
		return b, err
	}
	hasLink, err := o.take("link", &b.link)
	if err != nil {
		return b, err
	}
	if _, err := o.take("replace", &b.replaces); err != nil {
		return b, err
	}
	switch {
	case hasKey && hasLink:
		return b, realm.Fieldf("link", "stands beside key; send one of them")
	case hasKey && b.key == "":
		return b, realm.Fieldf("key", "is empty")
	case hasLink && b.link == "":
		return b, realm.Fieldf("link", "is empty")
	}
	return b, o.end()
}

// setCaller says who the caller turned out to be; the audit names him from now on.
func (r *request) setCaller(ctx context.Context, who Caller) {
	who.Host, who.Address, who.Login = r.caller.Host, r.caller.Address, r.caller.Login
	r.caller = who
	visitOf(ctx).caller = who
}

// signOut ends the session. It has an answer without a session, too: whoever
// signs out wants to be out.
func (a *api) signOut(ctx context.Context, r *request) (any, error) {
	if r.caller.Login == nil {
		return nil, errForbidden
	}
	cookie, err := r.caller.Login.End(ctx)
	if err != nil {
		return nil, err
	}
	return withCookie(cookie, done{success})
}

// makeLink makes a one-time link. It is no act of the audit: nobody is let in
// before the link is redeemed, and that is one, of the same actor.
func (a *api) makeLink(ctx context.Context, r *request) (any, error) {
	if r.caller.Kind == "" || r.caller.Login == nil {
		return nil, errForbidden
	}
	if !MaySignIn(r.caller.Client) {
		return nil, ErrNoConsole
	}
	to, life, err := r.caller.Login.Link(ctx)
	if err != nil {
		return nil, err
	}
	return plainJSON(sessionLink{URL: to, ExpiresIn: int64(life.Seconds())})
}

// withCookie is an answer that sets a cookie.
func withCookie(cookie string, v any) (reply, error) {
	answer, err := replyOf(v)
	if err != nil || cookie == "" {
		return answer, err
	}
	answer.header = map[string]string{"Set-Cookie": cookie}
	return answer, nil
}

// errSignedIn: nothing was done, and a link is as good as before.
var errSignedIn = &realm.Error{
	Code: realm.CodeConflict, Status: http.StatusConflict,
	Detail: `this browser is signed in already: sign out first, or send "replace": true to end that session`,
}

// ErrNoConsole is the answer to a client that has nothing to do in the console.
var ErrNoConsole = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: "the console is for clients with admin_read or admin for something, or audit for everything",
}
