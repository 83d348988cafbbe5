package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// visitor is a browser with one cookie at most, and the address of a site.
type visitor struct {
	t      *testing.T
	site   string // http://host/path
	cookie string // "name=value"; "" for none
	header []string
}

// send sends a request as the console does, with more headers.
func (v *visitor) send(method, path, body string, header ...string) answer {
	v.t.Helper()
	header = append(append([]string{csrfHeader, "1"}, v.header...), header...)
	return v.plain(method, path, body, header...)
}

// plain is send without the console's header.
func (v *visitor) plain(method, path, body string, header ...string) answer {
	v.t.Helper()
	if v.cookie != "" {
		header = append(header, "Cookie", v.cookie)
	}
	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}
	var a answer
	waitFor(v.t, "an answer from "+path, func() (done bool) { // Caddy drops some connections while it reloads
		var err error
		a, err = try(method, v.site+path, body, header...)
		return err == nil
	})
	for _, c := range a.Cookies() {
		if c.Name != inject.SessionCookie {
			v.t.Errorf("%s %s sets the cookie %s", method, path, c.Name)
			continue
		}
		v.cookie = ""
		if c.MaxAge > 0 {
			v.cookie = c.Name + "=" + c.Value
		}
	}
	return a
}

// signIn signs in with a body, which has to succeed.
func (v *visitor) signIn(body string) answer {
	v.t.Helper()
	a := v.send(http.MethodPost, "/api/session", body)
	if a.StatusCode != http.StatusOK || v.cookie == "" {
		v.t.Fatalf("signing in: %s %s", a.Status, a.body)
	}
	return a
}

// is checks who the visitor is: "kind:id", or "" for nobody.
func (v *visitor) is(want string, header ...string) {
	v.t.Helper()
	a := v.send(http.MethodGet, "/api/session", "", header...)
	if got := identityIn(a); got != want {
		v.t.Errorf("the visitor is %q, want %q: %s %s", got, want, a.Status, a.body)
	}
}

// identityIn is who an answer of /api/session names; "" for nobody.
func identityIn(a answer) string {
	var d struct{ Kind, ID string }
	if a.StatusCode != http.StatusOK || json.Unmarshal([]byte(a.body), &d) != nil {
		return ""
	}
	return d.Kind + ":" + d.ID
}

// visit is a visitor of the guarded site.
func (i *instance) visit() *visitor { return &visitor{t: i.t, site: "http://" + i.host + "/admin"} }

// newClient makes a client with these rights for everything, and returns its key.
func (i *instance) newClient(id, rights string) string {
	i.t.Helper()
	var saved struct{ Key string }
	body := fmt.Sprintf(`{"id":%q,"rules":[{"effect":"allow","rights":[%s],"realms":["*"]}]}`, id, rights)
	if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client", body)), &saved); err != nil || saved.Key == "" {
		i.t.Fatalf("no key: %v", err)
	}
	return saved.Key
}

func asKey(key string) string { return fmt.Sprintf(`{"key":%q}`, key) }

func TestSignInWithTheAdminToken(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := i.visit()
	v.is("")
	a := v.signIn(asKey(i.adminToken()))
	c := a.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/admin/" || c.Secure || c.MaxAge < 43190 || c.MaxAge > 43201 {
		t.Errorf("the cookie is %v", c)
	}
	var d struct {
		Ends   time.Time `json:"expires_at"`
		Rights map[string]string
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || time.Until(d.Ends) < 11*time.Hour || len(d.Rights) != 8 || d.Rights["admin"] != "all" {
		t.Errorf("%v: %s", err, a.body)
	}
	v.is("admin:")
	if a := v.send(http.MethodGet, "/api/realm", ""); a.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s %s", a.Status, a.body)
	}
	if a := v.send(http.MethodPost, "/api/realm", `{"id":"made","config":{"url":"https://a.example/t","token_path":"t"}}`); a.StatusCode != http.StatusOK {
		t.Errorf("a change with the cookie: %s %s", a.Status, a.body)
	}

	// Sign-out takes the cookie away, and ends the session for who kept it.
	kept := *v
	if a := v.send(http.MethodDelete, "/api/session", ""); a.StatusCode != http.StatusOK || a.body != `{"success":"ok"}` || v.cookie != "" {
		t.Errorf("sign-out: %s %s, the cookie %q", a.Status, a.body, v.cookie)
	}
	kept.is("")
	if kept.cookie != "" {
		t.Error("an ended cookie was not taken away")
	}
	v.is("")
	if a := v.send(http.MethodPost, "/api/session", asKey("wrong")); a.StatusCode != http.StatusForbidden || v.cookie != "" {
		t.Errorf("a wrong key: %s %s", a.Status, a.body)
	}
	i.auditHas("admin: login ok", "admin: realm.create ok", ": login refused")
}

