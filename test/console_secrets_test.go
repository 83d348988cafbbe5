package test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/domsnapshot"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// rendered is every text that is drawn, except that of inputs.
func (b *tab) rendered() string {
	b.t.Helper()
	snapshot := do(b, domsnapshot.CaptureSnapshot, domsnapshot.CaptureSnapshotParams{ComputedStyles: []string{}})
	var text strings.Builder
	for _, document := range snapshot.Documents {
		for _, i := range document.Layout.Text {
			if i >= 0 {
				text.WriteString(snapshot.Strings[i] + "\n")
			}
		}
	}
	return text.String()
}

// isMasked types a text into a field, and reports whether a screenshot tells it from
// another one of the same length: not where both are drawn as dots.
func (b *tab) isMasked(field, typed string) bool {
	b.t.Helper()
	picture := func(text string) []byte {
		b.fill(field, text)
		value[bool](b, "document.activeElement.blur(), true") // a cursor blinks
		return b.screenshot()
	}
	other := picture(strings.Repeat("W", len(typed)))
	return bytes.Equal(picture(typed), other)
}

// keptByPage is all that the browser keeps of the page: the document, what stands in its
// inputs, and every kind of storage.
const keptByPage = `(async () => JSON.stringify([
	document.documentElement.outerHTML,
	[...document.querySelectorAll('input, textarea')].map((one) => one.value),
	location.href, document.title, document.cookie, window.name, history.state,
	{ ...localStorage }, { ...sessionStorage },
	(await indexedDB.databases()).map((one) => one.name),
	typeof caches === 'undefined' ? [] : await caches.keys(),
]))()`

// wantNowhere expects that none of the values is on the page, drawn or hidden, nor in
// what the browser keeps of it.
func (b *tab) wantNowhere(values ...string) {
	b.t.Helper()
	places := map[string]string{"the page, or its storage": b.kept(), "the screen": b.rendered()}
	for _, entry := range do(b, page.GetNavigationHistory, cdp.Empty{}).Entries {
		places["the history"] += fmt.Sprintln(entry.URL, entry.Title)
	}
	for _, cookie := range do(b, network.GetCookies, network.GetCookiesParams{}).Cookies {
		places["a cookie"] += fmt.Sprintln(cookie.Name, cookie.Value)
		if !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteStrict {
			b.t.Errorf("the cookie %s is not HttpOnly and SameSite=Strict", cookie.Name)
		}
	}
	b.wantNot(places, values...)
}

func (b *tab) wantNot(places map[string]string, values ...string) {
	b.t.Helper()
	for place, text := range places {
		for _, v := range values {
			if strings.Contains(text, v) {
				b.t.Errorf("%s: %.9s... stands in %s", b.path(), v, place)
			}
		}
	}
}

// Values that are typed in, tokens, and the key of whoever is signed in go to the server
// with the request that is for them, and are nowhere else: not on a page, in a
// screenshot, in storage, in the history, nor in any answer.
func TestConsoleKeepsSecrets(t *testing.T) {
	const secret, multiline = "canary-s-0123456789", "canary-m-0123456789"
	p := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01", "typed": secret},
		Mint:        func(n int64) string { return fmt.Sprintf("canary-t-%06d", n) },
	})
	c := launchConsole(t)
	base := c.fill(p)
	c.post("/api/realm", map[string]any{"id": "own", "config": map[string]any{
		"api": base, "allow_http": true, "url": base + "/oauth2/token", "method": "POST", "content_type": "form",
		"arguments": []any{
			map[string]any{"name": "grant_type", "place": "body", "value": "client_credentials"},
			map[string]any{"name": "client_id", "place": "body", "value": "{secret.client_id}"},
			map[string]any{"name": "client_secret", "place": "body", "value": "{secret.client_secret}"},
		},
		"token_path": "access_token", "expires_in_path": "expires_in",
		"inject": []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
	}})
	c.keepsSecret(p, secret, c.token)
	b := c.openConsole(english)
	b.signIn(c.token)
	all := func() []string {
		return append(p.Issued(), secret, multiline, "app-secret-01", "wrong-secret-01", c.token)
	}

	// While they are typed in they are drawn as dots.
	b.visit("realms/new/catalogue?preset=github_app")
	if !b.isMasked("private_key", multiline) {
		t.Error("a screenshot shows the private key")
	}
	b.wantNot(map[string]string{"the screen": b.rendered()}, multiline)
	b.visit("secrets/new?realm=own")
	b.fill("client_id", "typed")
	if !b.isMasked("client_secret", secret) {
		t.Error("a screenshot shows what is typed in")
	}
	if b.isMasked(b.say("secrets:key"), "typed") {
		t.Error("a screenshot does not show the key: it proves nothing")
	}
	b.wantNot(map[string]string{"the screen": b.rendered()}, all()...)
	b.press("button", b.say("common:save"))
	b.the("heading", "own / typed")
	b.settle()
	b.wantNowhere(all()...)

	b.press("tab", b.say("secrets:test"))
	b.press("checkbox", b.say("realms:test.with_call"))
	b.press("button", b.say("realms:test.run"))
	b.shows(b.say("realms:test.good"))
	b.wantNowhere(all()...)
	// The new token stays on the server.
	issued := len(p.Issued())
	b.press("button", b.say("secrets:flush.verb"))
	b.the("dialog", b.say("secrets:flush.title"))
	buttons := b.named("button", b.say("secrets:flush.verb")) // that of the page, and that of the dialog
	b.click(buttons[len(buttons)-1])
	b.eventually("there is a new token", func() bool { return len(p.Issued()) > issued })
	b.settle()
	b.wantNowhere(all()...)
	key := c.client("caller", []string{"use"}, "*")
	if status, answer, _ := console(t, http.MethodGet, c.proxy+"/any/own/typed/v1/hello", "", "", "Authorization", "Bearer "+key); status != http.StatusOK {
		t.Errorf("the proxied call: %d %s", status, answer)
	}

	for _, path := range consolePaths(t) {
		b.visit(path)
		b.wantNowhere(all()...)
	}
	if len(p.Issued()) < 2 {
		t.Errorf("%d tokens were issued", len(p.Issued()))
	}
	mayCarry := func(method, path string) bool {
		return method == http.MethodPost && (path == "api/session" || path == "api/secret")
	}
	b.wantNot(map[string]string{"the traffic": b.traffic(mayCarry)}, all()...)
}

func (b *tab) kept() string {
	b.t.Helper()
	return awaited[string](b, keptByPage)
}
