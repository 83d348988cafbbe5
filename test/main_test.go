package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binary is the product, built once from the checkout, or what binaryEnv
// names.
var binary string

const binaryEnv = "TOKENS_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if binary = os.Getenv(binaryEnv); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "tokens-binary-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "xcaddy-build")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-C", "..", "-o", binary, "./cmd/xcaddy-build") // #nosec G204 -- fixed words
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the product does not build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