// auditHas waits until the audit has these entries: "kind:id act result detail".
func (i *instance) auditHas(want ...string) {
	i.t.Helper()
	waitFor(i.t, fmt.Sprintf("the audit has %q", want), func() bool {
		var got struct {
			Data struct {
				List []struct {
					Actor                        struct{ Kind, ID string }
					Address, Act, Result, Detail string
				}
			}
		}
		if err := json.Unmarshal([]byte(i.must(http.MethodGet, "/api/audit?pageSize=100", "")), &got); err != nil {
			i.t.Fatal(err)
		}
		have := map[string]bool{}
		for _, e := range got.Data.List {
			if e.Address != "127.0.0.1" && e.Actor.Kind != "system" {
				i.t.Fatalf("an entry comes from %q", e.Address)
			}
			have[strings.TrimSpace(e.Actor.Kind+":"+e.Actor.ID+" "+e.Act+" "+e.Result+" "+e.Detail)] = true
		}
		return !slices.ContainsFunc(want, func(w string) bool { return !have[w] })
	})
}

// TestCookieOfOtherSites: whatever a page of another site can make a browser
// send, the cookie does not count in it.
func TestCookieOfOtherSites(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := i.visit()
	v.signIn(asKey(i.adminToken()))
	origin := "http://" + i.host
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "same-origin"}, {"Origin", origin}, {"Sec-Fetch-Site", "same-origin", "Origin", origin},
	} {
		if a := v.send(http.MethodGet, "/api/realm", "", header...); a.StatusCode != http.StatusOK {
			t.Errorf("%v: %s %s", header, a.Status, a.body)
		}
	}
	kept := v.cookie
	for _, header := range [][]string{
		{csrfHeader, "1", "Sec-Fetch-Site", "cross-site"},
		{csrfHeader, "1", "Sec-Fetch-Site", "same-site"},
		{csrfHeader, "1", "Sec-Fetch-Site", "none"},
		{csrfHeader, "1", "Origin", "http://other.example"},
		{csrfHeader, "1", "Origin", "null"},
		{csrfHeader, "1", "Origin", "http://127.0.0.1:1"},
		{csrfHeader, "1", "Origin", "ftp://" + i.host},
		{csrfHeader, "0"},
		{csrfHeader, "true"},
		{csrfHeader, ""},
		{},
		{"Sec-Fetch-Site", "same-origin"},
		{"Origin", origin},
		{"Content-Type", "text/plain", "Origin", origin},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			a := v.plain(method, "/api/realm", "", header...)
			if a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %v: %s %s", method, header, a.Status, a.body)
			}
			if v.plain(http.MethodDelete, "/api/session", "", header...); v.cookie != kept {
				t.Fatalf("%v: a forged sign-out took the cookie away", header)
			}
		}
	}
	v.is("admin:")
	// A form can send JSON as text, and no header of its own.
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded"} {
		a, err := try(http.MethodPost, v.site+"/api/session", asKey(i.adminToken()), "Content-Type", kind, csrfHeader, "1")
		if err != nil || a.StatusCode != http.StatusUnsupportedMediaType || len(a.Cookies()) > 0 {
			t.Errorf("%s: %v %s", kind, err, a.Status)
		}
	}
}

// TestKeyBesideTheCookie: a key in Authorization decides, and a wrong one is no
// reason to look at the cookie.
func TestKeyBesideTheCookie(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	key := i.newClient("reader", `"admin_read"`)
	v := i.visit()
	v.signIn(asKey(i.adminToken()))
	v.is("client:reader", "Authorization", "Bearer "+key)
	v.is("", "Authorization", "Bearer "+key[:len(key)-1]+"x")
	v.is("", "Authorization", "Bearer wrong")
	v.is("admin:")
}

// TestWhoMaySignIn: the console is for who has something to see there. Each right
// is tried alone.
func TestWhoMaySignIn(t *testing.T) {
	i := newInstance(t)
	i.load("", withConsole)
	for _, right := range strings.Split("use read flush authorize push admin_read admin audit", " ") {
		key := i.newClient("only-"+right, `"`+right+`"`)
		may := right == "admin_read" || right == "admin" || right == "audit"
		v := i.visit()
		a := v.send(http.MethodPost, "/api/session", asKey(key))
		if (a.StatusCode == http.StatusOK) != may || (v.cookie != "") != may {
			t.Errorf("%s: %s %s", right, a.Status, a.body)
		}
		link := v.plain(http.MethodPost, "/api/session/link", "", "Authorization", "Bearer "+key)
		if (link.StatusCode == http.StatusOK) != may {
			t.Errorf("a link with %s: %s %s", right, link.Status, link.body)
		}
		if who := v.plain(http.MethodGet, "/api/session", "", "Authorization", "Bearer "+key); identityIn(who) != "client:only-"+right {
			t.Errorf("%s: who am I: %s", right, who.body)
		}
		if may {
			want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}
			for path, needs := range map[string]string{"/api/realm": "admin_read", "/api/audit": "audit"} {
				if a := v.send(http.MethodGet, path, ""); a.StatusCode != want[right == needs] {
					t.Errorf("%s in a session with %s: %s", path, right, a.Status)
				}
			}
		}
	}
	i.auditHas("client:only-admin login ok", "client:only-audit login ok", "client:only-use login refused")
}

