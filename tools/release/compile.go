package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

const (
	// programName is the name of the program and of its packages. Debian has a
	// package caddy, whose files this one must not replace.
	programName = "caddy-tokens"
	// mainPackage is built.
	mainPackage = "./cmd/xcaddy-build"
	// versionVariable is where the linker writes the version.
	versionVariable = "github.com/caddy-tokens/caddy-tokens/caddymodule.releaseVersion"
)

// target is a system to build for, in Go's words.
type target struct{ OS, Arch string }

func (t target) String() string { return t.OS + "/" + t.Arch }

// program is the name of the program's file.
func (t target) program() string {
	if t.OS == "windows" {
		return programName + ".exe"
	}
	return programName
}

// allTargets are the systems of a release.
var allTargets = []target{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

// selectTargets takes the systems from a list with commas, or all.
func (r *release) selectTargets(list string) error {
	if list == "all" {
		r.Targets = allTargets
		return nil
	}
	for name := range strings.SplitSeq(list, ",") {
		system, arch, _ := strings.Cut(name, "/")
		t := target{system, arch}
		if !slices.Contains(allTargets, t) {
			return fmt.Errorf("%q is not a system of a release", name)
		}
		r.Targets = append(r.Targets, t)
	}
	return nil
}

// describe finds out the version and the time where they are not given.
func (r *release) describe(ctx context.Context) (err error) {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		if seconds, err = r.git(ctx, "log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	if r.epoch, err = strconv.ParseInt(seconds, 10, 64); err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	if r.Version == "" {
		if r.Version, err = r.versionOfCheckout(ctx); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(r.Version, "v") || semver.Canonical(r.Version)+semver.Build(r.Version) != r.Version {
		return fmt.Errorf("the version %q has not the form v1.2.3", r.Version)
	}
	return nil
}

// versionOfCheckout is the tag of the commit, or a pseudo-version in the form of
// Go's. Changes that are not committed are told.
func (r *release) versionOfCheckout(ctx context.Context) (string, error) {
	changes, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return "", err
	}
	version, err := r.git(ctx, "describe", "--tags", "--exact-match", "--match", "v*")
	if err != nil {
		commit, err := r.git(ctx, "log", "-1", "--format=%H")
		if err != nil {
			return "", err
		}
		version = "v0.0.0-" + r.time().Format("20060102150405") + "-" + commit[:12]
	}
	if changes != "" {
		version += "+dirty"
	}
	return version, nil
}

// time is the time of everything in the release.
func (r *release) time() time.Time { return time.Unix(r.epoch, 0).UTC() }

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", r.Root}, args...)...).Output() // #nosec G204 -- fixed words
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// compile builds the program for one system, statically linked. What Go would
// write of Git is left out, because it depends on the kind of checkout, and what
// the user's environment says of Go's flags does not count.
func (r *release) compile(ctx context.Context, t target) (string, error) {
	dir := filepath.Join(r.work, t.OS+"_"+t.Arch)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, t.program())
	cmd := exec.CommandContext(ctx, "go", "build", // #nosec G204 -- what the developer says
		"-trimpath", "-buildvcs=false", "-mod=readonly", "-tags", r.Tags,
		"-ldflags", "-s -w -X "+versionVariable+"="+r.Version,
		"-o", file, mainPackage)
	cmd.Dir = r.Root
	cmd.Env = append(os.Environ(), "GOOS="+t.OS, "GOARCH="+t.Arch,
		"CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
}

// hostTarget is the system on which the release is built.
func hostTarget() target { return target{runtime.GOOS, runtime.GOARCH} }
