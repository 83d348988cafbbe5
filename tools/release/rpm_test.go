package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sassoftware/go-rpmutils"
)

// rpmConfigNoReplace are the flags of a file that an upgrade leaves alone when
// its owner changed it (RPMFILE_CONFIG and RPMFILE_NOREPLACE).
const rpmConfigNoReplace = 1<<0 | 1<<4

// TestRPM: the package has the files, modes and scripts of the .deb, under the
// names of that family of systems. No Fedora runs it here.
func TestRPM(t *testing.T) {
	for _, target := range built.Targets {
		if target.OS != "linux" {
			continue
		}
		arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[target.Arch]
		f, err := os.Open(released(t, "caddy-tokens-*."+arch+".rpm"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rpm, err := rpmutils.ReadRpm(f)
		if err != nil {
			t.Fatal(err)
		}
		for tag, want := range map[int]string{
			rpmutils.NAME: "caddy-tokens", rpmutils.VERSION: "1.2.3~rc.1", rpmutils.ARCH: arch,
			rpmutils.BUILDHOST: "localhost", rpmutils.LICENSE: "Apache-2.0",
		} {
			if got, err := rpm.Header.GetString(tag); err != nil || got != want {
				t.Errorf("tag %d is %q, %v; want %q", tag, got, err, want)
			}
		}
		for tag, script := range map[int]string{
			rpmutils.POSTIN: "postinstall", rpmutils.PREUN: "preremove", rpmutils.POSTUN: "postremove",
		} {
			want, err := os.ReadFile("../../deploy/package/" + script)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := rpm.Header.GetString(tag); err != nil || strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
				t.Errorf("%s: %v\n%s", script, err, got)
			}
		}
		files, err := rpm.Header.GetFiles()
		if err != nil {
			t.Fatal(err)
		}
		byName := map[string]rpmutils.FileInfo{}
		for _, file := range files {
			if file.UserName() != "root" || file.GroupName() != "root" || int64(file.Mtime()) != testEpoch {
				t.Errorf("%s belongs to %s:%s, of %d", file.Name(), file.UserName(), file.GroupName(), file.Mtime())
			}
			byName[file.Name()] = file
		}
		for name, mode := range map[string]int{
			"/usr/bin/caddy-tokens": 0o755, "/usr/lib/systemd/system/caddy-tokens.service": 0o644,
			"/etc/caddy-tokens/Caddyfile": 0o644, "/etc/caddy-tokens/environment": 0o600,
			"/usr/share/zsh/site-functions/_caddy-tokens": 0o644, "/usr/share/man/man8/caddy-tokens.8.gz": 0o644,
			"/usr/share/doc/caddy-tokens/LICENSE": 0o644,
		} {
			file := byName[name]
			if file == nil || file.Mode()&0o777 != mode {
				t.Errorf("%s: %v", name, file)
				continue
			}
			isConfig := strings.HasPrefix(name, "/etc/")
			if got := file.Flags()&rpmConfigNoReplace == rpmConfigNoReplace; got != isConfig {
				t.Errorf("%s: an upgrade leaves it alone: %v", name, got)
			}
		}
	}
}
