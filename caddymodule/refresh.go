package caddymodule

import (
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
	// How long ahead of its end a token is renewed: a share of its life, as
	// "10%", capped at ten minutes, or a duration. Default: 10%.
	Before string `json:"before,omitempty"`

	// How long a token request may take, in total, where the realm does not
	// say it. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// maxTimeout is the longest a token request may be allowed to take.
const maxTimeout = 5 * time.Minute

// apply tells the view of it.
func (r *Refresh) apply(cfg *broker.ViewConfig) (err error) {
	if r == nil {
		return nil
	}
	if cfg.Timeout, err = checkTimeout(time.Duration(r.Timeout)); err != nil {
		return fmt.Errorf("refresh: timeout: %w", err)
	}
	if r.Before == "" {
		return nil
	}
	if cfg.Before, cfg.BeforeFixed, err = parseBefore(r.Before); err != nil {
		return fmt.Errorf("refresh: before: %w", err)
	}
	return nil
}

func checkTimeout(d time.Duration) (time.Duration, error) {
	if d < 0 || d > maxTimeout {
		return 0, fmt.Errorf("must be between 0 and %s", maxTimeout)
	}
	return d, nil
}

// parseBefore reads a share of a token's life ("10%") or a duration ("5m").
func parseBefore(s string) (share float64, fixed time.Duration, err error) {
	if number, ok := strings.CutSuffix(s, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent > 0 && percent <= 50) {
			return 0, 0, fmt.Errorf("%q is not a share above 0%% and up to 50%%", s)
		}
		return percent / 100, 0, nil
	}
	d, err := realm.ParseDuration(s)
	if err == nil && d == 0 {
		err = fmt.Errorf("%q is no time at all", s)
	}
	return 0, d.Std(), err
}
