package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

const (
	// stormLatency is what the simulated provider takes for a token request,
	// stormPlaces how many of them may be under way.
	stormLatency = 50 * time.Millisecond
	stormPlaces  = 32
	// longLife is how long the tokens of simulated providers live.
	longLife = 2 * time.Hour
	// stormPrepare is how long a token takes to be stored and loaded, at most;
	// stormCalm how long callers are measured before anything is due.
	stormPrepare = 1500 * time.Microsecond
	stormCalm    = 15 * time.Second
)

// storm is P8: many tokens, stored by an earlier life of the process, end at
// about the same time, and the provider allows so many fetches a second. All
// is real: the engine, its SQLite file, the clock. The provider counts for
// itself, and refuses what is too much.
type storm struct {
	rate     int
	provider *fakeprovider.Provider
	url      string
	refs     []realm.Ref
	// lead is how long ahead of its end a token is renewed. All become due
	// within a tenth of that, far faster than the provider gives new ones; at the allowed rate, 10/13
	// of it have passed when the last is renewed.
	lead  time.Duration
	first time.Time // the first token's end
}

func newStorm(keys, rate int) *storm {
	s := &storm{rate: rate, refs: make([]realm.Ref, keys)}
	credentials := make(map[string]string, keys)
	for i := range s.refs {
		s.refs[i] = realm.Ref{Realm: "storm", Key: fmt.Sprintf("key-%06d", i)}
		credentials[s.refs[i].Key] = "0123456789abcdef0123456789abcdef"
	}
	s.provider = fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: credentials, Quotas: []fakeprovider.Quota{},
		Rule:  &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Life: longLife, Overlap: 5 * time.Minute},
		Total: []fakeprovider.Quota{{Calls: rate, Per: time.Second}},
	})
	s.provider.Set(fakeprovider.Faults{Latency: stormLatency})
	s.lead = time.Duration(keys) * time.Second / time.Duration(rate) * 13 / 10
	s.first = time.Now().Add(time.Duration(keys)*stormPrepare + stormCalm + s.lead)
	return s
}

// end is when the stored token of the i-th key ends.
func (s *storm) end(i int) time.Time {
	return s.first.Add(s.lead / 10 * time.Duration(i) / time.Duration(len(s.refs)))
}

func (s *storm) realm() realm.Realm {
	return realm.Realm{ID: "storm", Config: realm.Config{
		Recipe: realm.Recipe{
			URL: s.url + "/cgi-bin/token", TokenPath: "access_token", ExpiresInPath: "expires_in",
			Arguments: []realm.Argument{
				{Name: "grant_type", Place: realm.PlaceURL, Value: "client_credential"},
				{Name: "appid", Place: realm.PlaceURL, Value: "$key_1"},
				{Name: "secret", Place: realm.PlaceURL, Value: "$key_2"},
			},
		},
		AllowHTTP: realm.On, RenewBefore: realm.Lead{Fixed: realm.Duration(s.lead)},
		Limits: realm.Limits{Concurrency: stormPlaces, Windows: []realm.Window{{Calls: s.rate, Per: realm.Duration(time.Second)}}},
	}}
}

// storms measures P8.
func (b *bench) storms(ctx context.Context, r *report) error {
	s := newStorm(b.stormKeys, b.stormRate)
	server := httptest.NewServer(s.provider)
	defer server.Close()
	s.url = server.URL
	path := filepath.Join(b.dir, "storm.db")
	if err := fillDatabase(ctx, path, databaseKey, s.store); err != nil {
		return err
	}
	keys, err := tokenstore.NewKeyring(realm.Hidden(databaseKey))
	if err != nil {
		return err
	}
	pool := broker.New(sqlstore.SQLite(path, keys), zap.NewNop(), nil)
	view, err := s.view(pool) //nolint:contextcheck // realms of a configuration are compared in memory
	if err == nil {
		err = s.brew(ctx, view, r)
	}
	return errors.Join(err, pool.Destruct())
}

