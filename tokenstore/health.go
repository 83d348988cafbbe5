package tokenstore

import "context"

// Health is the state of one level: "sqlite", "mysql" or "redis". Err is set
// when it is not OK.
type Health struct {
	Name string
	OK   bool
	Err  error
}

// HealthReporter is implemented by stores and caches that can tell how they
// are.
type HealthReporter interface {
	// Health asks each level now, within the context's time.
	Health(ctx context.Context) []Health
}

// WriteProber is implemented by databases that can tell whether they take
// writes: one on a full disk, or that somebody set read-only, still answers what
// is read.
type WriteProber interface {
	// ProbeWrite writes what changes nothing, as durably as anything else. A
	// cache is not asked.
	ProbeWrite(ctx context.Context) error
}

// HealthOf is the health of one level, given what a probe of it returned.
func HealthOf(name string, err error) Health {
	return Health{Name: name, OK: err == nil, Err: err}
}
