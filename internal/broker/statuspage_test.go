package broker

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// page asks for tokens of the status and returns their keys in order.
func (n *node) page(t *testing.T, q StatusQuery) (keys []string, total int) {
	t.Helper()
	if q.Page == (tokenstore.Page{}) {
		q.Page = tokenstore.Page{Number: 1, Size: 10}
	}
	s, total := n.StatusPage(t.Context(), q)
	for _, token := range s.Tokens {
		keys = append(keys, token.Key)
	}
	return keys, total
}

func TestStatusPage(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	low := n.wechat()
	low.Limits.Windows = []realm.Window{{Calls: 10, Per: realm.Duration(time.Hour)}}
	n.saveRealm(t, "low", low)
	for i := range 5 {
		n.saveSecret(t, realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}, "key_1", "app", "key_2", "s3cret-value")
	}
	n.saveSecret(t, realm.Ref{Realm: "low", Key: "Main"}, "key_1", "app", "key_2", "s3cret-value")
	for i := range 4 {
		if _, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}); err != nil {
			t.Fatal(err)
		}
	}
	n.provider.then(fails(http.StatusBadRequest))
	if _, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "k4"}); err == nil {
		t.Fatal("no error")
	}
	n.provider.then(gives(7200))
	n.clock.advance(2 * time.Minute)
	want(t, n.View, realm.Ref{Realm: "low", Key: "Main"}, "T-6-app", realm.FromUpstream)
	wantPage := func(what string, q StatusQuery, want string) {
		t.Helper()
		keys, total := n.page(t, q)
		if got := fmt.Sprint(keys, total); got != want {
			t.Errorf("%s: %s, not %s", what, got, want)
		}
	}
	wantPage("all", StatusQuery{}, "[Main k0 k1 k2 k3 k4] 6")
	wantPage("the second page", StatusQuery{Page: tokenstore.Page{Number: 2, Size: 4}}, "[k3 k4] 6")
	wantPage("a page behind the end", StatusQuery{Page: tokenstore.Page{Number: 1_000_000_000, Size: 1000}}, "[] 6")
	wantPage("a realm", StatusQuery{Realm: "low"}, "[Main] 1")
	wantPage("a key", StatusQuery{Key: "k2"}, "[k2] 1")
	wantPage("a state", StatusQuery{State: "failing"}, "[k4] 1")
	wantPage("a keyword", StatusQuery{Keyword: "MAI"}, "[Main] 1")
	wantPage("a keyword of the realm", StatusQuery{Keyword: "Low"}, "[Main] 1")
	wantPage("what the caller may see", StatusQuery{May: func(ref realm.Ref) bool { return ref.Key == "k1" }}, "[k1] 1")
	wantPage("attention", StatusQuery{Attention: true}, "[k4] 1")
	wantPage("what needs attention first", StatusQuery{AttentionFirst: true}, "[k4 Main k0 k1 k2 k3] 6")
	counts := n.Counts([]string{"wx", "none"}, func(ref realm.Ref) bool { return ref.Key != "k0" })
	if got := fmt.Sprint(counts); got != "map[none:{0 map[]} wx:{1 map[failing:1 live:3]}]" {
		t.Error(got)
	}
	for range 8 { // 9 of 10 calls are made then
		n.clock.advance(time.Minute)
		if _, err := n.Flush(t.Context(), realm.Ref{Realm: "low", Key: "Main"}); err != nil {
			t.Fatal(err)
		}
	}
	if b, _ := n.pool.budgets.Load("low"); b != (budgetLeft{1, true}) {
		t.Errorf("%+v", b)
	}
	wantPage("a quota near its end", StatusQuery{Attention: true}, "[Main k4] 2")
}

// The history of a token has the calls of this node, the newest first, and no more
// than it keeps.
func TestHistory(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	history := func() []Call {
		t.Helper()
		s, total := n.StatusPage(t.Context(), StatusQuery{Realm: "wx", Key: "main", Page: tokenstore.Page{Number: 1, Size: 10}})
		if total != 1 || len(s.Tokens) != 1 {
			t.Fatalf("%+v", s)
		}
		return s.Tokens[0].History
	}
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if h := history(); len(h) != 1 || h[0].Result != "ok" || h[0].Why != "load" || h[0].Lineage != 1 || h[0].Detail != "" || !h[0].At.Equal(n.clock.now()) {
		t.Errorf("%+v", h)
	}
	if s, _ := n.StatusPage(t.Context(), StatusQuery{Realm: "wx", Page: tokenstore.Page{Number: 1, Size: 10}}); s.Tokens[0].History != nil {
		t.Error("a list has histories")
	}
	n.clock.advance(time.Minute)
	n.provider.then(fails(http.StatusInternalServerError))
	_, _ = n.Flush(t.Context(), wx)
	n.provider.then(gives(7200))
	if h := history(); len(h) != 2 || h[0].Result != "failed" || h[0].Why != "flush" || h[0].Lineage != 1 || !strings.Contains(h[0].Detail, "500") || h[1].Result != "ok" {
		t.Errorf("%+v", h)
	}
	for range keptCalls + 3 {
		n.clock.advance(2 * time.Minute)
		if _, err := n.Flush(t.Context(), wx); err != nil {
			t.Fatal(err)
		}
	}
	if h := history(); len(h) != keptCalls || h[0].Lineage != keptCalls+4 || h[keptCalls-1].Lineage != 5 {
		t.Errorf("%d calls: %+v", len(h), h)
	}
	if err := n.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	if h := n.pool.histories.of(wx); len(h) != 0 {
		t.Errorf("of a deleted secret: %v", h)
	}
}

// A node with very many tokens has the histories of some.
func TestHistoriesAreBounded(t *testing.T) {
	var h histories
	for i := range keptHistories + 10 {
		h.add(realm.Ref{Realm: "r", Key: fmt.Sprint(i)}, pastCall{why: claim.Renew, isOK: true})
	}
	if len(h.all) != keptHistories || len(h.of(realm.Ref{Realm: "r", Key: fmt.Sprint(keptHistories + 9)})) != 1 {
		t.Errorf("%d histories", len(h.all))
	}
	h.forget(realm.Ref{Realm: "r"})
	if len(h.all) != 0 {
		t.Errorf("%d are left of a deleted realm", len(h.all))
	}
}

// A page describes its own tokens only, however many there are.
func TestStatusPageDescribesOnlyItsTokens(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	for i := range 10_000 {
		n.pool.entry(realm.Ref{Realm: "wx", Key: fmt.Sprintf("%05d", i)})
	}
	allocations := func(size int) float64 {
		return testing.AllocsPerRun(3, func() {
			if keys, total := n.page(t, StatusQuery{Page: tokenstore.Page{Number: 3, Size: size}}); len(keys) != size || total != 10_000 {
				t.Errorf("%d of %d", len(keys), total)
			}
		})
	}
	// Each token of a page allocates; the 10,000 others may not.
	if few, many := allocations(1), allocations(1000); few > 2000 || many-few > 20_000 {
		t.Errorf("%v allocations for a page of one, %v for one of 1,000", few, many)
	}
}

func TestShorten(t *testing.T) {
	long := strings.Repeat("无法", 200)
	for most := 3; most < 20; most++ {
		if got := shorten(long, most); len(got) > most || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d: %q", most, got)
		}
	}
	if got := shorten("short", 5); got != "short" {
		t.Errorf("%q", got)
	}
}
