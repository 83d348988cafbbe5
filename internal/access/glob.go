package access

import "strings"

// glob is a pattern for one text without structure: an id, a method, a segment
// of a path. A * stands for any characters, also for none; all others stand for
// themselves, and case counts.
type glob struct {
	// first and last are what a text has to begin and end with; for a pattern
	// without *, first is the whole.
	first, last string
	// middle are the parts between two *, in their order.
	middle []string
	// star: there is a *.
	star bool
	// least is how long a text has to be, so that first and last do not overlap.
	least int
}

func newGlob(pattern string) glob {
	parts := strings.Split(pattern, "*")
	g := glob{first: parts[0], star: len(parts) > 1, least: len(pattern) - (len(parts) - 1)}
	if g.star {
		g.last = parts[len(parts)-1]
		for _, part := range parts[1 : len(parts)-1] {
			if part != "" {
				g.middle = append(g.middle, part)
			}
		}
	}
	return g
}

// isAny reports whether every text matches.
func (g *glob) isAny() bool { return g.star && g.least == 0 }

// match takes time in proportion to the text: each part is looked for once,
// behind the one before. The leftmost place is always good enough, because a *
// follows it.
func (g *glob) match(s string) bool {
	if !g.star {
		return s == g.first
	}
	if len(s) < g.least || !strings.HasPrefix(s, g.first) || !strings.HasSuffix(s, g.last) {
		return false
	}
	s = s[len(g.first) : len(s)-len(g.last)]
	for _, part := range g.middle {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}

// globs are the patterns of one list of a rule, of which any may match.
type globs struct {
	// any: every text matches, because the list is absent or holds a *.
	any bool
	// one is the text that matches, where there is one and no *.
	one  string
	list []glob
}

func newGlobs(patterns []string) globs {
	if len(patterns) == 0 {
		return globs{any: true}
	}
	var g globs
	for _, pattern := range patterns {
		one := newGlob(pattern)
		g.any = g.any || one.isAny()
		g.list = append(g.list, one)
	}
	if len(g.list) == 1 && !g.list[0].star {
		g.one, g.list = patterns[0], nil
	}
	return g
}

func (g *globs) match(s string) bool {
	if g.any || g.list == nil {
		return g.any || g.one == s
	}
	for i := range g.list {
		if g.list[i].match(s) {
			return true
		}
	}
	return false
}
