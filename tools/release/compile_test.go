package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDescribe: the version is the tag of the commit or a pseudo-version, and
// says so where something is not committed.
func TestDescribe(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=n@localhost"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-02-03T04:05:06Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	describe := func(version, want string) {
		t.Helper()
		r := release{Root: dir, Version: version}
		if err := r.describe(t.Context()); err != nil || !regexp.MustCompile("^"+want+"$").MatchString(r.Version) || r.epoch != 1770091506 {
			t.Errorf("%q at %d, %v; want %s", r.Version, r.epoch, err, want)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "first")
	describe("", `v0\.0\.0-20260203040506-[0-9a-f]{12}`)
	describe("v1.0.0", `v1\.0\.0`)
	git("tag", "v2.3.4")
	describe("", `v2\.3\.4`)
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	describe("", `v2\.3\.4\+dirty`)
	for _, wrong := range []string{"1.0.0", "v1.0", "v1.0.0 -X main.x=y", "vx"} {
		r := release{Root: dir, Version: wrong}
		if err := r.describe(t.Context()); err == nil {
			t.Errorf("the version %q is accepted", wrong)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if err := (&release{Root: dir}).describe(t.Context()); err == nil {
		t.Error("a SOURCE_DATE_EPOCH that is no number is accepted")
	}
}

// TestSelectTargets: what is no system of a release is refused.
func TestSelectTargets(t *testing.T) {
	var r release
	if err := r.selectTargets("linux/arm64,windows/amd64"); err != nil || len(r.Targets) != 2 {
		t.Errorf("%v, %v", r.Targets, err)
	}
	for _, wrong := range []string{"", "linux", "linux/mips", "plan9/amd64"} {
		if err := new(release).selectTargets(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}
