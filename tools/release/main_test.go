package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const (
	testVersion = "v1.2.3-rc.1"
	testEpoch   = 1_767_225_600 // 2026-01-01
	testTags    = "nobadger,nomysql,nopgx"
)

// built is the release that the tests look at: for this machine's processor,
// whose packages are in Go's cache, or for the systems of RELEASE_TARGETS.
var built release

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	out, err := os.MkdirTemp("", "release-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(out) }()
	_ = os.Setenv("SOURCE_DATE_EPOCH", fmt.Sprint(testEpoch))
	built = release{Root: "../..", Out: filepath.Join(out, "dist"), Version: testVersion, Tags: testTags}
	targets := os.Getenv("RELEASE_TARGETS")
	if targets == "" {
		targets = linuxHere().String()
	}
	if err = built.selectTargets(targets); err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		err = built.Build(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// linuxHere is the system whose packages this machine can install.
func linuxHere() target { return target{"linux", runtime.GOARCH} }

// released is the path of a file of the release.
func released(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(built.Out, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: found %v, %v", pattern, found, err)
	}
	return found[0]
}
