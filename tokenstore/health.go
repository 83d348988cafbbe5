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

// HealthOf is the health of one level, given what a probe of it returned.
func HealthOf(name string, err error) Health {
	return Health{Name: name, OK: err == nil, Err: err}
}