// TestSessionEndsWithItsCredential: whatever takes the key, the client or its
// rights away ends the session; what does not, leaves it.
func TestSessionEndsWithItsCredential(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	in := func(id string) *visitor {
		v := i.visit()
		v.signIn(asKey(i.newClient(id, `"admin_read"`)))
		v.is("client:" + id)
		return v
	}
	deleted, rotated, keeping, lowered, expired, other := in("deleted"), in("rotated"), in("keeping"), in("lowered"), in("expired"), in("other")
	i.must(http.MethodDelete, "/api/client/deleted", "")
	i.must(http.MethodPost, "/api/client/rotated/rotate", "")
	i.must(http.MethodPost, "/api/client/keeping/rotate", `{"keep":"24h"}`)
	i.must(http.MethodPost, "/api/client", `{"id":"lowered","rules":[{"effect":"allow","rights":["use"],"realms":["*"]}]}`)
	i.must(http.MethodPost, "/api/client", fmt.Sprintf(`{"id":"expired","expires_at":%q}`, time.Now().Add(time.Second).Format(time.RFC3339Nano)))
	waitFor(t, "the client expires", func() bool {
		seen := *expired
		return seen.send(http.MethodGet, "/api/realm", "").StatusCode == http.StatusForbidden
	})
	i.must(http.MethodPost, "/api/client", `{"id":"other","rules":[{"effect":"allow","rights":["audit"],"realms":["*"]}]}`)
	for name, v := range map[string]*visitor{"deleted": deleted, "rotated": rotated, "lowered": lowered, "expired": expired} {
		if a := v.send(http.MethodGet, "/api/realm", ""); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, a.Status)
		}
		v.is("")
	}
	keeping.is("client:keeping")
	other.is("client:other")
	if a := other.send(http.MethodGet, "/api/realm", ""); a.StatusCode != http.StatusForbidden {
		t.Errorf("a right that was taken away is still there: %s", a.Status)
	}
	// The client of that name is another one.
	kept := deleted.cookie
	i.newClient("deleted", `"admin_read"`)
	deleted.cookie = kept
	deleted.is("")
}

// TestSessionEndsWithTheAdminToken: another admin token ends the sessions of the
// one before. Another configuration does not.
func TestSessionEndsWithTheAdminToken(t *testing.T) {
	i := newInstance(t)
	site := func(token string) string {
		return "handle_path /admin/* {\ntoken_admin {\nadmin_token " + token + "\n}\n}"
	}
	t.Setenv("TOKENS_TEST_ONE", "one-0123456789-0123456789-0123456789")
	t.Setenv("TOKENS_TEST_TWO", "two-0123456789-0123456789-0123456789")
	i.load("", site("{env.TOKENS_TEST_ONE}"))
	v := i.visit()
	v.signIn(asKey("one-0123456789-0123456789-0123456789"))
	i.load("refresh {\nbefore 20%\n}", site("{env.TOKENS_TEST_ONE}"))
	v.is("admin:")
	i.load("", site("{env.TOKENS_TEST_TWO}"))
	v.is("")
}

// TestSessionOfAUser: who stands behind an authentication directive signs in
// without a body; nobody else can use his session, and neither can he without it.
func TestSessionOfAUser(t *testing.T) {
	i := newInstance(t)
	i.load("", `handle_path /admin/* {
		basic_auth {
			alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
			bob $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
		}
		token_admin
	}
	handle_path /open/* {
		token_admin
	}`)
	const alice, bob = "Basic YWxpY2U6cHJhY3RpY2U=", "Basic Ym9iOnByYWN0aWNl"
	v := &visitor{t: t, site: "http://" + i.host + "/admin", header: []string{"Authorization", alice}}
	v.signIn("")
	v.is("user:alice")
	cookie := v.cookie
	as := func(path string, header ...string) *visitor {
		return &visitor{t: t, site: "http://" + i.host + path, cookie: cookie, header: header}
	}
	as("/admin", "Authorization", bob).is("")
	as("/open").is("")
	as("/admin", "Authorization", alice).is("user:alice")
	userCookie := cookie
	// Alice with the admin token is the admin, and Bob with her cookie is nobody.
	v.signIn(replacing(asKey(i.adminToken())))
	v.is("admin:")
	cookie = v.cookie
	as("/admin", "Authorization", bob).is("")
	as("/open").is("")
	// Once Alice is a client, her session as a user with every right is over.
	i.must(http.MethodPost, "/api/client", `{"id":"ops","users":["alice"],"rules":[{"effect":"allow","rights":["admin_read"],"realms":["*"]}]}`)
	cookie = userCookie
	as("/admin", "Authorization", alice).is("")
	v = &visitor{t: t, site: v.site, header: v.header}
	v.signIn("")
	v.is("client:ops")
}

