package caddymodule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Refresh says when and how tokens are renewed.
type Refresh struct {
	// How long before its end a token is renewed: a share of its life, such as
	// "10%", capped at ten minutes, or a duration. A realm may have its own
	// value (renew_before). Default: 10%.
	Before string `json:"before,omitempty"`

	// The share of a token's life over which renewals are spread, before that
	// time, so that tokens that end together are not renewed together. It is
	// capped at ten minutes. 0% to 50%. Default: 10%.
	Jitter string `json:"jitter,omitempty"`

	// The number of token requests of one realm that may be under way at once,
	// over all nodes, where the realm sets no limit of its own. Default: 4.
	Concurrency int `json:"concurrency,omitempty"`

	// How long a token request may take in total, where the realm sets no
	// limit of its own. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Additional times at which one of the nodes renews all tokens: a cron
	// expression of five fields, or of six with seconds in front, optionally
	// with CRON_TZ=<zone> before it. Default: none.
	Cron string `json:"cron,omitempty"`

	// No loop renews tokens, for instances that stand still between two requests.
	// A token that is due is renewed beside a request for it, which waits for
	// nothing, or when a timer calls POST /api/renew-due. Default: false.
	OnDemand bool `json:"on_demand,omitempty"`
}

const (
	// maxTimeout is the longest a token request may be allowed to take.
	maxTimeout = 5 * time.Minute
	// maxConcurrency is the largest number of token requests under way.
	maxConcurrency = 1000
)

var errCronOnDemand = errors.New("refresh: cron needs the loop that on_demand does without; let a timer call POST /api/renew-due instead")

// apply checks the settings and hands them to the broker. A nil r leaves its
// defaults.
func (r *Refresh) apply(cfg *broker.ViewConfig) (err error) {
	if r == nil {
		return nil
	}
	if cfg.Timeout, err = checkTimeout(time.Duration(r.Timeout)); err != nil {
		return fmt.Errorf("refresh: timeout: %w", err)
	}
	if cfg.Concurrency, err = checkConcurrency(r.Concurrency); err != nil {
		return fmt.Errorf("refresh: concurrency: %w", err)
	}
	if r.Before != "" {
		if cfg.Before, err = realm.ParseLead(r.Before); err != nil {
			return fmt.Errorf("refresh: before: %w", err)
		}
	}
	if r.Jitter != "" {
		jitter, err := parseJitter(r.Jitter)
		if err != nil {
			return fmt.Errorf("refresh: jitter: %w", err)
		}
		cfg.Jitter = &jitter
	}
	if r.Cron != "" {
		if _, err := broker.ParseCron(r.Cron); err != nil {
			return fmt.Errorf("refresh: cron: %w", err)
		}
		if r.OnDemand {
			return errCronOnDemand
		}
		cfg.Cron = r.Cron
	}
	cfg.OnDemand = r.OnDemand
	return nil
}

func checkTimeout(d time.Duration) (time.Duration, error) {
	if d < 0 || d > maxTimeout {
		return 0, fmt.Errorf("must be between 0 and %s", maxTimeout)
	}
	return d, nil
}

func checkConcurrency(n int) (int, error) {
	if n < 0 || n > maxConcurrency {
		return 0, fmt.Errorf("must be 1 to %d", maxConcurrency)
	}
	return n, nil
}

// parseJitter reads a share of a token's life, from "0%" to "50%".
func parseJitter(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 50) {
		return 0, fmt.Errorf("%.40q is not a share from 0%% to 50%%", s)
	}
	return percent / 100, nil
}
