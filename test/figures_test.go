package test

import (
	"os"
	"strconv"
	"sync"
	"testing"
)

// figure is how often a test does something: a few times, or as often as the
// environment says (see the target soak of the Makefile).
func figure(t *testing.T, name string, few int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// abreast runs tests that mostly wait, so many of them at once.
type abreast struct {
	t       *testing.T
	places  chan struct{}
	running sync.WaitGroup
}

func newAbreast(t *testing.T, places int) *abreast {
	return &abreast{t: t, places: make(chan struct{}, places)}
}

// run runs a test as soon as there is a place for it.
func (a *abreast) run(name string, test func(t *testing.T)) {
	a.places <- struct{}{}
	a.running.Go(func() {
		defer func() { <-a.places }()
		a.t.Run(name, test)
	})
}

func (a *abreast) wait() { a.running.Wait() }
