package sqlstore

import "testing"

// Old changes are deleted once a minute, also after a clock went back.
func TestMayPrune(t *testing.T) {
	d := &mysqlDB{}
	for i, step := range []struct {
		now  int64
		want bool
	}{{1_000_000_000, true}, {1_000_000_030, false}, {1_000_000_060, true}, {600_000_000, true}, {600_000_001, false}} {
		if got := d.mayPrune(step.now); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