// store writes the realm, its secrets, and a token of each.
func (s *storm) store(ctx context.Context, store tokenstore.Store) error {
	write := func(realm.Realm, bool) (realm.Realm, error) { return s.realm(), nil }
	if _, err := store.UpdateRealm(ctx, s.realm().ID, write); err != nil {
		return err
	}
	program, err := grant.Compile(s.realm(), false)
	if err != nil {
		return err
	}
	for i, ref := range s.refs {
		secret := realm.Secret{Ref: ref, Fields: map[string]realm.Hidden{
			"key_1": realm.Hidden(ref.Key), "key_2": "0123456789abcdef0123456789abcdef",
		}}
		bound, err := program.Bind(secret)
		if err != nil {
			return err
		}
		token := realm.Token{
			Access: realm.Hidden(oldToken + ref.Key), Fingerprint: bound.Fingerprint(),
			IssuedAt: s.end(i).Add(-longLife), ExpiresAt: s.end(i),
		}
		if _, err := store.UpdateSecret(ctx, ref, func(realm.Secret, bool) (realm.Secret, tokenstore.TokenChange, error) {
			return secret, tokenstore.TokenChange{Set: &token}, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// oldToken begins the tokens that are about to end.
const oldToken = "old-"

func (s *storm) view(pool *broker.Pool) (*broker.View, error) {
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	if err != nil {
		return nil, err
	}
	jitter := 0.0
	return pool.View(broker.ViewConfig{Client: grant.NewClient(policy.Dialer(new(net.Dialer)), time.Now), Jitter: &jitter})
}

// brew loads the tokens, lets callers use all of them again and again, and
// waits until the last of the old ones has ended.
func (s *storm) brew(ctx context.Context, view *broker.View, r *report) error {
	view.Drive()
	if err := s.load(ctx, view); err != nil {
		return err
	}
	due := s.first.Add(-s.lead)
	if left := time.Until(due); left < stormCalm/3 {
		return fmt.Errorf("the preparation took too long: the first renewal is due in %v", left)
	}
	d := s.call(ctx, view)
	defer d.stop()
	if err := sleep(ctx, time.Until(due)); err != nil {
		return err
	}
	d.phase.Store(during)
	if err := s.await(ctx); err != nil {
		return err
	}
	took := time.Since(due)
	d.phase.Store(after)
	if err := sleep(ctx, time.Until(s.end(len(s.refs)))+time.Second); err != nil {
		return err
	}
	d.stop()
	s.report(d, took, r)
	return nil
}

// load takes every token from the database, as a first use does.
func (s *storm) load(ctx context.Context, view *broker.View) error {
	const loaders = 4
	errs := make([]error, loaders)
	var group sync.WaitGroup
	for n := range loaders {
		group.Go(func() {
			for i := n; i < len(s.refs) && errs[n] == nil; i += loaders {
				_, errs[n] = view.Token(ctx, s.refs[i])
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// await waits until every token was fetched, or the last of the old ones has
// ended.
func (s *storm) await(ctx context.Context) error {
	began := time.Now()
	said := began
	for time.Now().Before(s.end(len(s.refs))) {
		renewed := len(s.provider.Issued())
		if renewed >= len(s.refs) {
			return nil
		}
		if time.Since(said) > time.Minute {
			said = time.Now()
			log.Printf("%d of %d tokens renewed after %v", renewed, len(s.refs), time.Since(began).Round(time.Second))
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *storm) report(d *demand, took time.Duration, r *report) {
	var out strings.Builder
	fmt.Fprintf(&out, "### P8 %d tokens that end within %v, %d fetches a second allowed\n\n", len(s.refs), (s.lead / 10).Round(time.Second), s.rate)
	out.WriteString("Target: no expired token is used, the allowed rate is never exceeded, and callers of live tokens are not slowed down.\n\n")
	fmt.Fprintf(&out, "The engine on SQLite, in real time; renewals fall due from %v before the end; the token endpoint takes %v and counts for itself; %d calls of `broker.Token` a second over all keys.\n\n",
		s.lead.Round(time.Second), stormLatency, callers*callsPerTick*int(time.Second/callTick))
	refused := s.provider.Refusals()
	renewed := len(s.provider.Issued())
	fmt.Fprintf(&out, "| renewed | in | fetches | most in any second | refused | used expired | errors | callers that waited for a fetch |\n|---|---|---|---|---|---|---|---|\n| %d | %v | %d | %d | %d | %d | %d | %d |\n\n",
		renewed, took.Round(time.Second), s.provider.Fetches(), s.provider.PeakRate(time.Second), refused, d.total().expired, d.total().failed, d.total().waited)
	out.WriteString("| `broker.Token` | calls | p50 | p99 | p99.9 | longest |\n|---|---|---|---|---|---|\n")
	for phase, name := range []string{"before", "during", "after"} {
		h := &d.of(phase).took
		fmt.Fprintf(&out, "| %s | %d | %v | %v | %v | %v |\n", name, h.n, h.quantile(.5), h.quantile(.99), h.quantile(.999), h.longest)
	}
	b, u := &d.of(before).took, &d.of(during).took
	ratio := func(q float64) float64 { return float64(u.quantile(q)) / float64(b.quantile(q)) }
	fmt.Fprintf(&out, "\nDuring to before: p50 %.2f, p99 %.2f, p99.9 %.2f.\n", ratio(.5), ratio(.99), ratio(.999))
	r.sections = append(r.sections, out.String())
}
