package adminapi

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// testLogin signs in whoever has the key "right", the link "once", or is who.
type testLogin struct {
	who   Caller
	links map[realm.Hidden]bool
	begun context.Context
	ended int
	// isSignedIn: the browser has a session; unknown: nobody knows.
	isSignedIn bool
	// isLetIn: whoever sends it is somebody without a session.
	isLetIn bool
	unknown error
}

// loginOf is a Login for a client that sends the request.
func loginOf(c *access.Client) *testLogin {
	return &testLogin{who: Caller{Kind: KindClient, ID: c.ID(), Client: c}}
}

func (l *testLogin) IsSignedIn() (bool, error) { return l.isSignedIn, l.unknown }

func (l *testLogin) IsLetIn() bool { return l.isLetIn }

func (l *testLogin) Identify(_ context.Context, key, link realm.Hidden) (Caller, error) {
	switch {
	case key == "right", link != "" && l.links[link]:
		delete(l.links, link)
		return Caller{Kind: KindAdmin}, nil
	case key != "", link != "", l.who.Kind == "":
		return Caller{}, errForbidden
	case !MaySignIn(l.who.Client):
		return Caller{}, ErrNoConsole
	}
	return l.who, nil
}

func (l *testLogin) Begin(ctx context.Context) (BegunSession, error) {
	l.begun = ctx
	return BegunSession{Cookie: "tokens_session=x", Token: "t", Ends: noon}, nil
}

func (l *testLogin) End(context.Context) (string, error) {
	l.ended++
	return "tokens_session=", nil
}

func (l *testLogin) Link(context.Context) (string, time.Duration, error) {
	return "http://site/a&b/#link=code", time.Minute, nil
}

// as is the API as somebody sees it.
func (s *server) as(t *testing.T, who Caller) caller {
	return caller{t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), who)))
	})}
}

const allRights = `"rights":{"use":"all","read":"all","flush":"all","authorize":"all","push":"all","admin_read":"all","admin":"all","audit":"all"}`

func TestSignIn(t *testing.T) {
	s := newServer(t)
	l := &testLogin{links: map[realm.Hidden]bool{"once": true}}
	nobody := s.as(t, Caller{Address: "192.0.2.1", Login: l})
	for _, body := range []string{`{"key":"right"}`, `{"link":"once"}`} {
		a := nobody.json(http.MethodPost, "/api/session", body)
		a.ok(`{"kind":"admin","id":"","expires_at":"2026-11-22T12:00:00Z","csrf_token":"t",` + allRights + `}`)
		if got := a.header.Values("Set-Cookie"); len(got) != 1 || got[0] != "tokens_session=x" {
			t.Errorf("%s: Set-Cookie is %q", body, got)
		}
	}
	for body, status := range map[string]int{
		`{"key":"wrong"}`: http.StatusForbidden, `{"link":"once"}`: http.StatusForbidden, ``: http.StatusForbidden,
		`{"key":""}`: http.StatusBadRequest, `{"link":""}`: http.StatusBadRequest, `{"key":"right","link":"x"}`: http.StatusBadRequest,
		`{"key":"right","replace":1}`: http.StatusBadRequest, `{"Key":"right"}`: http.StatusBadRequest, `{"key":5}`: http.StatusBadRequest, `[]`: http.StatusBadRequest, `"right"`: http.StatusBadRequest,
	} {
		if a := nobody.json(http.MethodPost, "/api/session", body); a.status != status || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	// What a form of another site can send is not read.
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""} {
		a := nobody.send(http.MethodPost, "/api/session", strings.NewReader(`{"key":"right"}`), "Content-Type", kind)
		if a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d %s", kind, a.status, a.body)
		}
	}
	for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://other.example"}, {"Origin", "null"}} {
		a := nobody.send(http.MethodPost, "/api/session", strings.NewReader(`{"key":"right"}`), "Content-Type", "application/json", header[0], header[1])
		if a.status != http.StatusForbidden {
			t.Errorf("%v: %d %s", header, a.status, a.body)
		}
	}
}

