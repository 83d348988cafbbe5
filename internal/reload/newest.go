// Package reload holds what several running configurations have to agree on:
// Caddy starts a new configuration before it stops the old one, so that for a
// while there are two.
package reload

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Newest holds what belongs to each running configuration, and answers with that
// of the one that was started last. If the new configuration fails to start, it
// is removed, and the one before counts again. The zero value is ready.
type Newest[T any] struct {
	mu  sync.Mutex
	all []*T
	top atomic.Pointer[T]
}

// Load returns the newest one; nil if there is none. It takes no lock.
func (n *Newest[T]) Load() *T { return n.top.Load() }

// Add makes x the newest one, until it is removed.
func (n *Newest[T]) Add(x *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
	n.top.Store(x)
}

// Remove takes x out, if it is there.
func (n *Newest[T]) Remove(x *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(y *T) bool { return x == y })
	if len(n.all) == 0 {
		n.top.Store(nil)
		return
	}
	n.top.Store(n.all[len(n.all)-1])
}
