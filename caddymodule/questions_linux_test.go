package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// TestRealmNewAsks: a person finds a provider by a part of its name, gets the help
// of the catalogue in the language of the locale, types the values, of which the
// confidential one is not shown, and sees what will be created.
func TestRealmNewAsks(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load("", "")
	t.Setenv("LC_ALL", "zh_CN.UTF-8")
	t.Setenv("TERM", "dumb")
	p := newPTY(t, 200)
	done := p.start(t.Context(), tokensCommand(), "realm", "new", "--no-test", "--api", "http://"+i.api)
	p.await("提供方")
	p.enter("no such provider")
	p.await("目录中没有")
	p.enter("微信")
	p.await("编号")
	p.enter("")
	p.enter("wechat")
	p.await("realm 的 id [wechat]: ")
	p.enter("mp")
	p.await("appid: ")
	p.enter("")
	p.await("此项必须填写\nappid: ")
	p.enter("wx1")
	p.await("appsecret (not shown): ")
	p.enter(canary)
	p.await("Create it? [y/N]: ")
	p.enter("y")
	p.await("realm mp was created")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	screen := p.untilNow()
	if strings.Contains(screen, canary) || !strings.Contains(screen, "appsecret {env.MP_MAIN_APPSECRET}") {
		t.Errorf("the screen:\n%s", screen)
	}
	if a := i.must(http.MethodGet, "/api/secret/mp/main", ""); !strings.Contains(a, `"appsecret"`) {
		t.Errorf("the secret: %s", a)
	}
}
