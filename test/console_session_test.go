package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
)

// client makes a client with one rule, and returns its key.
func (c *consoleNode) client(id string, rights []string, realms ...string) (key string) {
	c.t.Helper()
	answer := c.post("/api/client", map[string]any{"id": id, "rules": []any{
		map[string]any{"effect": "allow", "rights": rights, "realms": realms},
	}})
	return decode[struct{ Key string }](c.t, answer).Key
}

// Whoever signs in with a key is signed out by its end: what he sees next is the page to
// sign in, and nothing of what he saw before.
func TestConsoleRevocation(t *testing.T) {
	c := launchConsole(t)
	c.fill(oauthProvider())
	key := c.client("ops", []string{"admin_read"}, "*")
	b := c.openConsole(english)
	b.signIn(key)
	b.visit("secrets")
	b.shows("main")

	if status, answer := call(t.Context(), http.MethodDelete, c.admin+"/api/client/ops", []byte("{}")); status != http.StatusOK {
		t.Fatalf("DELETE: %d %s", status, answer)
	}
	b.expects("GET api/realm 403", "GET api/secret 403", "GET api/status 403", "GET api/preset 403", "GET api/watch 403", "GET api/activity 403")
	b.visit("realms")
	b.the("button", b.say("session:sign_in"))
	b.settle()
	if text := b.text(); strings.Contains(text, "crm") || strings.Contains(text, b.say("common:menu.secrets")) {
		t.Errorf("after the end of the session the page shows\n%s", text)
	}
}

// A one-time link signs in once, and leaves no trace of its code in the address bar and
// the history. What somebody types in wrongly does not stay on the page.
func TestConsoleOneTimeLink(t *testing.T) {
	c := launchConsole(t)
	status, answer, _ := console(t, http.MethodPost, c.site+"/api/session/link", "", "", "Authorization", "Bearer "+c.token)
	link := decode[struct{ URL string }](t, []byte(answer)).URL
	_, code, ok := strings.Cut(link, "#link=")
	if status != http.StatusOK || !ok {
		t.Fatalf("POST /api/session/link: %d %s", status, answer)
	}
	b := newTab(t, c.site, english)
	b.load(link)
	b.the("button", b.say("common:sign_out"))
	if address := value[string](b, "location.href"); address != c.site+"/#/" {
		t.Errorf("the address is %s", address)
	}
	for _, entry := range do(b, page.GetNavigationHistory, cdp.Empty{}).Entries {
		if strings.Contains(entry.URL+entry.Title, code) {
			t.Errorf("the history has %s", entry.URL)
		}
	}
	b.press("button", b.say("common:sign_out"))
	b.expects("GET api/session 403", "POST api/session 403")
	b.the("button", b.say("session:sign_in"))

	other := newTab(t, c.site, english)
	other.expects("GET api/session 403", "POST api/session 403")
	other.load(link)
	other.shows(other.say("session:refused_link"))
	other.fill(other.say("session:key"), "no-such-key-0123456789")
	other.press("button", other.say("session:sign_in"))
	other.shows(other.say("session:refused_key"))
	if left := value[string](other, "document.querySelector('input').value"); left != "" {
		t.Errorf("%q stays in the field", left)
	}
}

// What becomes of a token is shown without asking: the page hears of it by the watch.
func TestConsoleLive(t *testing.T) {
	p := oauthProvider()
	c := launchConsole(t)
	c.fill(p)
	c.post("/api/secret", map[string]any{"realm": "crm", "key": "new", "fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01"}})
	b := c.openConsole(english)
	b.signIn(c.token)
	b.shows(b.say("overview:attention.none"))
	secret := c.openConsole(chinese)
	secret.signIn(c.token)
	secret.visit("secrets/crm/new")
	secret.shows(secret.say("secrets:no_status"))
	for _, b := range []*tab{b, secret} {
		b.eventually("the page watches", func() bool {
			return b.count(func(x *exchange) bool { return isWatch(x.url) && strings.Contains(string(x.stream), "ready") }) > 0
		})
	}

	if status, answer := c.try(c.admin + "/api/token?realm=crm&key=wrong"); status < http.StatusBadRequest {
		t.Fatalf("with a wrong secret: %d %s", status, answer)
	}
	c.node.token("crm", "new")
	b.the("link", "crm / wrong")
	b.shows(b.say("common:state.failing"))
	secret.shows(secret.say("common:state.live"))
	for _, b := range []*tab{b, secret} {
		if n := b.count(func(x *exchange) bool { return x.url == b.site }); n != 1 {
			t.Errorf("the page was loaded %d times", n)
		}
	}
}
