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

// findRunning returns the first instance that answers. A file that a killed one
// left behind names an address where nobody listens.
func findRunning(ctx context.Context) (r running, site apiSite, ok bool) {
	var seen []string
	for _, dir := range dataDirectories() {
		path := filepath.Join(dir, apiFileName)
		if slices.Contains(seen, path) {
			continue
		}
		seen = append(seen, path)
		note, owner, err := readAPIFile(path)
		if err != nil || !isTrusted(owner) {
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

// serves reports whether an address that was given, on this machine, is one of the
// instance's.
func (r running) serves(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return slices.ContainsFunc(r.Sites, func(s apiSite) bool { return s.hasPort(port) })
}
