package caddymodule

import (
	"runtime"
	"strings"
	"testing"
)

// TestVersion: a release tells the version that its linker wrote, and any other
// build what Go knows.
func TestVersion(t *testing.T) {
	releaseVersion = "v9.8.7"
	defer func() { releaseVersion = "" }()
	out, _, err := tokens(t, "version")
	if err != nil || !strings.HasPrefix(out, "caddy-tokens v9.8.7, Caddy ") || !strings.Contains(out, runtime.Version()+" "+runtime.GOOS) {
		t.Errorf("%q, %v", out, err)
	}
	releaseVersion = ""
	if out, _, err = tokens(t, "version"); err != nil || strings.HasPrefix(out, "caddy-tokens ,") {
		t.Errorf("%q, %v", out, err)
	}
}
