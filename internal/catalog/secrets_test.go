package catalog

import (
	"fmt"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A page of ten thousand secrets of the Caddyfile made a copy of each, and looked up
// its sources, before nearly all were thrown away.
func TestPageOfManySecrets(t *testing.T) {
	allocations := func(secrets int) float64 {
		f := newFixture(t)
		d := defined()
		for i := range secrets {
			s := d.Secrets[0]
			s.Key = fmt.Sprintf("many-%05d", i)
			d.Secrets = append(d.Secrets, s)
		}
		c, err := New(f.cache, []Definition{d}, false)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(20, func() {
			list, total, err := c.Secrets(t.Context(), tokenstore.Page{Number: 2, Size: 20}, tokenstore.SecretFilter{})
			if err != nil || len(list) != 20 || total != len(d.Secrets) {
				t.Fatal(len(list), total, err)
			}
		})
	}
	few, many := allocations(100), allocations(2_000)
	if many > few+20 {
		t.Errorf("a page of 100 takes %.0f allocations, one of 2,000 takes %.0f", few, many)
	}
}
