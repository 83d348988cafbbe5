package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

const (
	// renewalLife of the tokens that are renewed under load, after a half of it.
	renewalLife = 4 * time.Second
	// renewalLatency of the token endpoint: a request that waits for a renewal
	// takes no less.
	renewalLatency = 300 * time.Millisecond
	// renewalSeconds of load in a round, at least: several renewals.
	renewalSeconds = 8
	renewalConns   = 16
)

// latencies is what one run of wrk saw.
type latencies struct {
	perSecond           float64
	p50, p99, p999, max float64 // milliseconds
	slow                int     // requests that took as long as the token endpoint
	errors              int
	renewals            int
}

// renewalKeys are the secrets whose tokens are compared; the first is the base.
var renewalKeys = []string{"long", "short"}

// renewals measures P9: the same load with a token that is renewed all the
// time and with one that lives long, against one provider, whose ledger says
// whether a dead token was ever used.
func (b *bench) renewals(ctx context.Context, r *report) error {
	provider := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Quotas: []fakeprovider.Quota{},
		Credentials: map[string]string{"app-long": "secret-of-long", "app-short": "secret-of-short"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Life: longLife, Overlap: renewalLife / 2},
	})
	provider.SetLife("app-short", renewalLife)
	provider.Set(fakeprovider.Faults{Latency: renewalLatency})
	server := httptest.NewServer(provider)
	defer server.Close()
	script := filepath.Join(b.dir, "latencies.lua")
	if err := os.WriteFile(script, []byte(fmt.Sprintf(latencyScript, renewalLatency.Microseconds())), 0o600); err != nil {
		return err
	}
	samples := make([][]latencies, len(renewalKeys))
	for range b.rounds {
		for _, i := range rand.Perm(len(renewalKeys)) {
			s, err := b.underRenewal(ctx, provider, server.URL, script, renewalKeys[i])
			if err != nil {
				return fmt.Errorf("%s: %w", renewalKeys[i], err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	r.addRenewals(samples, len(provider.DeadCalls()))
	return nil
}

// latencyScript has wrk tell what its own table does not. It counts the
// requests that would have been sent while one was slow, too.
const latencyScript = `done = function(summary, latency, requests)
	local slow = 0
	for i = 1, #latency do
		local took, count = latency(i)
		if took >= %d then slow = slow + count end
	end
	io.write(string.format("p50 %%d p99 %%d p999 %%d max %%d slow %%d\n",
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max, slow))
end
`

var latencyLine = regexp.MustCompile(`p50 (\d+) p99 (\d+) p999 (\d+) max (\d+) slow (\d+)`)

// underRenewal loads a fresh process that uses one key.
func (b *bench) underRenewal(ctx context.Context, provider *fakeprovider.Provider, base, script, key string) (latencies, error) {
	v := variant{path: "/cgi-bin/menu/get"}
	v.config = caddyfile(fmt.Sprintf(renewalRealm, base, base, renewalLife/2),
		fmt.Sprintf("token_proxy {\n\t\trealm bench\n\t\tkey %s\n\t}", key))
	p, _, err := b.start(ctx, v.config, v.path, "")
	if err != nil {
		return latencies{}, err
	}
	defer p.stop()
	if _, err := b.load(ctx, p, v, renewalConns, warmUp); err != nil {
		return latencies{}, err
	}
	app := "app-" + key
	fetched := provider.Fetches(app)
	out, err := b.wrk(ctx, p, v, renewalConns, max(b.seconds, renewalSeconds), "-s", script)
	if err != nil {
		return latencies{}, err
	}
	return readLatencies(out, provider.Fetches(app)-fetched)
}

const renewalRealm = `tokens {
		storage sqlite renewals.db
		refresh {
			before 50%%
			jitter 0%%
		}
		realm bench {
			api %s
			allow_http
			fetch GET %s/cgi-bin/token {
				query grant_type client_credential
				query appid {secret.appid}
				query secret {secret.appsecret}
			}
			token_path access_token
			expires_in_path expires_in
			semantics rotate
			overlap %v
			inject query access_token
			secret long {
				appid app-long
				appsecret secret-of-long
			}
			secret short {
				appid app-short
				appsecret secret-of-short
			}
		}
	}`

func readLatencies(out []byte, renewals int) (latencies, error) {
	w, err := readWork(out)
	if err != nil {
		return latencies{}, err
	}
	m := latencyLine.FindSubmatch(out)
	if m == nil {
		return latencies{}, fmt.Errorf("wrk said: %s", out)
	}
	number := func(i int) float64 {
		n, _ := strconv.ParseFloat(string(m[i]), 64)
		return n
	}
	return latencies{
		perSecond: w.perSecond(), errors: w.errors, renewals: renewals,
		p50: number(1) / 1000, p99: number(2) / 1000, p999: number(3) / 1000, max: number(4) / 1000, slow: int(number(5)),
	}, nil
}

// addRenewals makes the table of P9.
func (r *report) addRenewals(samples [][]latencies, dead int) {
	var s strings.Builder
	fmt.Fprintf(&s, "### P9 renewals under load, http upstream, c=%d\n\n", renewalConns)
	s.WriteString("Target: the p99 of requests with a live token does not change; nobody waits for a renewal ahead of time.\n\n")
	fmt.Fprintf(&s, "Tokens of %v against tokens of %v; the token endpoint takes %v. Milliseconds, medians of the rounds.\n\n", renewalLife, longLife, renewalLatency)
	s.WriteString("| token | req/s | p50 | p99 | range | p99.9 | longest of all | took as long as the token endpoint | renewals | errors |\n|---|---|---|---|---|---|---|---|---|---|\n")
	values := func(i int, f func(latencies) float64) []float64 {
		out := make([]float64, len(samples[i]))
		for j, x := range samples[i] {
			out[j] = f(x)
		}
		return out
	}
	p99 := func(x latencies) float64 { return x.p99 }
	p50 := func(x latencies) float64 { return x.p50 }
	for i, key := range renewalKeys {
		var sum latencies
		for _, x := range samples[i] {
			sum.slow, sum.errors, sum.renewals, sum.max = sum.slow+x.slow, sum.errors+x.errors, sum.renewals+x.renewals, max(sum.max, x.max)
		}
		fmt.Fprintf(&s, "| %s | %.0f | %.2f | %.2f | %.2f to %.2f | %.2f | %.0f | %d | %d | %d |\n", key,
			median(values(i, func(x latencies) float64 { return x.perSecond })), median(values(i, p50)), median(values(i, p99)),
			slices.Min(values(i, p99)), slices.Max(values(i, p99)), median(values(i, func(x latencies) float64 { return x.p999 })),
			sum.max, sum.slow, sum.renewals, sum.errors)
	}
	fmt.Fprintf(&s, "\nShort to long, medians of the ratios round by round: p50 %.2f, p99 %.2f. Calls with a dead token, by the provider's ledger: %d.\n",
		median(ratios(values(1, p50), values(0, p50))), median(ratios(values(1, p99), values(0, p99))), dead)
	r.sections = append(r.sections, s.String())
}