// TestSessionOfALocalCaller: where auth local lets everybody in, a session is
// possible, and changes nothing.
func TestSessionOfALocalCaller(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := &visitor{t: t, site: "http://" + i.api}
	v.is("local:")
	a := v.signIn("")
	if identityIn(a) != "local:" || !strings.Contains(a.body, "expires_at") || a.Cookies()[0].Path != "/" {
		t.Errorf("%v %s", a.Cookies(), a.body)
	}
	v.is("local:")
	other := i.visit()
	other.cookie = v.cookie
	other.is("") // that site lets nobody in without a key
	v.send(http.MethodDelete, "/api/session", "")
	v.is("local:")
}

// TestForgedCookies: a cookie that is not ours, or no more, is refused and taken
// away. It counts for nothing: whoever has it in the browser can sign in.
func TestForgedCookies(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v, ended := i.visit(), i.visit()
	v.signIn(asKey(i.adminToken()))
	ended.signIn(asKey(i.adminToken()))
	cookie := strings.TrimPrefix(ended.cookie, inject.SessionCookie+"=")
	ended.send(http.MethodDelete, "/api/session", "")
	good := strings.TrimPrefix(v.cookie, inject.SessionCookie+"=")
	forged := []string{cookie, "x", "", "a.b", good + "A", good[1:], strings.Replace(good, ".", "", 1), good[:len(good)-4], "A" + good, good[:20], "." + good}
	for _, value := range append(forged, forged...) {
		ended.cookie = inject.SessionCookie + "=" + value
		if a := ended.send(http.MethodGet, "/api/realm", ""); a.StatusCode != http.StatusForbidden || ended.cookie != "" {
			t.Fatalf("%q: %s %s, the cookie %q", value, a.Status, a.body, ended.cookie)
		}
	}
	i.visit().signIn(asKey(i.adminToken()))
	v.is("admin:")
}

// TestWrongKeysOfOtherSites: what a page of another site makes a browser send does not
// lock out whoever sits there; what he sends himself does.
func TestWrongKeysOfOtherSites(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	send := func(site string) int {
		return i.visit().plain(http.MethodGet, "/api/realm", "", "Authorization", "Bearer wrong", "Sec-Fetch-Site", site).StatusCode
	}
	for range 2 * maxFailures {
		if got := send("cross-site"); got != http.StatusForbidden {
			t.Fatalf("cross-site: %d", got)
		}
	}
	i.visit().signIn(asKey(i.adminToken()))
	for range maxFailures {
		send("none")
	}
	if got := send("none"); got != http.StatusTooManyRequests {
		t.Errorf("after many wrong ones: %d", got)
	}
}

// TestSpentLink: a link that was good is no guess, however often it is sent; a code
// that never was is one.
func TestSpentLink(t *testing.T) {
	i := newInstance(t)
	i.load("", withConsole)
	a := i.visit().plain(http.MethodPost, "/api/session/link", "", "Authorization", "Bearer "+i.adminToken())
	var made struct{ URL string }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil {
		t.Fatal(err, a.body)
	}
	_, code, _ := strings.Cut(made.URL, "#link=")
	redeem := func(code string) int {
		return i.visit().send(http.MethodPost, "/api/session", fmt.Sprintf(`{"link":%q}`, code)).StatusCode
	}
	if got := redeem(code); got != http.StatusOK {
		t.Fatalf("the link: %d", got)
	}
	for range 2 * maxFailures {
		if got := redeem(code); got != http.StatusForbidden {
			t.Fatalf("the spent link: %d", got)
		}
	}
	i.visit().signIn(asKey(i.adminToken()))
	for range maxFailures {
		redeem(strings.Repeat("0", len(code)))
	}
	if got := redeem(code); got != http.StatusTooManyRequests {
		t.Errorf("after many guesses: %d", got)
	}
}

