package caddymodule

import (
	"slices"
	"sync"
	"sync/atomic"
)

// newest holds what belongs to each running configuration, and answers with
// that of the one that was started last. During a reload two are running; when
// the new one fails to start, it is removed and the one before counts again.
// The zero value is ready.
type newest[T any] struct {
	mu  sync.Mutex
	all []*T
	top atomic.Pointer[T]
}

// Load is the newest one; nil for none.
func (n *newest[T]) Load() *T { return n.top.Load() }

// add makes x the newest one, until it is removed.
func (n *newest[T]) add(x *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
	n.top.Store(x)
}

// remove takes x out, if it is there.
func (n *newest[T]) remove(x *T) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = slices.DeleteFunc(n.all, func(y *T) bool { return x == y })
	if len(n.all) == 0 {
		n.top.Store(nil)
		return
	}
	n.top.Store(n.all[len(n.all)-1])
}
