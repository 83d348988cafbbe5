package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// refreshAll names the runs of the cron expression in the store, so that
	// one node of all does each.
	refreshAll = "refresh-all"
	// missed is how late a run may begin: a node that slept through it does
	// not make up for it.
	missed = time.Minute
	// warmEvery is how often it is looked whether every token of the realms
	// that are kept warm is in memory, warmAgain how soon where the store
	// failed.
	warmEvery = 10 * time.Minute
	warmAgain = time.Minute
)

var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseCron reads a cron expression of five fields, or of six with seconds in
// front; CRON_TZ=<zone> may stand before it, else it is meant in the zone of
// this machine. "?" is "*".
func ParseCron(text string) (cron.Schedule, error) {
	if err := checkZone(text); err != nil {
		return nil, err
	}
	s, err := cronParser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%.80q is not a cron expression: write five fields, as \"0 3 * * *\", or six with seconds in front", text)
	}
	if strings.TrimSpace(text) == "" || s.Next(time.Unix(0, 0)).IsZero() {
		return nil, errors.New("the cron expression never comes true")
	}
	return s, nil
}

// checkZone checks the zone in front of a cron expression. The parser panics
// where nothing follows it.
func checkZone(text string) error {
	first, _, more := strings.Cut(text, " ")
	name, zone, ok := strings.Cut(first, "=")
	if !ok || name != "CRON_TZ" && name != "TZ" {
		return nil
	}
	if _, err := time.LoadLocation(zone); err != nil {
		return fmt.Errorf("%.80q is not a time zone", zone)
	}
	if !more {
		return errors.New("there is a time zone and no cron expression behind it")
	}
	return nil
}

// runCron has all tokens renewed when the expression says so, by one node.
func (s *schedule) runCron(v *View, now time.Time) {
	if v.cron == nil {
		return
	}
	next := v.cron.Next(now)
	if s.cronOf != v || next.Before(s.cronAt) { // new, or the clock went back
		s.cronAt, s.cronOf = next, v
	}
	if now.Before(s.cronAt) {
		return
	}
	at := s.cronAt
	s.cronAt = next
	if now.Sub(at) > missed {
		return
	}
	s.pool.start(func(ctx context.Context) {
		ours, err := s.pool.store.Once(ctx, refreshAll, at)
		switch {
		case err != nil:
			s.pool.log.Error("refresh-all cannot begin", zap.Error(err))
		case ours:
			n, err := v.each(ctx, nil, func(ref realm.Ref) { v.enqueue(ref, goal{purpose: claim.Renew, fromProvider: true}) })
			s.pool.log.Info("refresh-all begins", zap.Int("tokens", n), zap.Error(err))
		}
	})
}

// warm loads the tokens of the realms that are kept warm: at once where the
// configuration is new.
func (s *schedule) warm(v *View, now realm.Instant) {
	if since := now.Sub(s.warmed); s.warmedOf == v && since >= 0 && since < warmEvery {
		return
	}
	s.warmed, s.warmedOf = now, v
	s.pool.start(func(ctx context.Context) {
		_, err := v.each(ctx, (*catalog.Realm).KeptWarm, func(ref realm.Ref) {
			if e, ok := s.pool.entries.Load(ref); !ok || e.live.Load() == nil {
				v.enqueue(ref, goal{purpose: claim.Load})
			}
		})
		if err != nil && ctx.Err() == nil {
			s.pool.log.Warn("the tokens that are kept warm cannot be listed", zap.Error(err))
			s.turning.Lock()
			defer s.turning.Unlock()
			s.warmed -= realm.Instant((warmEvery - warmAgain).Microseconds())
		}
	})
}

// enqueue has a flight started for a reference when its turn comes.
func (v *View) enqueue(ref realm.Ref, g goal) {
	now := realm.InstantOf(v.pool.now())
	v.pool.schedule.queue(v, renewal{at: now, ref: ref, e: v.pool.entry(ref), goal: g})
}

// each calls do for every secret whose realm gets tokens, and is one of those
// that are wanted (nil: all); it counts them.
func (v *View) each(ctx context.Context, wanted func(*catalog.Realm) bool, do func(realm.Ref)) (n int, err error) {
	return v.catalog.EachSecret(ctx, func(c *catalog.Realm) bool {
		return c.GetsTokens() && (wanted == nil || wanted(c))
	}, do)
}

// Drive lets this configuration renew tokens ahead of their end. Of several
// that are started, the newest one does.
func (v *View) Drive() {
	v.pool.schedule.driver.Add(v)
	v.pool.schedule.wake()
}

// Rest ends what Drive began; the configuration before goes on.
func (v *View) Rest() {
	v.pool.schedule.driver.Remove(v)
	v.pool.schedule.wake()
}
