package sqlstore

import (
	"maps"
	"testing"
)

// FuzzCursor: a cursor comes back from a caller; whatever it sends, reading it
// neither panics nor changes what it says.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(cursor{settled: 7, seen: map[uint64]bool{8: true, 300: true}}.String())
	f.Add("not a cursor")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		again, err := parseCursor(c.String())
		if err != nil || again.settled != c.settled || !again.read.Equal(c.read) || !maps.Equal(again.seen, c.seen) {
			t.Fatalf("%q became %+v, then %+v, %v", text, c, again, err)
		}
	})
}
