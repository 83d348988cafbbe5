package caddymodule

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// dialPatience bounds the look whether somebody listens on this machine.
const dialPatience = time.Second

// running is an instance that was found on this machine.
type running struct {
	apiNote
	owner fileOwner
}

// dataDirectories are where an instance on this machine may have its data: where
// this user's own would have it, then those of services, which run as another user.
func dataDirectories() []string {
	dirs := []string{caddy.AppDataDir()}
	if runtime.GOOS != "windows" {
		dirs = append(dirs,
			"/var/lib/caddy-tokens/caddy",       // the package of this product
			"/var/lib/caddy/.local/share/caddy", // the package of Caddy
			"/data/caddy",                       // the image
		)
	}
	return dirs
}

// findRunning returns the first instance that runs and answers. At the address in
// a file that a killed one left behind, somebody else may listen by now.
func findRunning(ctx context.Context) (r running, site apiSite, ok bool) {
	var seen []string
	for _, dir := range dataDirectories() {
		path := filepath.Join(dir, apiFileName)
		if slices.Contains(seen, path) {
			continue
		}
		seen = append(seen, path)
		note, owner, err := readAPIFile(path)
		if err != nil || !isTrusted(owner) || !isRunning(note.PID) {
			continue
		}
		for _, site := range note.Sites {
			if site.answers(ctx) {
				return running{note, owner}, site, true
			}
		}
	}
	return r, site, false
}

// isTrusted reports whether this user believes what a file of another one says:
// their own and root's, and root believes those in the places of services, which
// learn nothing but their own token.
func isTrusted(owner fileOwner) bool {
	var root fileOwner
	return owner == root || os.Geteuid() <= 0 || owner == ownUser()
}

// answers reports whether somebody listens there.
func (s apiSite) answers(ctx context.Context) bool {
	network, address := s.dialed()
	dialer := net.Dialer{Timeout: dialPatience}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// dialed is what to dial.
func (s apiSite) dialed() (network, address string) {
	if path, ok := strings.CutPrefix(s.Dial, "unix/"); ok {
		return "unix", path
	}
	return "tcp", s.Dial
}

// siteAt is the instance's site at an address that was given, on this machine.
func (r running) siteAt(base string) (site apiSite, ok bool) {
	u, err := url.Parse(base)
	if err != nil {
		return site, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	i := slices.IndexFunc(r.Sites, func(s apiSite) bool { return s.hasPort(port) })
	if i < 0 {
		return site, false
	}
	return r.Sites[i], true
}
