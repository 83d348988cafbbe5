package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/chromedp/chromedp"
)

// chromium is the browser that all tests of the console share: it takes a second to
// start. Each test has a context of its own in it, with cookies and storage of its own.
var chromium = sync.OnceValues(startChromium)

// endChromium ends it, and removes its profile. It does nothing before the first use.
var endChromium = func() {}

func startChromium() (context.Context, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("the tests of the console need Chromium and a Chinese font: scripts/install-chromium")
	}
	profile := filepath.Join(binaries, "chromium") // removed with the binaries
	if err := os.Mkdir(profile, 0o700); err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // containers have none, and nothing but our own page is opened
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endTab := chromedp.NewContext(allocator)
	endChromium = func() {
		endTab()
		end()
	}
	if err := chromedp.Do(ctx); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", program, err)
	}
	return ctx, nil
}