// TestLinkForSomebodyLocal: a link of somebody else makes nobody else of who is let in
// without a session, unless he says so. What he types would go there.
func TestLinkForSomebodyLocal(t *testing.T) {
	i := newInstance(t)
	i.load("", strings.Replace(guarded, "token_admin", "token_admin {\nauth local\n}\ntoken_console", 1))
	a := i.visit().plain(http.MethodPost, "/api/session/link", "", "Authorization", "Bearer "+i.adminToken())
	var made struct{ URL string }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil {
		t.Fatal(err, a.body)
	}
	_, code, _ := strings.Cut(made.URL, "#link=")
	v := i.visit()
	if a := v.send(http.MethodPost, "/api/session", fmt.Sprintf(`{"link":%q}`, code)); a.StatusCode != http.StatusConflict {
		t.Errorf("without a word: %s %s", a.Status, a.body)
	}
	if a := v.send(http.MethodPost, "/api/session", fmt.Sprintf(`{"link":%q,"replace":true}`, code)); a.StatusCode != http.StatusOK {
		t.Errorf("when it is wanted: %s %s", a.Status, a.body)
	}
}

// TestSignInEndsTheSessionBefore: whoever kept its cookie has nothing of it.
func TestSignInEndsTheSessionBefore(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := i.visit()
	v.signIn(asKey(i.adminToken()))
	before := *v
	v.signIn(replacing(asKey(i.newClient("ops", `"admin_read"`))))
	v.is("client:ops")
	before.is("")
}

// replacing is a body of a sign-in that may end the session of the browser.
func replacing(body string) string { return strings.TrimSuffix(body, "}") + `,"replace":true}` }

// TestLinkOverASession: a link that somebody else made does not take the place of a
// session without a question, and is not used up by the question. What has ended, or
// was never ours, is no session and holds nobody up.
func TestLinkOverASession(t *testing.T) {
	stranger := newInstance(t)
	stranger.load("", guarded)
	other := stranger.visitAs(asKey(stranger.adminToken()))
	i := newInstance(t)
	i.load("", withConsole)
	key := i.newClient("ops", `"admin_read"`)
	link := func() string {
		t.Helper()
		a := i.visit().plain(http.MethodPost, "/api/session/link", "", "Authorization", "Bearer "+key)
		var made struct{ URL string }
		if err := json.Unmarshal([]byte(a.body), &made); err != nil {
			t.Fatal(err, a.body)
		}
		_, code, _ := strings.Cut(made.URL, "#link=")
		return fmt.Sprintf(`{"link":%q}`, code)
	}
	foreign := link()
	v := i.visit()
	v.signIn(asKey(i.adminToken()))
	kept := v.cookie
	for _, body := range []string{foreign, asKey(key), ""} {
		a := v.send(http.MethodPost, "/api/session", body)
		if a.StatusCode != http.StatusConflict || !strings.Contains(a.body, `"conflict"`) || v.cookie != kept {
			t.Errorf("%.8s: %s %s, the cookie %q", body, a.Status, a.body, v.cookie)
		}
	}
	v.is("admin:")
	v.signIn(replacing(foreign))
	v.is("client:ops")

	// A session of the client ends with it, and that of another instance is none.
	v.signIn(replacing(asKey(i.adminToken())))
	ended := *v
	v.send(http.MethodDelete, "/api/session", "")
	for name, cookie := range map[string]string{"ended": ended.cookie, "foreign": other.cookie, "forged": inject.SessionCookie + "=x"} {
		for _, body := range []string{link(), asKey(key)} {
			v = i.visit()
			v.cookie = cookie
			v.signIn(body)
			if v.is("client:ops"); t.Failed() {
				t.Fatalf("with a cookie that is %s", name)
			}
		}
	}
}

// TestSignOutOfOneOfTwoConsoles: a browser sends the cookies of both to the console at
// the longer path, that one's first. Signing out there, or in anew, once ended both.
func TestSignOutOfOneOfTwoConsoles(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	admin, ops := asKey(i.adminToken()), asKey(i.newClient("ops", `"admin_read"`))
	for name, act := range map[string]func(v *visitor, token string) answer{
		"sign-out of whichever session": func(v *visitor, _ string) answer {
			return v.send(http.MethodDelete, "/api/session", "")
		},
		"sign-out of a named session": func(v *visitor, token string) answer {
			v.cookie = turned(v.cookie)
			return v.plain(http.MethodDelete, "/api/session", "", csrfHeader, token)
		},
		"another sign-in": func(v *visitor, _ string) answer {
			return v.send(http.MethodPost, "/api/session", replacing(admin))
		},
		"another sign-in from a page of before": func(v *visitor, _ string) answer {
			return v.plain(http.MethodPost, "/api/session", replacing(admin), csrfHeader, strings.Repeat("0", 32))
		},
	} {
		here, there, both := i.visit(), i.visitAs(ops), i.visit()
		token := tokenIn(t, here.signIn(admin))
		both.cookie = here.cookie + "; " + there.cookie
		if a := act(both, token); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", name, a.Status, a.body)
		}
		if here.is(""); here.cookie != "" {
			t.Errorf("%s: the session of this console goes on", name)
		}
		if there.is("client:ops"); t.Failed() {
			t.Fatalf("after %s", name)
		}
	}
}

