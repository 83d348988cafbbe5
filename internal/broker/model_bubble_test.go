package broker

import (
	"testing"
	"testing/synctest"
)

// bubble is a world with a clock of its own, which moves when everything in it
// waits. rapid stays outside: it ends an example by a panic, and measures how
// long it shrinks, in real time.
type bubble struct {
	steps chan func()
	taken chan struct{}
	ended chan struct{}
}

// newBubble makes a world. Nothing moves in it but while do runs.
func newBubble(t *testing.T) *bubble {
	b := &bubble{steps: make(chan func()), taken: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		synctest.Test(t, func(*testing.T) {
			for step := range b.steps {
				step()
				synctest.Wait()
				b.taken <- struct{}{}
			}
		})
	}()
	return b
}

// do takes a step and lets everything happen that follows from it without the
// clock.
func (b *bubble) do(step func()) {
	b.steps <- step
	<-b.taken
}

// end waits until every goroutine of the world is gone.
func (b *bubble) end() {
	close(b.steps)
	<-b.ended
}
