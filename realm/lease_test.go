package realm

import (
	"testing"
	"time"
)

func TestInstantArithmetic(t *testing.T) {
	base := InstantOf(time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC))
	for name, c := range map[string]struct {
		from Instant
		add  time.Duration
		want time.Time
	}{
		"later":                 {base, time.Hour, base.Time().Add(time.Hour)},
		"earlier":               {base, -time.Hour, base.Time().Add(-time.Hour)},
		"nothing":               {base, 0, base.Time()},
		"a microsecond":         {base, time.Microsecond, base.Time().Add(time.Microsecond)},
		"less than one":         {base, 999 * time.Nanosecond, base.Time()},
		"never":                 {0, time.Hour, time.Time{}},
		"never, and an earlier": {0, -time.Hour, time.Time{}},
	} {
		got := c.from.Add(c.add)
		if !got.Time().Equal(c.want) {
			t.Errorf("%s: %v, not %v", name, got.Time(), c.want)
		}
		if c.from != 0 && got.Sub(c.from) != c.add.Truncate(time.Microsecond) {
			t.Errorf("%s: the distance is %v", name, got.Sub(c.from))
		}
	}
}
