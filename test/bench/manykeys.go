package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// manyRate is how many requests a second P14 sends, manyConns on how many
	// connections, manySeconds how long.
	manyRate    = 2000
	manyConns   = 64
	manySeconds = 10
	// manyTokenSize is that of its tokens in bytes.
	manyTokenSize = 512
)

// manyKeys measures P14: a process that has many tokens in memory, and uses all of
// them, beside plain Caddy that gets the same requests.
func (b *bench) manyKeys(up *upstreamProcess) func(context.Context, *report) error {
	return func(ctx context.Context, r *report) error {
		path := filepath.Join(b.dir, "keys.db")
		if err := fillDatabase(ctx, path, databaseKey, func(ctx context.Context, store tokenstore.Store) error {
			return manyTokens(ctx, store, "http://"+up.http, b.secrets)
		}); err != nil {
			return err
		}
		configs := []string{
			caddyfile("", fmt.Sprintf("reverse_proxy %s {\n\t\t"+tuned+"\n\t}", up.http, "")),
			caddyfile(fmt.Sprintf("tokens {\n\t\tstorage sqlite %s\n\t\tencryption_key %s\n\t\tallow_private 127.0.0.1\n\t}", path, databaseKey), "token_gateway"),
		}
		samples := make([][]manySample, len(configs))
		for range b.rounds {
			for _, i := range rand.Perm(len(configs)) {
				s, err := b.useManyKeys(ctx, configs[i])
				if err != nil {
					return fmt.Errorf("%s: %w", manyVariants[i], err)
				}
				samples[i] = append(samples[i], s)
			}
		}
		r.addManyKeys(samples, b.secrets)
		return nil
	}
}

var manyVariants = []string{"reverse_proxy, tuned", "token_gateway"}

// manySample is what one process did under the load.
type manySample struct {
	first, used    int // bytes of memory before the keys were used, and at the end
	p50, p99, p999 time.Duration
}