// turned is a line of two cookies, the second one first.
func turned(line string) string {
	first, second, _ := strings.Cut(line, "; ")
	return second + "; " + first
}

// TestPageOfAReplacedSession: a page that names its session acts in no other one, and
// not as whoever is let in without, when another tab has signed in or out.
func TestPageOfAReplacedSession(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := i.visit()
	first := tokenIn(t, v.signIn(asKey(i.adminToken())))
	if shown := tokenIn(t, v.send(http.MethodGet, "/api/session", "")); shown != first {
		t.Errorf("the session is named %q, and was %q", shown, first)
	}
	named := func(token, method, path string) answer {
		t.Helper()
		return v.plain(method, path, "", csrfHeader, token)
	}
	if a := named(first, http.MethodGet, "/api/realm"); a.StatusCode != http.StatusOK {
		t.Errorf("in the session of the page: %s %s", a.Status, a.body)
	}
	second := tokenIn(t, v.signIn(replacing(asKey(i.newClient("ops", `"admin_read"`)))))
	kept := v.cookie
	for _, route := range [][2]string{
		{http.MethodGet, "/api/realm"}, {http.MethodGet, "/api/session"}, {http.MethodDelete, "/api/session"}, {http.MethodPost, "/api/session/link"},
	} {
		if a := named(first, route[0], route[1]); a.StatusCode != http.StatusForbidden || v.cookie != kept {
			t.Errorf("%v of the replaced page: %s %s, the cookie %q", route, a.Status, a.body, v.cookie)
		}
	}
	// Nor where somebody in front adds a credential, so that the cookie does not decide who it is.
	a := v.plain(http.MethodDelete, "/api/session", "", csrfHeader, first, "Authorization", "Bearer "+i.adminToken())
	if a.StatusCode != http.StatusForbidden || v.cookie != kept {
		t.Errorf("a sign-out of the replaced page with the admin token: %s %s, the cookie %q", a.Status, a.body, v.cookie)
	}
	if a := named(second, http.MethodGet, "/api/realm"); first == second || a.StatusCode != http.StatusOK {
		t.Errorf("%q after %q: %s %s", second, first, a.Status, a.body)
	}
	// A page of before does not hold up who asks for a sign-in, and cannot spend a link.
	if a := v.plain(http.MethodPost, "/api/session", asKey(i.adminToken()), csrfHeader, first); a.StatusCode != http.StatusConflict {
		t.Errorf("a sign-in from the replaced page: %s %s", a.Status, a.body)
	}
	// The cookies of two consoles of a host: the page means its own.
	v.cookie = kept + "; " + i.visitAs(asKey(i.adminToken())).cookie
	if a := named(second, http.MethodGet, "/api/session"); identityIn(a) != "client:ops" {
		t.Errorf("with two cookies: %s %s", a.Status, a.body)
	}

	// Nobody signed in, but whoever is here is let in: the page is not his.
	i.load("", strings.Replace(guarded, "token_admin", "token_admin {\n\t\tauth local\n\t}", 1))
	v.cookie = ""
	v.is("local:")
	if a := named(first, http.MethodGet, "/api/realm"); a.StatusCode != http.StatusForbidden {
		t.Errorf("as a local caller: %s %s", a.Status, a.body)
	}
}

// visitAs is a visitor who is signed in.
func (i *instance) visitAs(body string) *visitor {
	i.t.Helper()
	v := i.visit()
	v.signIn(body)
	return v
}

