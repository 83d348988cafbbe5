package test

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// The size of the images in the READMEs.
const (
	imageWidth  = 1280
	imageHeight = 800
)

// The READMEs show the console. With UPDATE=1 their images are taken anew:
//
//	cd test && UPDATE=1 go test -count=1 -run TestConsoleImages .
//
// Otherwise they are taken all the same, and thrown away.
func TestConsoleImages(t *testing.T) {
	c := launchConsole(t)
	c.fillShown()
	dir := t.TempDir()
	if os.Getenv("UPDATE") != "" {
		dir = filepath.Join("..", "docs", "images")
	}
	for name, language := range map[string]string{"en": english, "zh": chinese} {
		b := c.in(t).openConsole(language)
		b.resize(imageWidth, imageHeight)
		b.signIn(c.token)
		b.shows("wechat / service")
		file := filepath.Join(dir, "console-"+name+".png")
		if err := os.WriteFile(file, b.screenshot(), 0o644); err != nil { // #nosec G306 -- everybody may see it
			t.Fatal(err)
		}
		wantImage(t, file)
		wantImage(t, "../docs/images/console-"+name+".png")
	}
}

func (b *tab) screenshot() []byte {
	b.t.Helper()
	b.settle()
	image, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	return image
}

// wantImage expects an image of the right size, with more than a few colours in it.
func wantImage(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file) // #nosec G304 -- a test's own name
	if err != nil {
		t.Fatal(err)
	}
	image, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if size := image.Bounds().Size(); size.X != imageWidth || size.Y != imageHeight {
		t.Errorf("%s has the size %v", file, size)
	}
	colours := map[string]bool{}
	for x := 0; x < imageWidth; x += 2 {
		for y := 0; y < imageHeight; y += 2 {
			colours[fmt.Sprint(image.At(x, y))] = true
		}
	}
	if len(colours) < 30 {
		t.Errorf("%s has %d colours: it shows nothing", file, len(colours))
	}
}

// fillShown gives a node what is worth a picture: tokens that live, one that the
// provider refuses, and some calls.
func (c *consoleNode) fillShown() {
	c.t.Helper()
	apps := map[string]string{"app": "app-secret-01"}
	base := oauthProvider().Start(c.t)
	for _, realm := range []string{"github", "feishu", "salesforce", "wecom"} {
		c.post("/api/realm", map[string]any{"id": realm, "config": oauthConfig(base)})
		for _, key := range []string{"main", "staging"} {
			c.post("/api/secret", map[string]any{"realm": realm, "key": key, "fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01"}})
			for range 5 {
				c.get(c.proxy+"/any/"+realm+"/"+key+"/v1/hello", http.StatusOK)
			}
		}
	}
	wechat := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: apps})
	base = wechat.Start(c.t)
	c.post("/api/realm", map[string]any{"id": "wechat", "config": map[string]any{
		"preset": "wechat", "api": base, "url": base + "/cgi-bin/stable_token", "allow_http": true,
	}})
	for key, secret := range map[string]string{"subscription": "app-secret-01", "service": "app-secret-of-another-app"} {
		c.post("/api/secret", map[string]any{"realm": "wechat", "key": key, "fields": map[string]any{"appid": "app", "appsecret": secret}})
		c.try(c.proxy + "/any/wechat/" + key + "/cgi-bin/get_api_domain_ip")
	}
}
