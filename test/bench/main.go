// Command bench compares the built binary with plain Caddy, end to end, and
// writes docs/benchmarks.md. Both sides are the same binary; every round runs
// all variants in shuffled order, so that a change of the machine's speed
// hits them alike. What counts are ratios within a round. Then it lets many
// tokens end at once, renews tokens under load, and runs the Go benchmarks.
//
// It needs wrk, and nginx with Lua (`make bench` installs them), and talks to 127.0.0.1
// only. Each part waits until other work leaves the machine idle.
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
	// Of P8: how many tokens end, and how many fetches a second are allowed.
	stormKeys, stormRate int

	// patience is how long each part waits for an idle machine.
	patience time.Duration

	only string
	out  string
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
	flag.IntVar(&o.stormKeys, "p8-keys", 100_000, "tokens that end within a moment in P8; 5000 take two minutes")
	flag.IntVar(&o.stormRate, "p8-rate", 200, "fetches a second that the provider of P8 allows")
	flag.DurationVar(&o.patience, "patience", 10*time.Minute, "how long each part waits until other work leaves the machine idle")
	flag.StringVar(&o.only, "only", "", "run only the parts whose title holds this text")
	flag.StringVar(&o.out, "out", "", "file to write the results to, besides standard output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	for _, program := range []string{"wrk", "nginx"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: see the target bench of the Makefile", program)
		}
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

// part is what the document has a section of.
type part struct {
	title string
	run   func(context.Context, *report) error
}

// parts are all of them, in the order of the document.
func (b *bench) parts(up *upstreamProcess) []part {
	var parts []part
	for _, c := range b.comparisons(up) {
		parts = append(parts, part{c.title, func(ctx context.Context, r *report) error { return b.compare(ctx, c, r) }})
	}
	return append(parts,
		part{"P7 start-up", b.startups},
		part{"P8 many tokens that end at once", b.storms},
		part{"P9 renewals under load", b.renewals},
		part{"P14 many keys in use", b.manyKeys(up)},
		part{"P1 P4 P6 P10 P15 P16 Go benchmarks", b.goBenchmarks},
	)
}

// all runs every part and returns the report.
func (b *bench) all(ctx context.Context) (string, error) {
	up, err := b.startUpstream(ctx)
	if err != nil {
		return "", err
	}
	defer up.stop()
	r := &report{date: time.Now().UTC()}
	for _, p := range b.parts(up) {
		if !strings.Contains(p.title, b.only) {
			continue
		}
		busy, err := b.awaitIdle(ctx)
		if err != nil {
			return "", err
		}
		log.Printf("%s, %s", time.Now().Format(time.TimeOnly), p.title)
		first := len(r.sections)
		if err := p.run(ctx, r); err != nil {
			return "", fmt.Errorf("%s: %w", p.title, err)
		}
		r.noteBusy(first, busy)
	}
	return r.markdown(b), nil
}