// tokenIn is what an answer of /api/session names the session.
func tokenIn(t *testing.T, a answer) string {
	t.Helper()
	var d struct {
		Token string `json:"csrf_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &d); err != nil || !session.IsToken(d.Token) {
		t.Fatalf("no token: %v %s %s", err, a.Status, a.body)
	}
	return d.Token
}

// TestAuditOfSomeRealms: the audit is shown as a whole, so that the right to a part of
// it lets nobody in.
func TestAuditOfSomeRealms(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	var saved struct{ Key string }
	body := `{"id":"part","rules":[{"effect":"allow","rights":["audit"],"realms":["a"]}]}`
	if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client", body)), &saved); err != nil {
		t.Fatal(err)
	}
	v := i.visit()
	if a := v.send(http.MethodPost, "/api/session", asKey(saved.Key)); a.StatusCode != http.StatusForbidden || v.cookie != "" {
		t.Errorf("%s %s", a.Status, a.body)
	}
}

// TestSiteSaidTwice: no browser says twice which site a request is for.
func TestSiteSaidTwice(t *testing.T) {
	for name, values := range map[string][]string{"Origin": {"http://a.example", "http://b.example"}, "Sec-Fetch-Site": {"same-origin", "cross-site"}} {
		r := httptest.NewRequest(http.MethodGet, "http://a.example/api/realm", nil)
		r.Header = http.Header{csrfHeader: {"1"}, "Cookie": {inject.SessionCookie + "=x"}, name: values[:1]}
		if sessionCookies(r) == nil || crossSite(r) {
			t.Errorf("%s sent once is refused", name)
		}
		r.Header[name] = values
		if sessionCookies(r) != nil || !crossSite(r) {
			t.Errorf("%s sent twice is taken", name)
		}
	}
}

// withConsole is guarded, and a console beside it.
var withConsole = strings.Replace(guarded, "token_admin", "token_admin\n\ttoken_console", 1)

// TestLinkWithoutConsole: there is no link to a page that is not there, whatever other
// sites of the server have.
func TestLinkWithoutConsole(t *testing.T) {
	i := newInstance(t)
	_, port, _ := strings.Cut(i.host, ":")
	const path = "/admin/api/session/link"
	status := func(host string) int {
		t.Helper()
		return i.do(http.MethodPost, "http://"+i.host+path, "", "Host", host, "Authorization", "Bearer "+i.adminToken()).StatusCode
	}
	i.load("", withConsole+"\n}\nhttp://bare.example:"+port+" {\n"+guarded)
	if got := status(i.host); got != http.StatusOK {
		t.Errorf("beside a console: %d", got)
	}
	if got := status("bare.example:" + port); got != http.StatusNotFound {
		t.Errorf("in another site of the server: %d", got)
	}
	i.load("", guarded)
	a := i.do(http.MethodPost, "http://"+i.host+path, "", "Authorization", "Bearer "+i.adminToken())
	if a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, `"not_found"`) {
		t.Errorf("without any console: %s %s", a.Status, a.body)
	}
}

// TestLinks: a link is good once, for 60 seconds, for the rights of who made it.
func TestLinks(t *testing.T) {
	i := newInstance(t)
	i.load("", withConsole)
	key := i.newClient("ops", `"admin_read"`)
	link := func(header ...string) string {
		t.Helper()
		a := i.visit().plain(http.MethodPost, "/api/session/link", "", header...)
		var made struct {
			URL string
			In  int `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(a.body), &made); err != nil || made.In != 60 {
			t.Fatalf("%s %s", a.Status, a.body)
		}
		code, ok := strings.CutPrefix(made.URL, "http://"+i.host+"/admin/#link=")
		if !ok || len(code) != 64 || access.HoldsKey(code) {
			t.Fatalf("the URL is %s", made.URL)
		}
		return fmt.Sprintf(`{"link":%q}`, code)
	}
	body := link("Authorization", "Bearer "+key)
	v := i.visit()
	v.signIn(body)
	v.is("client:ops")
	if a := i.visit().send(http.MethodPost, "/api/session", body); a.StatusCode != http.StatusForbidden {
		t.Errorf("a link was redeemed twice: %s", a.Status)
	}
	byAdmin := i.visit()
	byAdmin.signIn(link("Authorization", "Bearer "+i.adminToken()))
	byAdmin.is("admin:")
	i.auditHas("client:ops login ok by a one-time link", "admin: login ok by a one-time link")

	// What ends its maker ends the link, and the session that it made.
	body = link("Authorization", "Bearer "+key)
	i.must(http.MethodDelete, "/api/client/ops", "")
	if a := i.visit().send(http.MethodPost, "/api/session", body); a.StatusCode != http.StatusForbidden {
		t.Errorf("a link of a client that is gone: %s", a.Status)
	}
	v.is("")
}

