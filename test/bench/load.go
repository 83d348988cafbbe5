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
	p, err := b.startVariant(ctx, v)
	if err != nil {
		return sample{}, err
	}
	defer p.stop()
	if _, err := b.load(ctx, p, v, conns, warmUp); err != nil {
		return sample{}, err
	}
	return b.load(ctx, p, v, conns, b.seconds)
}

func (b *bench) startVariant(ctx context.Context, v variant) (*process, error) {
	if v.isNginx {
		return b.startNginx(ctx, v)
	}
	p, _, err := b.start(ctx, v.config, v.path, v.header)
	return p, err
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in ([\d.]+)(m?s)`)
	non2xxLine   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	socketLine   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// load runs wrk against one server, whose processor time is counted.
func (b *bench) load(ctx context.Context, p *process, v variant, conns, seconds int) (sample, error) {
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	out, err := b.wrk(ctx, p, v, conns, seconds)
	if err != nil {
		return sample{}, err
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	w, err := readWork(out)
	if err != nil {
		return sample{}, err
	}
	return sample{perSecond: w.perSecond(), cpu: (after - before).Seconds() / w.requests * 1e5, errors: w.errors}, nil
}

// wrk runs it against one server.
func (b *bench) wrk(ctx context.Context, p *process, v variant, conns, seconds int, more ...string) ([]byte, error) {
	args := []string{"-t2", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", seconds), "--timeout", "10s"}
	if v.header != "" {
		args = append(args, "-H", v.header)
	}
	args = append(append(args, more...), p.url(v.path))
	out, err := exec.CommandContext(ctx, "wrk", args...).CombinedOutput() //nolint:gosec // fixed program
	if err != nil {
		return nil, fmt.Errorf("wrk: %w: %s", err, out)
	}
	return out, nil
}

// work is what wrk says that it did.
type work struct {
	requests float64
	lasted   time.Duration
	errors   int
}

func (w work) perSecond() float64 { return w.requests / w.lasted.Seconds() }

func readWork(out []byte) (w work, err error) {
	m := requestsLine.FindSubmatch(out)
	if m == nil {
		return w, fmt.Errorf("wrk said: %s", out)
	}
	w.requests, _ = strconv.ParseFloat(string(m[1]), 64)
	if w.lasted, err = time.ParseDuration(string(m[2]) + string(m[3])); err != nil {
		return w, err
	}
	for _, line := range []*regexp.Regexp{non2xxLine, socketLine} {
		if m := line.FindSubmatch(out); m != nil {
			for _, n := range m[1:] {
				count, _ := strconv.Atoi(string(n))
				w.errors += count
			}
		}
	}
	return w, nil
}