// manyTokens fills a store with a realm, its secrets, and a token of each.
func manyTokens(ctx context.Context, store tokenstore.Store, api string, n int) error {
	many := realm.Realm{ID: "many", Config: realm.Config{
		API: api, AllowHTTP: realm.On, Inject: []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
		Recipe: realm.Recipe{
			URL: api + "/token", TokenPath: "access_token", ExpiresInPath: "expires_in",
			Arguments: []realm.Argument{{Name: "appid", Place: realm.PlaceURL, Value: "$key_1"}},
		},
	}}
	if _, err := store.UpdateRealm(ctx, many.ID, func(realm.Realm, bool) (realm.Realm, error) { return many, nil }); err != nil {
		return err
	}
	program, err := grant.Compile(many, false)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range n {
		secret := realm.Secret{Ref: realm.Ref{Realm: many.ID, Key: manyKey(i)}, Fields: map[string]realm.Hidden{"key_1": realm.Hidden(manyKey(i))}}
		for _, host := range program.Hosts(secret) {
			secret.Hosts = append(secret.Hosts, host.Name)
		}
		bound, err := program.Bind(secret)
		if err != nil {
			return err
		}
		token := realm.Token{
			Access:      realm.Hidden(fmt.Sprintf("%0*d", manyTokenSize, i)),
			Fingerprint: bound.Fingerprint(), IssuedAt: now, ExpiresAt: now.Add(10 * longLife),
		}
		if _, err := store.UpdateSecret(ctx, secret.Ref, func(realm.Secret, bool) (realm.Secret, tokenstore.TokenChange, error) {
			return secret, tokenstore.TokenChange{Set: &token}, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func manyKey(i int) string { return fmt.Sprintf("key-%06d", i) }

func manyPath(i int) string { return "/many/" + manyKey(i) + "/v1/things?a=1&b=2" }

// useManyKeys starts a process, uses each key once, and then all of them at a
// steady rate.
func (b *bench) useManyKeys(ctx context.Context, config string) (s manySample, err error) {
	p, _, err := b.start(ctx, config, manyPath(0), "")
	if err != nil {
		return s, err
	}
	defer p.stop()
	if s.first, err = p.memory(); err != nil {
		return s, err
	}
	order := rand.Perm(b.secrets)
	if _, err = p.use(ctx, 0, len(order), func(i int) int { return order[i] }); err != nil {
		return s, err
	}
	took, err := p.use(ctx, manyRate, manyRate*manySeconds, func(int) int { return rand.IntN(b.secrets) })
	if err != nil {
		return s, err
	}
	s.used, err = p.memory()
	s.p50, s.p99, s.p999 = took.quantile(.5), took.quantile(.99), took.quantile(.999)
	return s, err
}

// memory is what the process has in memory, in bytes (proc(5), VmRSS).
func (p *process) memory() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
			return kilobytes << 10, err
		}
	}
	return 0, errors.New("the status of the process has no VmRSS")
}

// use sends n requests, rate of them a second whatever the answers take; 0 is as
// fast as they are answered. It returns how long the answers took.
func (p *process) use(ctx context.Context, rate, n int, key func(int) int) (*histogram, error) {
	errs := make([]error, manyConns)
	took := make([]histogram, manyConns)
	var group sync.WaitGroup
	began := time.Now()
	for c := range manyConns {
		group.Go(func() {
			errs[c] = p.useOn(ctx, c, n, key, &took[c], func(i int) time.Time {
				if rate == 0 {
					return time.Time{}
				}
				return began.Add(time.Duration(i) * time.Second / time.Duration(rate))
			})
		})
	}
	group.Wait()
	for c := range took[1:] {
		took[0].merge(&took[c+1])
	}
	return &took[0], errors.Join(errs...)
}

// useOn sends every request of one connection. The time of a request that waited
// for the answer before it counts from when it should have been sent.
func (p *process) useOn(ctx context.Context, first, n int, key func(int) int, took *histogram, due func(int) time.Time) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for i := first; i < n; i += manyConns {
		sent := due(i)
		if wait := time.Until(sent); wait > 0 {
			if err := sleep(ctx, wait); err != nil {
				return err
			}
			sent = time.Now() // a timer that is late is not the server's fault
		} else if sent.IsZero() {
			sent = time.Now()
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", manyPath(key(i)), p.port); err != nil {
			return err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		body, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || body != answerSize {
			return errors.Join(err, fmt.Errorf("%s with %d bytes", resp.Status, body))
		}
		took.add(time.Since(sent))
	}
	return nil
}

func (r *report) addManyKeys(samples [][]manySample, keys int) {
	var s strings.Builder
	fmt.Fprintf(&s, "### P14 %d tokens in use, %d requests a second\n\nTarget: p99 at most 1.5x of plain Caddy's, and at most 1.4 KB of resident memory for each token.\n\n", keys, manyRate)
	fmt.Fprintf(&s, "Tokens of %d bytes, loaded from SQLite by a request each; then %d s of requests for random keys on %d connections.\n\n", manyTokenSize, manySeconds, manyConns)
	s.WriteString("| variant | p99 to the first | p99 ms | range | p50 ms | p99.9 ms | bytes a key | range |\n|---|---|---|---|---|---|---|---|\n")
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	first := column(samples[0], func(x manySample) float64 { return ms(x.p99) })
	for i, name := range manyVariants {
		p99 := column(samples[i], func(x manySample) float64 { return ms(x.p99) })
		memory := column(samples[i], func(x manySample) float64 { return float64(x.used-x.first) / float64(keys) })
		fmt.Fprintf(&s, "| %s | %.2f | %.2f | %.2f to %.2f | %.2f | %.2f | %.0f | %.0f to %.0f |\n", name, median(ratios(p99, first)),
			median(p99), slices.Min(p99), slices.Max(p99), median(column(samples[i], func(x manySample) float64 { return ms(x.p50) })),
			median(column(samples[i], func(x manySample) float64 { return ms(x.p999) })), median(memory), slices.Min(memory), slices.Max(memory))
	}
	r.sections = append(r.sections, s.String())
}
