package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// sample is one variant in one round.
type sample struct {
	perSecond float64
	cpu       float64 // seconds per 100,000 requests
	errors    int
}

// compare runs the variants of a comparison against each other. Each round has
// processes of its own: two runs of one binary differ, by the luck of memory
// and collector, as much as what is compared here.
func (b *bench) compare(ctx context.Context, c comparison, r *report) error {
	samples := make([][]sample, len(c.variants))
	for range b.rounds {
		for _, i := range rand.Perm(len(c.variants)) {
			s, err := b.measure(ctx, c.variants[i], c.conns)
			if err != nil {
				return fmt.Errorf("%s: %w", c.variants[i].name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	r.add(c, samples)
	return nil
}

// warmUp is how many seconds of load are not counted.
const warmUp = 1

// measure starts a variant, warms it up and loads it.
func (b *bench) measure(ctx context.Context, v variant, conns int) (sample, error) {
	p, _, err := b.start(ctx, v.config, v.path, v.header)
	if err != nil {
		return sample{}, err
	}
	defer p.stop()
	if _, err := b.load(ctx, p, v, conns, warmUp); err != nil {
		return sample{}, err
	}
	return b.load(ctx, p, v, conns, b.seconds)
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in ([\d.]+)(m?s)`)
	non2xxLine   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	socketLine   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// load runs wrk against one server.
func (b *bench) load(ctx context.Context, p *process, v variant, conns, seconds int) (sample, error) {
	args := []string{"-t2", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", seconds), "--timeout", "10s"}
	if v.header != "" {
		args = append(args, "-H", v.header)
	}
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	out, err := exec.CommandContext(ctx, "wrk", append(args, p.url(v.path))...).CombinedOutput() //nolint:gosec // fixed program
	if err != nil {
		return sample{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	m := requestsLine.FindSubmatch(out)
	if m == nil {
		return sample{}, fmt.Errorf("wrk said: %s", out)
	}
	requests, _ := strconv.ParseFloat(string(m[1]), 64)
	lasted, err := time.ParseDuration(string(m[2]) + string(m[3]))
	if err != nil {
		return sample{}, err
	}
	s := sample{perSecond: requests / lasted.Seconds(), cpu: (after - before).Seconds() / requests * 1e5}
	for _, line := range []*regexp.Regexp{non2xxLine, socketLine} {
		if m := line.FindSubmatch(out); m != nil {
			for _, n := range m[1:] {
				count, _ := strconv.Atoi(string(n))
				s.errors += count
			}
		}
	}
	return s, nil
}
