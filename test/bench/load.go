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

// compare runs the variants of a comparison against each other.
func (b *bench) compare(ctx context.Context, c comparison, r *report) error {
	servers := make([]*process, len(c.variants))
	for i, v := range c.variants {
		p, _, err := b.start(ctx, v.config, v.path, v.header)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		defer p.stop()
		servers[i] = p
	}
	samples := make([][]sample, len(c.variants))
	for round := -1; round < b.rounds; round++ { // the first one warms up
		for _, i := range rand.Perm(len(c.variants)) {
			s, err := b.load(ctx, servers[i], c.variants[i], c.conns)
			if err != nil {
				return fmt.Errorf("%s: %w", c.variants[i].name, err)
			}
			if round >= 0 {
				samples[i] = append(samples[i], s)
			}
		}
	}
	r.add(c, samples)
	return nil
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in ([\d.]+)(m?s)`)
	non2xxLine   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	socketLine   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// load runs wrk against one server.
func (b *bench) load(ctx context.Context, p *process, v variant, conns int) (sample, error) {
	args := []string{"-t2", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", b.seconds), "--timeout", "10s"}
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
