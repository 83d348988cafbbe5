package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A page is the stretch of both lists, one behind the other, that it should be.
func TestPaged(t *testing.T) {
	for own := range 7 {
		for stored := range 7 {
			for size := 1; size < 5; size++ {
				testPaged(t, own, stored, size)
			}
		}
	}
}

func testPaged(t *testing.T, own, stored, size int) {
	t.Helper()
	var all []string
	for i := range own {
		all = append(all, fmt.Sprintf("own%d", i))
	}
	mine := slices.Clone(all)
	for i := range stored {
		all = append(all, fmt.Sprintf("stored%d", i))
	}
	theirs := all[own:]
	for number := 1; number < 9; number++ {
		first := min((number-1)*size, len(all))
		wanted := all[first:min(first+size, len(all))]
		got, total, err := paged(tokenstore.Page{Number: number, Size: size}, mine, strings.Clone, func(p tokenstore.Page) ([]string, int, error) {
			from := min((p.Number-1)*p.Size, len(theirs))
			return theirs[from:min(from+p.Size, len(theirs))], len(theirs), nil
		})
		if err != nil || total != len(all) || !slices.Equal(got, wanted) {
			t.Fatalf("own %d, stored %d, page %d of %d: got %v, want %v", own, stored, number, size, got, wanted)
		}
	}
}
