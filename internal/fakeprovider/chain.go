package fakeprovider

import (
	"testing"
	"time"
)

// Chain is three providers of which each wants a token of the one before: the
// token endpoint of the second is a part of the API of the first, and that of the
// third a part of the API of the second. So do open platforms, suites and tickets
// work.
type Chain struct {
	// First is WeChat, Second WeCom, Third an OAuth2 server. Each has the app "app"
	// with the secret ChainSecret.
	First, Second, Third *Provider
	// FirstURL and SecondURL are where the first and the second are served, and
	// behind their tokens the second and the third.
	FirstURL, SecondURL string
}

// ChainSecret is the secret of the apps of a Chain.
const ChainSecret = "chain-s3cret-value"

// StartChain serves a chain until the test ends. refresh are the refresh tokens of
// the third; now is the clock of all, nil for time.Now.
func StartChain(tb testing.TB, refresh RefreshRule, now func() time.Time) *Chain {
	tb.Helper()
	apps := map[string]string{"app": ChainSecret}
	c := new(Chain)
	c.Third = New(Options{Style: OAuth, Credentials: apps, Refresh: refresh, Now: now})
	c.Second = New(Options{Style: WeCom, Credentials: apps, API: c.Third, Now: now})
	c.First = New(Options{Style: WeChat, Credentials: apps, API: c.Second, Now: now})
	c.FirstURL, c.SecondURL = c.First.Start(tb), c.Second.Start(tb)
	return c
}

// Fetches are the token requests that reached each of the three.
func (c *Chain) Fetches() [3]int {
	return [3]int{c.First.Fetches(), c.Second.Fetches(), c.Third.Fetches()}
}
