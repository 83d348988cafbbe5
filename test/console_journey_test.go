package test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// journeyWithin is how long the first run may take. A person needs longer to read, but
// waits no longer for anything.
const journeyWithin = 3 * time.Minute

// A person who has just installed it signs in, chooses the provider from the catalogue,
// enters the credentials, tries them out, and calls the API through the proxy: in either
// language, with the mouse or with the keyboard alone.
func TestConsoleJourney(t *testing.T) {
	preset, err := presets.Get("wechat")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []struct {
		name, language, title string
		byKeys                bool
	}{
		{"mouse", english, preset.Title.En, false},
		{"keyboard", chinese, preset.Title.Zh, true},
	} {
		t.Run(j.name, func(t *testing.T) {
			p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"}})
			base := p.Start(t)
			c := launchConsole(t)
			c.keepsSecret(p, "wx-secret-01", c.token)
			b := c.openConsole(j.language)
			b.byKeys = j.byKeys
			began := time.Now()

			b.signIn(c.token)
			b.press("link", b.say("common:menu.realms"))
			b.the("heading", b.say("common:menu.realms"))
			b.press("link", b.say("realms:new"))
			b.fillIn("searchbox", b.say("realms:catalogue.search"), "wechat")
			b.press("button", j.title+"wechat"+b.say("realms:catalogue.asks_other", "count", "2"))

			// The simulated WeChat is not at the address of the real one.
			b.press("switch", b.say("realms:form.expert"))
			b.fill(b.say("realms:editor.label"), jsonText(map[string]any{
				"preset": "wechat", "api": base, "url": base + "/cgi-bin/stable_token", "allow_http": true,
			}))
			b.fill("appid", "wx-app")
			b.fill("appsecret", "wx-secret-01")
			b.press("button", b.say("realms:form.save_both"))
			b.shows(b.say("realms:done.both", "realm", "wechat", "secret", "main"))

			b.press("checkbox", b.say("realms:test.with_call"))
			b.press("button", b.say("realms:test.run"))
			b.shows(b.say("realms:test.good"))
			c.get(c.proxy+"/any/wechat/main/cgi-bin/get_api_domain_ip", http.StatusOK)

			took := time.Since(began)
			t.Logf("the first run took %s", took.Round(time.Millisecond))
			if took > journeyWithin {
				t.Errorf("the first run took %s", took)
			}
		})
	}
}
