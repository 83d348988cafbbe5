package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// withTicket makes a realm whose fetch recipe needs a ticket that is pushed.
func withTicket(c *realm.Config) {
	c.Arguments = append(c.Arguments, realm.Argument{Name: "ticket", Place: realm.PlaceURL, Value: "$ticket"})
	c.Volatile = []string{"ticket"}
}

// takes gives a token that names the ticket, or refuses another one than right.
func takes(right string, seconds int) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, r *http.Request, n int64) {
		ticket := r.URL.Query().Get("ticket")
		if right != "" && ticket != right {
			_ = json.NewEncoder(w).Encode(map[string]any{"errcode": 61006, "errmsg": "component ticket is invalid"})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("T-%d-%s", n, ticket), "expires_in": seconds})
	}
}

func (n *node) push(t *testing.T, ref realm.Ref, ticket string, life time.Duration) {
	t.Helper()
	if _, err := n.Catalog().Push(t.Context(), ref, "ticket", realm.Hidden(ticket), life); err != nil {
		t.Fatal(err)
	}
}

// wantUnpushed expects the error of a ticket that there is none of.
func wantUnpushed(t *testing.T, err error) {
	t.Helper()
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
	if !strings.Contains(err.Error(), `no current value of the field "ticket" has been pushed`) {
		t.Fatalf("the error does not say what is missing: %v", err)
	}
}

// Each push of a ticket cost a fetch, and a wrong one ended the token at once. It
// counts at the next fetch, and the live token is served to its end.
func TestPushEndsNoToken(t *testing.T) {
	a, b := pair(t, withTicket)
	a.provider.then(takes("", 7200))
	a.push(t, wx, "t0", 12*time.Hour)
	want(t, a.View, wx, "T-1-t0", realm.FromUpstream)
	for i := range 4 {
		a.push(t, wx, fmt.Sprint("wrong-", i), 12*time.Hour)
		for _, n := range []*node{a, b} {
			if lease, err := n.Token(t.Context(), wx); err != nil || lease.Access.Reveal() != "T-1-t0" {
				t.Fatalf("after %d pushes: %v", i+1, err)
			}
		}
	}
	a.provider.then(takes("right", 7200))
	a.clock.advance(7190 * time.Second)
	for _, n := range []*node{a, b} {
		if lease, err := n.Token(t.Context(), wx); err != nil || lease.Access.Reveal() != "T-1-t0" {
			t.Fatalf("shortly before its end: %v", err)
		}
	}
	a.clock.advance(10 * time.Second)
	if calls := a.provider.calls.Load(); calls > 2 { // the renewal in the shadow of a request may have tried
		t.Errorf("%d token requests", calls)
	}
	var refused *realm.Error // of this call, or of the renewal
	if _, err := a.Token(t.Context(), wx); !errors.As(err, &refused) || refused.Code != realm.CodeTokenUnavailable || refused.ProviderCode != "61006" {
		t.Fatalf("with a wrong ticket: %v", err)
	}
	b.push(t, wx, "right", 12*time.Hour)
	if lease, err := b.Token(t.Context(), wx); err != nil || !strings.HasSuffix(lease.Access.Reveal(), "-right") {
		t.Errorf("with the right one: %v", err)
	}
}

