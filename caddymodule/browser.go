package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// browserPatience is how long a browser has to read the page that leads it on.
const browserPatience = 5 * time.Second

// errNoBrowser: there is none on this machine, or nothing to start it with.
var errNoBrowser = errors.New("no browser could be opened on this machine; open the link by hand")

// openBrowser opens a confidential link. Other users of the machine see the
// arguments of every process, so that the browser is given a page of this user's
// alone, which leads to the link. remove waits until it was read, and removes it.
func openBrowser(ctx context.Context, link string) (remove func(), err error) {
	if u, err := url.Parse(link); err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the API answers with a link that is none")
	}
	dir, err := os.MkdirTemp("", "caddy-tokens-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoBrowser, err)
	}
	page := filepath.Join(dir, "open.html")
	text := `<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">` +
		`<meta http-equiv="refresh" content="0; url=` + html.EscapeString(link) + `">`
	if err = os.WriteFile(page, []byte(text), 0o600); err == nil {
		err = browserCommand(ctx, page).Run()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("%w: %w", errNoBrowser, err)
	}
	read := time.After(browserPatience)
	return func() {
		select {
		case <-read:
		case <-ctx.Done():
		}
		_ = os.RemoveAll(dir)
	}, nil
}

// browserCommand opens a file as a click on it does.
func browserCommand(ctx context.Context, page string) *exec.Cmd {
	switch runtime.GOOS {
	case "darwin":
		return exec.CommandContext(ctx, "open", page) // #nosec G204 -- a file of our own
	case "windows":
		return exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", page) // #nosec G204 -- a file of our own
	}
	return exec.CommandContext(ctx, "xdg-open", page) // #nosec G204 -- a file of our own
}
