package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// micro are the packages whose Go benchmarks stand in the document, and the
// target that each is about.
var micro = []struct{ pkg, target string }{
	{"./internal/inject", "P1: at most 3 allocations more than the bare base transport (None); header 5 beyond 8 fields"},
	{"./internal/broker", "P4: a memory hit among a million keys has 0 allocations, no lock, below 0.5 us; P6: at most 800 B for each of a million cached tokens of 512 B"},
	{"./internal/adminapi", "the handler's share of P5"},
	{"./internal/grant", "reading an answer, placing a token"},
	{"./tokenstore/sqlstore", "a point read"},
}

// goBenchmarks runs the Go benchmarks and returns their part of the document.
func (b *bench) goBenchmarks(ctx context.Context) (string, error) {
	var s strings.Builder
	s.WriteString("## Go benchmarks\n\nAllocations are exact; times share the noise of the machine.\n")
	for _, m := range micro {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-timeout", "30m", m.pkg) //nolint:gosec // our own packages
		cmd.Dir, cmd.Stderr = b.module, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", m.pkg, err)
		}
		fmt.Fprintf(&s, "\n### %s\n\n%s.\n\n```\n", m.pkg, m.target)
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "Benchmark") {
				s.WriteString(line)
			}
		}
		s.WriteString("```\n")
	}
	return s.String(), nil
}