// A failure with an old ticket is over when another one is pushed, on whatever
// node, and whether the provider's refusal was one for ever.
func TestPushLiftsFailures(t *testing.T) {
	refusals := map[string]func(http.ResponseWriter){
		"hopeless":  func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"errcode":40125,"errmsg":"invalid appsecret"}`)) },
		"retryable": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, withTicket)
			a.provider.then(func(w http.ResponseWriter, r *http.Request, n int64) {
				if r.URL.Query().Get("ticket") == "old" {
					refuse(w)
					return
				}
				takes("new", 7200)(w, r, n)
			})
			a.push(t, wx, "old", 0)
			for _, n := range []*node{a, b} {
				if _, err := n.Token(t.Context(), wx); err == nil {
					t.Fatal("the old ticket was good")
				}
			}
			before := a.provider.calls.Load()
			if name == "hopeless" {
				a.push(t, wx, "old", 0) // the same value again corrects nothing
				if _, err := a.Token(t.Context(), wx); err == nil || a.provider.calls.Load() != before {
					t.Fatalf("the same ticket was tried again: %v", err)
				}
			}
			a.push(t, wx, "new", 0)
			want(t, a.View, wx, fmt.Sprintf("T-%d-new", before+1), realm.FromUpstream)
			b.pool.cache.Recheck(t.Context(), wx) // as the feed does
			want(t, b.View, wx, fmt.Sprintf("T-%d-new", before+1), realm.FromDatabase)
		})
	}
}

// Without a ticket nothing is sent and nothing is remembered. A ticket that has
// ended is none; the token that lives is served, on a node that never had it, too.
func TestWithoutATicket(t *testing.T) {
	a, b := pair(t, withTicket)
	a.provider.then(takes("", 7200))
	for range 3 {
		_, err := a.Token(t.Context(), wx)
		wantUnpushed(t, err)
	}
	if _, err := a.Flush(t.Context(), wx); err == nil {
		t.Fatal("flushed")
	} else {
		wantUnpushed(t, err)
	}
	if report, err := a.Test(t.Context(), wx, nil); err != nil || !strings.Contains(report.Error, `"ticket"`) {
		t.Errorf("the dry run: %q, %v", report.Error, err)
	}
	if err := a.CheckProxyable(t.Context(), wx); err != nil {
		t.Errorf("the realm is proxyable: %v", err)
	}
	if n := a.provider.calls.Load(); n != 0 {
		t.Fatalf("%d token requests without a ticket", n)
	}
	a.push(t, wx, "t1", 10*time.Minute)
	want(t, a.View, wx, "T-1-t1", realm.FromUpstream)
	a.clock.advance(11 * time.Minute)
	want(t, a.View, wx, "T-1-t1", realm.FromMemory)
	want(t, b.View, wx, "T-1-t1", realm.FromDatabase)
	b.pool.cache.Recheck(t.Context(), wx)
	want(t, b.View, wx, "T-1-t1", realm.FromMemory)
	a.clock.advance(2 * time.Hour)
	for _, n := range []*node{a, b} {
		_, err := n.Token(t.Context(), wx)
		wantUnpushed(t, err)
	}
	if n := a.provider.calls.Load(); n != 1 {
		t.Fatalf("%d token requests", n)
	}
	b.push(t, wx, "t2", 0)
	want(t, a.View, wx, "T-2-t2", realm.FromUpstream) // a heard nothing of the push
}

// A secret of the Caddyfile takes pushes, too, over the value that the file has.
func TestPushToADefinedSecret(t *testing.T) {
	n := newNode(t)
	n.provider.then(takes("", 60))
	config := n.wechat()
	withTicket(&config)
	n.View = n.configure(t, catalog.Definition{
		Realm: realm.Realm{ID: "wx", Config: config},
		Secrets: []realm.Secret{
			{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s", "ticket": "file"}},
			{Ref: realm.Ref{Realm: "wx", Key: "none"}, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s"}},
		},
	})
	_, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "none"})
	wantUnpushed(t, err)
	want(t, n.View, wx, "T-1-file", realm.FromUpstream)
	n.push(t, wx, "pushed", 10*time.Minute)
	n.clock.advance(time.Minute)
	want(t, n.View, wx, "T-2-pushed", realm.FromUpstream)
	n.clock.advance(10 * time.Minute)
	want(t, n.View, wx, "T-3-file", realm.FromUpstream)
}

// While the provider is asked, a push neither has the answer thrown away nor is
// it lost: what failed with the old ticket is tried at once with the new one.
func TestPushInFlight(t *testing.T) {
	for _, refused := range []bool{false, true} {
		a, _ := pair(t, withTicket)
		gate, reached := make(chan struct{}), make(chan struct{}, 4)
		a.provider.then(blocks(gate, reached, func(w http.ResponseWriter, r *http.Request, n int64) {
			if refused && r.URL.Query().Get("ticket") == "old" {
				_, _ = w.Write([]byte(`{"errcode":40125,"errmsg":"invalid appsecret"}`))
				return
			}
			takes("", 7200)(w, r, n)
		}))
		a.push(t, wx, "old", 0)
		got := make(chan string)
		go func() {
			lease, err := a.Token(t.Context(), wx)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- lease.Access.Reveal()
		}()
		<-reached
		a.push(t, wx, "new", 0)
		close(gate)
		wanted := "T-1-old"
		if refused {
			wanted = "T-2-new"
		}
		if token := <-got; token != wanted {
			t.Errorf("refused %v: the caller got %q, want %q", refused, token, wanted)
		}
	}
}

// A realm with refresh tokens needs a ticket only for its fetch.
func TestRefreshWithoutATicket(t *testing.T) {
	a, _ := pair(t, func(c *realm.Config) {
		withTicket(c)
		c.RefreshTokenPath = "refresh_token"
		c.Refresh = &realm.Recipe{URL: c.URL + "/refresh?r={refresh_token}"}
	})
	a.provider.then(func(w http.ResponseWriter, r *http.Request, n int64) {
		if r.URL.Query().Get("r") == "dead" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		refresh := "alive"
		if strings.HasSuffix(r.URL.Path, "/refresh") {
			refresh = "dead"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("T-", n), "expires_in": 60, "refresh_token": refresh})
	})
	a.push(t, wx, "t1", time.Minute)
	want(t, a.View, wx, "T-1", realm.FromUpstream)
	a.clock.advance(2 * time.Minute)
	want(t, a.View, wx, "T-2", realm.FromUpstream)
	a.clock.advance(2 * time.Minute)
	_, err := a.Token(t.Context(), wx)
	wantUnpushed(t, err)
	a.push(t, wx, "t2", 0)
	if _, err := a.Token(t.Context(), wx); err != nil {
		t.Errorf("with a ticket: %v, %v", err, errors.Unwrap(err))
	}
}
