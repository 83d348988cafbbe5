package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// demand is constant load: a caller for each URL, who asks again a moment after
// each answer.
type demand struct {
	cancel context.CancelFunc
	// insists: a caller whose connection ends without an answer asks again.
	insists bool
	callers sync.WaitGroup

	mu       sync.Mutex
	calls    int
	failed   int
	failures []string // the first ones
}

// insistence is how often a call is made that gets no answer.
const insistence = 10

// pace is how long a caller waits between two calls.
const pace = 20 * time.Millisecond

// startDemand begins the load, which ends with the test or by stop.
func startDemand(t *testing.T, urls ...string) *demand {
	t.Helper()
	return new(demand).start(t, urls...)
}

// startInsistingDemand is for a node that is reloaded: the listener that it
// leaves behind closes connections that it has just accepted.
func startInsistingDemand(t *testing.T, urls ...string) *demand {
	t.Helper()
	return (&demand{insists: true}).start(t, urls...)
}

func (d *demand) start(t *testing.T, urls ...string) *demand {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	d.cancel = cancel
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: len(urls)}}
	for _, url := range urls {
		d.callers.Go(func() { d.ask(ctx, client, url) })
	}
	t.Cleanup(func() {
		d.stop()
		client.CloseIdleConnections()
	})
	return d
}

func (d *demand) ask(ctx context.Context, client *http.Client, url string) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		status, answer := ask(ctx, client, url)
		for tries := 1; status == 0 && d.insists && tries < insistence; tries++ {
			status, answer = ask(ctx, client, url)
		}
		if ctx.Err() != nil {
			return
		}
		d.note(url, status, answer)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ask makes a call; status 0 means that no answer came.
func ask(ctx context.Context, client *http.Client, url string) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func (d *demand) note(url string, status int, answer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if status == http.StatusOK {
		return
	}
	if d.failed++; d.failed <= 5 {
		d.failures = append(d.failures, fmt.Sprintf("%s %s: %d %.200s", time.Now().Format("05.000"), url, status, answer))
	}
}

// made is how many calls were answered so far.
func (d *demand) made() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// stop ends the load and returns how many calls there were.
func (d *demand) stop() int {
	d.cancel()
	d.callers.Wait()
	return d.made()
}

// wantAllServed ends the load, and fails the test where a call was not answered
// with 200. It returns how many there were.
func (d *demand) wantAllServed(t *testing.T) int {
	t.Helper()
	calls := d.stop()
	if d.failed != 0 {
		t.Errorf("%d of %d calls failed, the first: %q", d.failed, calls, d.failures)
	}
	return calls
}