// TestLinkMadeInASession ends with that session at the latest: otherwise a session
// could be prolonged for ever.
func TestLinkMadeInASession(t *testing.T) {
	i := newInstance(t)
	i.load("", withConsole)
	app := newestApp.Load()
	who := session.Identity{Kind: "admin", Credential: app.adminFile.token.Load()[:]}
	cookie, ends, err := app.sessions.Begin(t.Context(), who, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	v := i.visit()
	v.cookie = inject.SessionCookie + "=" + cookie.Reveal()
	var made struct{ URL string }
	a := v.send(http.MethodPost, "/api/session/link", "")
	if err := json.Unmarshal([]byte(a.body), &made); err != nil {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	_, code, _ := strings.Cut(made.URL, "#link=")
	var d struct {
		Ends time.Time `json:"expires_at"`
	}
	if a := i.visit().signIn(fmt.Sprintf(`{"link":%q}`, code)); json.Unmarshal([]byte(a.body), &d) != nil || d.Ends.After(ends.Add(2*time.Second)) {
		t.Errorf("the session of the link ends at %v, the one that made it at %v", d.Ends, ends)
	}
}

// TestSessionBehindAProxy: behind a proxy that Caddy trusts, the site is where that
// proxy says that the browser is; behind another one, what it says is nothing.
func TestSessionBehindAProxy(t *testing.T) {
	i := newInstance(t)
	front := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "console.example"}
	for _, trusted := range []bool{true, false} {
		i.servers = map[bool]string{true: "trusted_proxies static 127.0.0.1/32"}[trusted]
		i.load("", withConsole)
		v := &visitor{t: t, site: "http://" + i.host + "/admin", header: front}
		own, other := "https://console.example", "http://"+i.host
		if !trusted {
			own, other = other, own
		}
		a := v.send(http.MethodPost, "/api/session", asKey(i.adminToken()), "Origin", own, "Sec-Fetch-Site", "same-origin")
		if a.StatusCode != http.StatusOK || a.Cookies()[0].Secure != trusted {
			t.Fatalf("trusted %v: %s %s %v", trusted, a.Status, a.body, a.Cookies())
		}
		v.is("admin:", "Origin", own)
		kept := v.cookie
		v.is("", "Origin", other)
		v.is("", "Origin", strings.Replace(own, "https:", "http:", 1)+"x")
		if v.cookie = kept; trusted {
			v.is("", "Origin", "http://console.example") // anybody on the way can write that page
		}
		var made struct{ URL string }
		if a := v.send(http.MethodPost, "/api/session/link", ""); json.Unmarshal([]byte(a.body), &made) != nil || !strings.HasPrefix(made.URL, own+"/admin/#link=") {
			t.Errorf("trusted %v: %s", trusted, a.body)
		}
	}
	// A proxy that is not trusted may speak https to the browser nevertheless.
	v := i.visit()
	if a := v.send(http.MethodPost, "/api/session", asKey(i.adminToken()), "Origin", "https://"+i.host); a.StatusCode != http.StatusOK || !a.Cookies()[0].Secure {
		t.Errorf("%s %v", a.Status, a.Cookies())
	}
}

// TestEndWithSession: what is under way in a session ends with it, within two
// seconds.
func TestEndWithSession(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	v := i.visit()
	v.signIn(asKey(i.adminToken()))
	l := newestApp.Load()
	x, err := l.sessions.Read(realm.Hidden(strings.TrimPrefix(v.cookie, inject.SessionCookie+"=")))
	if err != nil {
		t.Fatal(err)
	}
	a := &Admin{file: l.adminFile, sessions: l.sessions}
	ctx, stop := a.endWithSession(t.Context(), caller{kind: "admin", digest: l.adminFile.token.Load()[:], session: x})
	defer stop()
	other, stopOther := a.endWithSession(t.Context(), caller{kind: "admin", digest: []byte("another token"), session: x})
	defer stopOther()
	<-other.Done()
	if !isRevoked(other) || ctx.Err() != nil {
		t.Errorf("another admin token: %v, the same one: %v", context.Cause(other), ctx.Err())
	}
	v.send(http.MethodDelete, "/api/session", "")
	began := time.Now()
	<-ctx.Done()
	if took := time.Since(began); !isRevoked(ctx) || took > 2*time.Second {
		t.Errorf("it ended after %s: %v", took, context.Cause(ctx))
	}
}

// FuzzSessionCookies: whatever stands in a Cookie header, finding ours in it does
// not panic, and gives no text that was not there.
func FuzzSessionCookies(f *testing.F) {
	for _, seed := range []string{"", "tokens_session=a", "a=1; tokens_session=b;tokens_session=c", ";;=;tokens_session", "tokens_session=;tokens_session==="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		values := cookiesNamed([]string{line}, inject.SessionCookie)
		if len(values) > maxSessionCookies {
			t.Errorf("%d values", len(values))
		}
		for _, v := range values {
			if !strings.Contains(line, v.Reveal()) || strings.Contains(v.Reveal(), ";") {
				t.Errorf("%q has the value %q", line, v.Reveal())
			}
		}
		h := http.Header{"Cookie": {line}}
		inject.RemoveSessionCookie(h)
		if left := cookiesNamed(h["Cookie"], inject.SessionCookie); len(left) > 0 {
			t.Errorf("%q keeps %d cookies of a session", line, len(left))
		}
	})
}
