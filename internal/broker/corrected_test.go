package broker

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// What was corrected was not tried: the next call got the old error for the
// whole back-off of a hopeless refusal, unless a secret was corrected by the API.
// Whatever is corrected, and on whatever node, the next call is made.
func TestCorrectedIsTriedByTheNextCall(t *testing.T) {
	for name, correct := range map[string]func(t *testing.T, a, b *node, right realm.Config, isRight *atomic.Bool){
		"the realm, here": func(t *testing.T, _, b *node, right realm.Config, _ *atomic.Bool) {
			t.Helper()
			b.saveRealm(t, "wx", right)
		},
		"the realm, on another node": func(t *testing.T, a, b *node, right realm.Config, _ *atomic.Bool) {
			t.Helper()
			a.saveRealm(t, "wx", right)
			b.pool.cache.Recheck(t.Context(), realm.Ref{Realm: "wx"})
		},
		"the secret, on another node": func(t *testing.T, a, b *node, _ realm.Config, _ *atomic.Bool) {
			t.Helper()
			a.saveSecret(t, wx, "key_2", "right")
			b.pool.cache.Recheck(t.Context(), wx)
		},
		"a definition, by a reload": func(t *testing.T, _, b *node, right realm.Config, _ *atomic.Bool) {
			t.Helper()
			b.View = b.configure(t, catalog.Definition{
				Realm:   realm.Realm{ID: "wx", Config: right},
				Secrets: []realm.Secret{{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "wrong"}}},
			})
		},
		"at the provider, found by a dry run": func(t *testing.T, _, b *node, _ realm.Config, isRight *atomic.Bool) {
			t.Helper()
			isRight.Store(true)
			if report, err := b.Test(t.Context(), wx, nil); err != nil || report.Error != "" {
				t.Fatal(report.Error, err)
			}
		},
		"at the provider, found by a flush": func(t *testing.T, _, b *node, _ realm.Config, isRight *atomic.Bool) {
			t.Helper()
			isRight.Store(true)
			b.clock.advance(time.Second)
			if _, err := b.Flush(t.Context(), wx); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, nil)
			var isRight atomic.Bool
			b.provider.then(func(w http.ResponseWriter, r *http.Request, n int64) {
				if r.URL.Path == "/right" || r.URL.Query().Get("secret") == "right" || isRight.Load() {
					gives(7200)(w, r, n)
					return
				}
				fails(http.StatusUnauthorized)(w, r, n)
			})
			a.saveSecret(t, wx, "key_2", "wrong")
			for _, n := range []*node{a, b} { // both remember it
				if _, err := n.Token(t.Context(), wx); err == nil {
					t.Fatal("a token for the wrong secret")
				}
			}
			calls := b.provider.calls.Load()
			if _, err := b.Token(t.Context(), wx); err == nil || b.provider.calls.Load() != calls {
				t.Fatal("the test shows nothing: there is no back-off")
			}
			b.clock.advance(time.Millisecond) // a realm that is saved again is told by its time
			right := b.wechat()
			right.URL = b.provider.URL + "/right"
			correct(t, a, b, right, &isRight)
			if _, err := b.Token(t.Context(), wx); err != nil {
				t.Error(err)
			}
		})
	}
}
