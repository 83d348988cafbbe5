package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// all lets every realm through.
func all(string) bool { return true }

// What the counters grow by falls into the step in which it was noticed, and is
// forgotten after a day.
func TestActivityRing(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 1, 0, 0, time.UTC)
	r := &activityRing{now: func() time.Time { return now }, realms: map[string]*activityOfRealm{}}
	calls := func(steps int, id string) (list []uint64) {
		for _, a := range r.Last(steps, func(other string) bool { return other == id }) {
			list = append(list, a.Calls)
		}
		return list
	}
	wantCalls := func(id, want string) {
		t.Helper()
		if got := fmt.Sprint(calls(3, id)); got != want {
			t.Errorf("%s: %s, not %s", id, got, want)
		}
	}
	r.sample(map[string]totals{"test-a": {calls: 5}, "test-b": {}})
	wantCalls("test-a", "[0 0 5]")
	now = now.Add(5 * time.Minute)
	r.sample(map[string]totals{"test-a": {calls: 7, errors: 1}, "test-b": {calls: 1}})
	r.sample(map[string]totals{"test-a": {calls: 8, errors: 1}, "test-b": {calls: 1}})
	wantCalls("test-a", "[0 5 3]")
	wantCalls("test-b", "[0 0 1]")
	if at := r.Last(1, all)[0].At; !at.Equal(time.Date(2026, 11, 29, 12, 5, 0, 0, time.UTC)) {
		t.Errorf("the step began at %s", at)
	}
	now = now.Add(-5 * time.Minute) // the clock goes back
	r.sample(map[string]totals{"test-a": {calls: 9, errors: 1}})
	now = now.Add(10 * time.Minute)
	wantCalls("test-a", "[5 4 0]")
	for i := range 2 * activitySteps {
		now = now.Add(5 * time.Minute)
		r.sample(map[string]totals{"test-a": {calls: float64(10 + i)}})
	}
	if n := len(r.realms["test-a"].steps); n != activitySteps {
		t.Errorf("%d steps are kept", n)
	}
	if r.realms["test-b"].steps[0].calls != 1 || cap(r.realms["test-b"].steps) > 4 {
		t.Error("a realm without activity has memory for it")
	}
}

// The ring has so many realms and no more.
func TestActivityIsBounded(t *testing.T) {
	r := &activityRing{now: time.Now, realms: map[string]*activityOfRealm{}}
	read := map[string]totals{}
	for i := range activityRealms + 100 {
		read[fmt.Sprint("r", i)] = totals{calls: 1}
	}
	r.sample(read)
	r.sample(read)
	if n := len(r.realms); n != activityRealms {
		t.Errorf("%d realms", n)
	}
}

// Calls are seen at once, and after a reload; those of others are not.
func TestActivityOutlivesAReload(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	const id = "activity-of-a-reload" // counters belong to the process
	site := "token_proxy {\nrealm " + id + "\nkey main\n}"
	i.load(p.realm(id, "inject query access_token"), site)
	sum := func(query string) (calls, fetches uint64, live int) {
		t.Helper()
		var doc struct {
			Data struct {
				Step   int
				List   []struct{ Calls, Fetches uint64 }
				States map[string]int
				Total  int
			}
		}
		if err := json.Unmarshal([]byte(i.must(http.MethodGet, "/api/activity"+query, "")), &doc); err != nil {
			t.Fatal(err)
		}
		for _, a := range doc.Data.List {
			calls, fetches = calls+a.Calls, fetches+a.Fetches
		}
		if doc.Data.Step != 300 || doc.Data.Total != len(doc.Data.List) {
			t.Errorf("%+v", doc)
		}
		return calls, fetches, doc.Data.States["live"]
	}
	for range 3 {
		i.get("/x")
	}
	for _, query := range []string{"?realm=" + id, "?hours=24&realm=" + id} {
		if calls, fetches, live := sum(query); calls != 3 || fetches != 1 || live != 1 {
			t.Errorf("%s: %d calls, %d fetches, %d live", query, calls, fetches, live)
		}
	}
	i.load(p.realm(id, "inject query access_token\ncomment edited"), site)
	i.get("/x")
	if calls, _, _ := sum("?realm=" + id); calls != 4 {
		t.Errorf("after a reload: %d calls", calls)
	}
	if calls, _, live := sum("?realm=other"); calls != 0 || live != 0 {
		t.Errorf("of another realm: %d calls, %d live", calls, live)
	}
	if a := i.call(http.MethodGet, "/api/activity?hours=25", ""); a.StatusCode != http.StatusBadRequest {
		t.Errorf("25 hours: %s", a.Status)
	}
}
