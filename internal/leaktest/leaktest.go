// Package leaktest is goleak for machines that have other things to do: goleak
// gives goroutines half a second to end. What a test let go ends all the same,
// later.
package leaktest

import (
	"testing"

	"go.uber.org/goleak"
)

// looks bounds how often it is looked whether something is left; each takes
// goleak's half a second.
const looks = 240

// VerifyNone fails the test if there are goroutines, other than those of the
// options, that do not end.
func VerifyNone(tb testing.TB, options ...goleak.Option) {
	tb.Helper()
	settle(options...)
	goleak.VerifyNone(tb, options...)
}

// VerifyTestMain runs the tests of a package and ends the process: with a
// failure if there are goroutines that do not end.
func VerifyTestMain(m *testing.M) { goleak.VerifyTestMain(patient{m}) }

type patient struct{ *testing.M }

// Run implements goleak.TestingM.
func (p patient) Run() int {
	code := p.M.Run()
	if code == 0 { // else nobody asks what is left
		settle()
	}
	return code
}

func settle(options ...goleak.Option) {
	for range looks {
		if goleak.Find(options...) == nil {
			return
		}
	}
}
