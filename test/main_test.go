package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// binary is the product, built once from the checkout, or what binaryEnv
// names.
var binary string

const binaryEnv = "TOKENS_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "tokens-binary-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	defer func() { endChromium() }()
	if binary = os.Getenv(binaryEnv); binary != "" {
		return m.Run()
	}
	if binary, err = build(""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// binaries is the directory of what is built.
var binaries string

// build builds the product with a build tag, or with none.
func build(tag string) (file string, err error) {
	file = filepath.Join(binaries, "xcaddy-build"+tag)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "..", "-tags", tag, "-o", file, "./cmd/xcaddy-build") // #nosec G204 -- fixed words
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the product does not build: %w\n%s", err, out)
	}
	return file, nil
}

var failpoints = sync.OnceValues(func() (string, error) { return build("failpoints") })

// withFailpoints is the product with the places at which TOKENS_FAILPOINT ends
// it. It is built by the first call.
func withFailpoints(t *testing.T) string {
	t.Helper()
	file, err := failpoints()
	if err != nil {
		t.Fatal(err)
	}
	return file
}
