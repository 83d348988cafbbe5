package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report collects rows for the document.
type report struct {
	date     time.Time
	sections []string
}

// add makes a table of a comparison; ratios are taken round by round.
func (r *report) add(c comparison, samples [][]sample) {
	var s strings.Builder
	fmt.Fprintf(&s, "### %s\n\nTarget: %s.\n\n", c.title, c.target)
	s.WriteString("| variant | req/s to the first | CPU to the first | req/s | range | CPU s per 100k | range | errors |\n|---|---|---|---|---|---|---|---|\n")
	for i, v := range c.variants {
		speed := column(samples[i], func(x sample) float64 { return x.perSecond })
		cpu := column(samples[i], func(x sample) float64 { return x.cpu })
		errors := 0
		for _, x := range samples[i] {
			errors += x.errors
		}
		fmt.Fprintf(&s, "| %s | %.2f | %.2f | %.0f | %.0f to %.0f | %.2f | %.2f to %.2f | %d |\n", v.name,
			median(ratios(speed, column(samples[0], func(x sample) float64 { return x.perSecond }))),
			median(ratios(cpu, column(samples[0], func(x sample) float64 { return x.cpu }))),
			median(speed), slices.Min(speed), slices.Max(speed), median(cpu), slices.Min(cpu), slices.Max(cpu), errors)
	}
	r.sections = append(r.sections, s.String())
}

func column[S any](samples []S, f func(S) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = f(s)
	}
	return out
}

func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// markdown is the document up to its end-to-end part.
func (r *report) markdown(b *bench) string {
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output() //nolint:noctx // immediate
	if err != nil {
		commit = []byte("unknown")
	}
	var s strings.Builder
	s.WriteString("# Benchmarks\n\n`make bench` measures all of this again. Absolute figures depend on the machine. Compare the ratios within one run; differences below 10 % are noise.\n\n")
	fmt.Fprintf(&s, "## End to end\n\n%s, commit %s, %s, %d cores (%s); %d rounds of %d s, each with all variants in shuffled order and in fresh processes. The tables show medians, ranges, and medians of the ratios round by round. Load generator, proxy and upstream share the cores. The machine was idle before each part, unless it says otherwise.\n\n",
		r.date.Format("2006-01-02"), strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU(), processor(), b.rounds, b.seconds)
	s.WriteString(strings.Join(r.sections, "\n"))
	return s.String()
}

// processor is the model name that Linux tells.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// noteBusy says of the sections from one on that the machine was not idle before.
func (r *report) noteBusy(from int, busy float64) {
	if busy < idleBelow {
		return
	}
	for i, section := range r.sections[from:] {
		title, rest, _ := strings.Cut(section, "\n")
		r.sections[from+i] = fmt.Sprintf("%s\n\n**The machine was not idle**: other work kept %.1f of %d processors busy before this part.\n%s",
			title, busy, runtime.NumCPU(), rest)
	}
}
