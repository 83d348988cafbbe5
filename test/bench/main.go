// Command bench compares the built binary with plain Caddy, end to end, and
// writes docs/benchmarks.md. Both sides are the same binary; every round runs
// all variants in shuffled order, so that a change of the machine's speed
// hits them alike. What counts are ratios within a round.
//
// It needs wrk (Debian: apt-get install wrk) and talks to 127.0.0.1 only.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	rounds  int
	seconds int
	secrets int
	only    string
	out     string
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 && os.Args[1] == "upstream" {
		upstream(os.Args[2:])
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 8, "rounds, each with all variants in shuffled order")
	flag.IntVar(&o.seconds, "seconds", 3, "seconds of load for each variant in a round")
	flag.IntVar(&o.secrets, "secrets", 100_000, "stored secrets for the start-up comparison")
	flag.StringVar(&o.only, "only", "", "run only the comparisons whose title holds this text")
	flag.StringVar(&o.out, "out", "", "file to write the results to, besides standard output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("wrk is missing: apt-get install wrk")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench := &bench{options: o, dir: dir, binary: filepath.Join(dir, "caddy")}
	// In the product's own module, so that the binary has its versions.
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddy-tokens/caddy-tokens").Output()
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", bench.binary, "./cmd/xcaddy-build") //nolint:gosec // our own path
	bench.module = strings.TrimSpace(string(module))
	build.Dir, build.Stderr = bench.module, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the binary: %w", err)
	}
	report, err := bench.all(ctx)
	if err != nil {
		return err
	}
	fmt.Print(report)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(report), 0o644) //nolint:gosec // a document
}

// all runs every comparison and returns the report.
func (b *bench) all(ctx context.Context) (string, error) {
	up, err := b.startUpstream(ctx)
	if err != nil {
		return "", err
	}
	defer up.stop()
	r := &report{date: time.Now().UTC()}
	for _, c := range b.comparisons(up) {
		if !strings.Contains(c.title, b.only) {
			continue
		}
		log.Printf("%s: %d rounds of %d variants", c.title, b.rounds, len(c.variants))
		if err := b.compare(ctx, c, r); err != nil {
			return "", fmt.Errorf("%s: %w", c.title, err)
		}
	}
	if b.only != "" {
		return r.markdown(b), nil
	}
	log.Printf("start-up with %d secrets", b.secrets)
	if err := b.startups(ctx, r); err != nil {
		return "", fmt.Errorf("start-up: %w", err)
	}
	log.Print("the Go benchmarks")
	micro, err := b.goBenchmarks(ctx)
	if err != nil {
		return "", err
	}
	return r.markdown(b) + "\n" + micro, nil
}
