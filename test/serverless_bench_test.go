package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// BenchmarkServerlessStart measures what a caller waits for who wakes a function:
// from the start of the process to the answer to a request that had a token put
// into it. The token is in the stores. Each time the same program is started
// without this plugin's app, too, and what is compared are the two of a pair:
//
//	go test -run '^$' -bench ServerlessStart -benchtime 20x .
func BenchmarkServerlessStart(b *testing.B) {
	f := prepareInstances(b, 1, fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"}})
	key := f.setUp(b)
	m := &f.members[0]
	m.spawn()
	m.wait(b)
	m.serves(b, "the first instance", key) // it warms the stores
	m.kill()

	plain := prepare(b, func(port, _ int) string {
		return fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n}\n:%d {\n\trespond ok\n}\n", port)
	}, frugal...)
	var ours, caddys, ratios []float64
	for b.Loop() {
		own := sinceStart(b, m.node, func() bool { status, _ := m.menu(b.Context(), client, key); return status == 200 })
		bare := sinceStart(b, plain, func() bool { status, _ := plain.try(plain.proxy + "/"); return status == 200 })
		ours, caddys, ratios = append(ours, own), append(caddys, bare), append(ratios, own/bare)
	}
	if fetches := f.provider.Fetches(); fetches != 1 {
		b.Fatalf("%d fetches: the stores were not warm", fetches)
	}
	b.ReportMetric(middle(ours), "ms/token")
	b.ReportMetric(middle(caddys), "ms/caddy")
	b.ReportMetric(middle(ratios), "ratio")
}

// sinceStart starts a process, and returns after how many milliseconds the
// condition held. It ends the process without notice, as a platform does.
func sinceStart(tb testing.TB, n *node, answered func() bool) float64 {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(n.dir, "config")); err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	n.spawn()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !answered() {
		if !n.isUp() || time.Since(began) > patience {
			tb.Fatalf("it does not answer:\n%s", n.logTail())
		}
		<-tick.C
	}
	took := time.Since(began)
	n.kill()
	return float64(took.Microseconds()) / 1000
}

func middle(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