// TestSignInOverASession: whoever has a session is not signed in anew, by whatever,
// unless the body says that it may end. The link is as good as before. A link of
// somebody else signed a browser in under the eyes of its user.
func TestSignInOverASession(t *testing.T) {
	s := newServer(t)
	l := &testLogin{who: Caller{Kind: KindUser, ID: "alice"}, links: map[realm.Hidden]bool{"once": true}, isSignedIn: true}
	browser := s.as(t, Caller{Kind: KindUser, ID: "alice", Login: l})
	for _, body := range []string{`{"key":"right"}`, `{"link":"once"}`, ``, `{"link":"once","replace":false}`, `{"replace":null}`} {
		a := browser.json(http.MethodPost, "/api/session", body)
		if a.status != http.StatusConflict || !strings.Contains(a.body, `"conflict"`) || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if l.begun != nil || !l.links["once"] {
		t.Errorf("a session was begun (%v), or the link was used up (%v)", l.begun != nil, l.links)
	}
	for _, body := range []string{`{"key":"right","replace":true}`, `{"link":"once","replace":true}`, `{"replace":true}`} {
		if a := browser.json(http.MethodPost, "/api/session", body); a.status != http.StatusOK || a.header.Get("Set-Cookie") == "" {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	// Who is let in without a session may begin one, and is not made somebody else.
	l.isSignedIn, l.isLetIn, l.links["other"] = false, true, true
	if a := browser.json(http.MethodPost, "/api/session", `{"link":"other"}`); a.status != http.StatusConflict || !l.links["other"] {
		t.Errorf("a link for somebody who is let in: %d %s", a.status, a.body)
	}
	for _, body := range []string{``, `{"key":"right"}`, `{"link":"other","replace":true}`} {
		if a := browser.json(http.MethodPost, "/api/session", body); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	l.unknown = &realm.Error{Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable}
	l.links["again"] = true
	if a := browser.json(http.MethodPost, "/api/session", `{"link":"again"}`); a.status != http.StatusServiceUnavailable || !l.links["again"] {
		t.Errorf("while nobody knows: %d %s", a.status, a.body)
	}
}

// TestSignInIsAudited: the entry has whoever signed in as its actor; one of a
// refused attempt says that somebody tried.
func TestSignInIsAudited(t *testing.T) {
	s := newServer(t)
	l := &testLogin{}
	nobody := s.as(t, Caller{Address: "192.0.2.1", Login: l})
	nobody.json(http.MethodPost, "/api/session", `{"key":"right"}`)
	entry, is := tokenstore.AuditOf(l.begun)
	if !is || entry.ActorKind != "admin" || entry.Act != "login" || entry.Address != "192.0.2.1" {
		t.Errorf("the entry is %+v", entry)
	}
	nobody.json(http.MethodPost, "/api/session", `{"key":"wrong-canary"}`)
	s.wantEntries(t, ": login // refused forbidden")
	if log := s.log.String() + s.get("/api/audit").body; strings.Contains(log, "canary") {
		t.Errorf("a key was kept: %s", log)
	}
}

func TestShowSession(t *testing.T) {
	s := newServer(t)
	if a := s.as(t, Caller{Login: &testLogin{}}).get("/api/session"); a.status != http.StatusForbidden {
		t.Errorf("nobody: %d %s", a.status, a.body)
	}
	for kind, id := range map[CallerKind]string{KindAdmin: "", KindLocal: "", KindUser: "alice"} {
		s.as(t, Caller{Kind: kind, ID: id}).get("/api/session").ok(`{"kind":"` + string(kind) + `","id":"` + id + `",` + allRights + `}`)
	}
	s.as(t, Caller{Kind: KindAdmin, SessionEnds: noon, SessionToken: "t"}).get("/api/session").
		ok(`{"kind":"admin","id":"","expires_at":"2026-11-22T12:00:00Z","csrf_token":"t",` + allRights + `}`)
	c := s.client(t, "ops", "allow admin_read * *", "allow admin a *", "allow push a k", "allow use a k")
	rights := `"kind":"client","id":"ops","rights":{"use":"some","read":"none","flush":"none","authorize":"none","push":"some","admin_read":"all","admin":"some","audit":"none"}`
	c.get("/api/session").ok(`{` + rights + `}`)
	here := func(use, push, admin string) string {
		return `{` + rights + `,"here":{"use":` + use + `,"read":false,"flush":false,"authorize":false,"push":` + push + `,"admin_read":true,"admin":` + admin + `,"audit":false}}`
	}
	c.get("/api/session?realm=a").ok(here("true", "false", "true"))
	c.get("/api/session?realm=a&key=k").ok(here("true", "true", "true"))
	c.get("/api/session?realm=a&key=other").ok(here("false", "false", "true"))
	c.get("/api/session?realm=b").ok(here("false", "false", "false"))
	if a := c.get("/api/session?key=k"); a.status != http.StatusBadRequest {
		t.Errorf("a key without a realm: %d %s", a.status, a.body)
	}
}

func TestSignOutAndLink(t *testing.T) {
	s := newServer(t)
	l := &testLogin{}
	admin := s.as(t, Caller{Kind: KindAdmin, Login: l})
	a := admin.json(http.MethodDelete, "/api/session", "")
	a.ok(`{"success":"ok"}`)
	if l.ended != 1 || a.header.Get("Set-Cookie") != "tokens_session=" {
		t.Errorf("ended %d times, Set-Cookie %q", l.ended, a.header.Get("Set-Cookie"))
	}
	a = admin.json(http.MethodPost, "/api/session/link", "")
	a.ok(`{"url":"http://site/a&b/#link=code","expires_in":60}`)
	if !strings.Contains(a.body, "a&b") {
		t.Errorf("nobody can copy the URL out of %s", a.body)
	}
	if a := s.as(t, Caller{Login: l}).json(http.MethodPost, "/api/session/link", ""); a.status != http.StatusForbidden {
		t.Errorf("nobody gets a link: %d %s", a.status, a.body)
	}
}
