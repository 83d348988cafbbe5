package access

import (
	"net/netip"
	"slices"
	"sort"
)

// prefixes finds the longest of many prefixes that an address is in.
//
// They are sorted by their first address, the shorter one first. So each stands
// behind those that enclose it, and the last one that begins at or before an
// address is in the innermost one that holds it, or is that one.
type prefixes struct {
	sorted []netip.Prefix
	// around is the index of the prefix that encloses each one most closely, -1
	// for none.
	around []int
}

func newPrefixes(list []netip.Prefix) prefixes {
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	p := prefixes{sorted: list, around: make([]int, len(list))}
	// open is the innermost prefix that may still enclose the next one. All
	// around it are open, too.
	open := -1
	for i, prefix := range list {
		for open >= 0 && !list[open].Contains(prefix.Addr()) {
			open = p.around[open]
		}
		p.around[i], open = open, i
	}
	return p
}

// each yields the prefixes that hold an address, the longest first.
func (p *prefixes) each(a netip.Addr) func(yield func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		i := sort.Search(len(p.sorted), func(i int) bool { return p.sorted[i].Addr().Compare(a) > 0 }) - 1
		for ; i >= 0; i = p.around[i] {
			if p.sorted[i].Contains(a) && !yield(p.sorted[i]) {
				return
			}
		}
	}
}
