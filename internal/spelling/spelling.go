// Package spelling finds the word that somebody meant who wrote one that is not
// known: an option, a right, the name of a preset.
package spelling

import (
	"fmt"
	"strings"
)

// maxTypos is how many letters a name may differ in from the one that was
// meant; short names in fewer, or any other word would be near.
const maxTypos = 2

// maxName is the length in bytes beyond which no name is looked for: the names
// of programs are shorter, and a caller of the API may send any text.
const maxName = 64

// DidYouMean is the end of an error about an unknown name: the known one that
// is nearest to it, or nothing where none is near.
func DidYouMean(name string, known []string) string {
	if len(name) > maxName {
		return ""
	}
	best, least := "", min(maxTypos, (len(name)+1)/3)+1
	for _, k := range known {
		if n := distance(name, k); n < least {
			best, least = k, n
		}
	}
	if best == "" {
		best = byBeginning(name, known)
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean '%s'?", best)
}

// byBeginning is the one known name that begins with the name or, where there is
// none, the one with which the name begins; "" for several. Beginnings of less
// than four letters are chance.
func byBeginning(name string, known []string) string {
	var longer, shorter []string
	for _, k := range known {
		switch {
		case min(len(k), len(name)) < 4:
		case strings.HasPrefix(k, name):
			longer = append(longer, k)
		case strings.HasPrefix(name, k):
			shorter = append(shorter, k)
		}
	}
	switch {
	case len(longer) == 1:
		return longer[0]
	case len(longer) == 0 && len(shorter) == 1:
		return shorter[0]
	}
	return ""
}

// distance is how many letters have to be changed, added, left out or swapped
// with their neighbour to make b of a (the optimal string alignment distance).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
