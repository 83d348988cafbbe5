package main

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debian is a root directory with dpkg's database and one package. It needs root,
// since a package's files belong to root.
type debian struct {
	t    *testing.T
	root string
}

func newDebian(t *testing.T) *debian {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("packages are installed as root: please run this test as root, or by sudo")
	}
	d := &debian{t, t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		if err := os.MkdirAll(d.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.write("var/lib/dpkg/status", "", 0o644)
	return d
}

func (d *debian) path(name string) string { return filepath.Join(d.root, name) }

func (d *debian) write(name, text string, mode fs.FileMode) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(d.path(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.path(name), []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}

func (d *debian) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// dpkg runs dpkg on this root. The scripts of the package run outside of it, and
// are told of it by DPKG_ROOT: there is no shell in it.
func (d *debian) dpkg(args ...string) {
	d.t.Helper()
	cmd := exec.Command("dpkg", append([]string{"--root=" + d.root, "--force-script-chrootless", "--force-confold"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
}

func (d *debian) install() {
	d.t.Helper()
	d.dpkg("--install", released(d.t, "caddy-tokens_*_"+linuxHere().Arch+".deb"))
}

// left are the files outside of dpkg's database.
func (d *debian) left() (names []string) {
	d.t.Helper()
	err := filepath.WalkDir(d.root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(d.root, path)
		if name == "var/lib/dpkg" {
			return fs.SkipDir
		}
		if err == nil && !slices.Contains([]string{".", "var", "var/lib"}, name) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return names
}

// TestDebInstallAndPurge: a key is made once; an upgrade and a removal keep it, and
// what the operator wrote; a purge leaves nothing, and no user.
func TestDebInstallAndPurge(t *testing.T) {
	d := newDebian(t)
	d.install()
	key := d.read("etc/caddy-tokens/tokens.key")
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key)); err != nil || len(raw) != 32 {
		t.Errorf("the key is no 32 bytes in base64 (%v)", err)
	}
	for name, want := range map[string]fs.FileMode{
		"etc/caddy-tokens/tokens.key": 0o600, "etc/caddy-tokens/environment": 0o600, "etc/caddy-tokens/Caddyfile": 0o644,
		"usr/bin/caddy-tokens": 0o755, "usr/lib/systemd/system/caddy-tokens.service": 0o644,
		"usr/share/man/man8/caddy-tokens.8.gz": 0o644, "usr/share/bash-completion/completions/caddy-tokens": 0o644,
		"usr/share/zsh/vendor-completions/_caddy-tokens": 0o644, "usr/share/fish/vendor_completions.d/caddy-tokens.fish": 0o644,
		"usr/share/doc/caddy-tokens/copyright": 0o644,
	} {
		if info, err := os.Stat(d.path(name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(d.path("etc/passwd")); err == nil {
		t.Error("the package makes a user")
	}
	if found, err := os.ReadDir(d.path("etc/caddy-tokens")); err != nil || len(found) != 3 {
		t.Errorf("/etc/caddy-tokens has %v, %v", found, err)
	}

	const changed = "# changed by the operator\n"
	d.write("etc/caddy-tokens/Caddyfile", changed, 0o644)
	d.write("var/lib/private/caddy-tokens/caddy/tokens.db", "rows", 0o600)
	kept := func(after string) {
		t.Helper()
		if d.read("etc/caddy-tokens/tokens.key") != key || d.read("etc/caddy-tokens/Caddyfile") != changed {
			t.Errorf("%s changed the key or the Caddyfile", after)
		}
		if d.read("var/lib/private/caddy-tokens/caddy/tokens.db") != "rows" {
			t.Errorf("%s changed the database", after)
		}
	}
	d.install()
	kept("an upgrade")
	d.dpkg("--remove", "caddy-tokens")
	kept("a removal")
	if _, err := os.Stat(d.path("usr/bin/caddy-tokens")); err == nil {
		t.Error("a removal leaves the program")
	}
	d.install()
	kept("another installation")
	d.dpkg("--purge", "caddy-tokens")
	for _, name := range d.left() {
		if name != "var/lib/private" { // systemd's own
			t.Errorf("a purge leaves %s", name)
		}
	}
}

// TestUnit: systemd understands every line of the unit, and finds its sandbox
// tight (0 is the best, 10 the worst).
func TestUnit(t *testing.T) {
	d := &debian{t, t.TempDir()}
	deb := released(t, "caddy-tokens_*_"+linuxHere().Arch+".deb")
	if out, err := exec.Command("dpkg-deb", "--extract", deb, d.root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const name = "caddy-tokens.service"
	unit := d.read("usr/lib/systemd/system/" + name)
	// The installed program has to be there when the unit is judged.
	file := filepath.Join(t.TempDir(), name)
	there := strings.ReplaceAll(unit, "/usr/bin/caddy-tokens", d.path("usr/bin/caddy-tokens"))
	if err := os.WriteFile(file, []byte(there), 0o600); err != nil {
		t.Fatal(err)
	}
	analyze := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("systemd-analyze", append(args, file)...)
		cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := analyze("verify", "--man=no"); out != "" {
		t.Errorf("systemd complains:\n%s", out)
	}
	analyze("security", "--offline=true", "--threshold=17", "--no-pager")

	// What the documents and the Caddyfile build on.
	for _, line := range []string{
		"Type=notify", "DynamicUser=yes", "StateDirectoryMode=0700", "ProtectSystem=strict", "NoNewPrivileges=yes",
		"LoadCredential=tokens.key:/etc/caddy-tokens/tokens.key", "EnvironmentFile=-/etc/caddy-tokens/environment",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
	credential := "{file./run/credentials/" + name + "/tokens.key}"
	if text := d.read("etc/caddy-tokens/Caddyfile"); !strings.Contains(text, "encryption_key "+credential) {
		t.Errorf("the Caddyfile does not take the key from %s", credential)
	}
}

// TestDebsAreSound: dpkg reads every package, and the archive that it unpacks has
// the very program that the tar.gz has.
func TestDebsAreSound(t *testing.T) {
	for _, target := range built.Targets {
		if target.OS != "linux" {
			continue
		}
		deb := released(t, "caddy-tokens_*_"+target.Arch+".deb")
		out, err := exec.Command("dpkg-deb", "--field", deb, "Package", "Architecture", "Version").CombinedOutput()
		if want := "Package: caddy-tokens\nArchitecture: " + target.Arch + "\nVersion: 1.2.3~rc.1-1\n"; err != nil || string(out) != want {
			t.Errorf("%v\n%s", err, out)
		}
		dir := t.TempDir()
		if out, err := exec.Command("dpkg-deb", "--extract", deb, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		one, err := os.ReadFile(filepath.Join(dir, "usr/bin/caddy-tokens"))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := os.ReadFile(program(t, target)); err != nil || !bytes.Equal(one, other) {
			t.Errorf("%s: the package has another program than the archive (%v)", target, err)
		}
	}
}
