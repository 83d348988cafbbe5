package realm

import "time"

// Bounds of what a realm may say.
const (
	maxTimeout     = 5 * time.Minute
	maxConcurrency = 1000
	minBackoffCap  = time.Second
	maxBackoffCap  = time.Hour
	maxReplay      = Size(64 << 20)
	maxWindows     = 16
)

// validateTimes checks the fields of the config that are a time or a size.
func (c *Config) validateTimes() error {
	life := c.Lifetime
	switch {
	case life.Unlimited && life.Duration != 0:
		return Fieldf("config.lifetime", `must be a duration or "unlimited", not both`)
	case life.Duration < 0:
		return Fieldf("config.lifetime", "must be more than 0")
	case life.Duration.Std() > MaxLifetime:
		return Fieldf("config.lifetime", `must be at most 400 days, or "unlimited"`)
	case c.ReplayMax < 0 || c.ReplayMax > maxReplay:
		return Fieldf("config.replay_max", "must be at most %v", maxReplay)
	}
	if err := between("config.refresh_grace", c.RefreshGrace, 0, MaxLifetime); err != nil {
		return err
	}
	if err := between("config.renew_before", c.RenewBefore.Fixed, 0, MaxLifetime); err != nil {
		return err
	}
	return between("config.overlap", c.Overlap, 0, MaxLifetime)
}

func (l *Limits) validate() error {
	if err := between("config.limits.timeout", l.Timeout, 0, maxTimeout); err != nil {
		return err
	}
	if l.Concurrency < 0 || l.Concurrency > maxConcurrency {
		return Fieldf("config.limits.concurrency", "must be 0 to %d", maxConcurrency)
	}
	if err := between("config.limits.min_interval", l.MinInterval, 0, MaxLifetime); err != nil {
		return err
	}
	if l.BackoffCap != 0 {
		if err := between("config.limits.backoff_cap", l.BackoffCap, minBackoffCap, maxBackoffCap); err != nil {
			return err
		}
	}
	return l.validateWindows()
}

// validateWindows checks the quotas. Each costs a counter for every credential,
// so their number is bounded.
func (l *Limits) validateWindows() error {
	if len(l.Windows) > maxWindows {
		return Fieldf("config.limits.windows", "must be at most %d", maxWindows)
	}
	for i, w := range l.Windows {
		at := indexPath("config.limits.windows", i)
		if w.Calls <= 0 {
			return Fieldf(at+".calls", "must be more than 0")
		}
		if w.Per <= 0 {
			return Fieldf(at+".per", "must be more than 0")
		}
		if err := between(at+".per", w.Per, 0, MaxLifetime); err != nil {
			return err
		}
	}
	return nil
}

// between checks a duration against bounds that are both allowed.
func between(path string, d Duration, least, most time.Duration) error {
	if d.Std() < least || d.Std() > most {
		return Fieldf(path, "must be %v to %v", Duration(least), Duration(most))
	}
	return nil
}
