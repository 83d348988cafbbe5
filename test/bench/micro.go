package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// micro are the packages whose Go benchmarks stand in the document, the target
// that each is about, which of them run, and how often: the median is shown.
var micro = []struct {
	pkg, target string
	match       string
	runs        int
	compare     []difference
	perSecond   []rate
	note        string
}{
	{
		pkg: "./internal/inject", target: "P1: at most 3 allocations more than the bare base transport (None); header 5 beyond 8 fields", match: ".", runs: 5,
		compare: []difference{
			{"P10: a rule that looks into a JSON answer of 1 KB costs (target: at most 3 us)", "RoundTripRule", "RoundTripNoRule"},
			{"P10: a rule costs a stream (target: no allocation)", "RoundTripStreamRule", "RoundTripStreamNoRule"},
		},
	},
	{
		pkg: "./internal/access", target: "P15: the decision for a known client among 10,000 of 100 rules (Decide) takes 1 us and 0 allocations; finding it by its key " +
			"(Identify/key) takes 1 us and 1 allocation more. The keys come in turn", match: "Decide|Identify", runs: 5,
		note: "cpu-ns/op is the processor time, which other work on the machine changes less than the time.",
	},
	{
		pkg: "./internal/broker", target: "P4: a memory hit among a million keys has 0 allocations, no lock, below 0.5 us; P6: at most 800 B for each of a million cached tokens of 512 B; " +
			"P16: new tokens for a cold node", match: ".", runs: 1,
		perSecond: []rate{
			{"P16: new tokens on SQLite, 64 calls allowed, the provider answers at once (target: 1,500 a second)", "Cold/sqlite/unbound"},
			{"The same on MariaDB and Redis (target: 800 a second)", "Cold/mariadb+redis/unbound"},
			{"P16: new tokens on SQLite with the default of 4 calls, of 20 ms each (target: 180 a second)", "Cold/sqlite/default"},
			{"The same on MariaDB and Redis (target: 180 a second)", "Cold/mariadb+redis/default"},
		},
		note: "P4's target for the time is not met on one core for keys in random order: the time is that of five dependent reads of memory that no cache holds.",
	},
	{pkg: "./internal/adminapi", target: "The handler's share of P5", match: ".", runs: 5},
	{pkg: "./internal/audit", target: "The audit's share of P5: a read-out that is repeated", match: ".", runs: 5},
	{pkg: "./internal/grant", target: "Reading an answer, placing a token", match: ".", runs: 5},
	{
		pkg: "./tokenstore/sqlstore", target: "A point read; what the agreement of the nodes adds to a fetch; what the audit adds to a change", match: ".", runs: 1,
		perSecond: []rate{
			{"Changes with their entries in the audit (target: 1,000 a second), SQLite, one caller", "Audit/sqlite/audited_change"},
			{"The same, of 32 callers at once", "Audit/sqlite/audited_changes_of_many"},
			{"Changes without an entry, one caller", "Audit/sqlite/change"},
		},
	},
}

// rate is a benchmark of which the document says how often it can be done in a
// second.
type rate struct{ title, name string }

// of is a line of the document.
func (r rate) of(results []result) string {
	return fmt.Sprintf("%s: %.0f a second.\n", r.title, 1e9/find(results, r.name).time)
}

// difference is a benchmark against the same without what it is about.
type difference struct{ title, with, without string }

// goBenchmarks runs the Go benchmarks.
func (b *bench) goBenchmarks(ctx context.Context, r *report) error {
	var s strings.Builder
	s.WriteString("## Go benchmarks\n\nAllocations are exact. Times share the noise of the machine; they are medians where a benchmark ran several times.\n")
	for _, m := range micro {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", m.match, "-benchmem", "-count", strconv.Itoa(m.runs), "-timeout", "30m", m.pkg) //nolint:gosec // our own packages
		cmd.Dir, cmd.Stderr = b.module, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", m.pkg, err)
		}
		results := medians(string(out))
		fmt.Fprintf(&s, "\n### %s\n\n%s.\n\n```\n", m.pkg, m.target)
		for _, x := range results {
			s.WriteString(x.line)
		}
		s.WriteString("```\n")
		for _, d := range m.compare {
			s.WriteString("\n" + d.of(results))
		}
		for _, p := range m.perSecond {
			s.WriteString("\n" + p.of(results))
		}
		if m.note != "" {
			s.WriteString("\n" + m.note + "\n")
		}
	}
	r.sections = append(r.sections, s.String())
	return nil
}

// result is one line of a Go benchmark.
type result struct {
	name   string // without Benchmark and the number of cores
	line   string
	time   float64 // nanoseconds
	allocs float64
}

// medians is the line of each benchmark whose time is the median of its runs.
func medians(out string) []result {
	var names []string
	runs := map[string][]result{}
	for line := range strings.Lines(out) {
		if x, ok := readResult(line); ok {
			if runs[x.name] == nil {
				names = append(names, x.name)
			}
			runs[x.name] = append(runs[x.name], x)
		}
	}
	list := make([]result, len(names))
	for i, name := range names {
		slices.SortFunc(runs[name], func(a, b result) int { return cmp.Compare(a.time, b.time) })
		list[i] = runs[name][len(runs[name])/2]
	}
	return list
}

func readResult(line string) (x result, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(line, "Benchmark") {
		return x, false
	}
	x.line = line
	x.name = strings.TrimPrefix(fields[0], "Benchmark")
	x.name = x.name[:max(strings.LastIndexByte(x.name, '-'), 0)]
	for i := 3; i < len(fields); i += 2 {
		value, _ := strconv.ParseFloat(fields[i-1], 64)
		switch fields[i] {
		case "ns/op":
			x.time = value
		case "allocs/op":
			x.allocs = value
		}
	}
	return x, true
}

// find returns the result of a benchmark.
func find(results []result, name string) result {
	return results[slices.IndexFunc(results, func(x result) bool { return x.name == name })]
}

// of is a line of the document.
func (d difference) of(results []result) string {
	with, without := find(results, d.with), find(results, d.without)
	return fmt.Sprintf("%s: %.2f us (%.0f against %.0f ns), %.0f allocations (%.0f against %.0f).\n", d.title,
		(with.time-without.time)/1000, with.time, without.time, with.allocs-without.allocs, with.allocs, without.allocs)
}
