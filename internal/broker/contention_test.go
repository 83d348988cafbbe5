package broker

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// contested is a node on a simulated WeChat, whose new token ends the old one,
// and the warnings that it logs.
type contested struct {
	*node
	wechat *fakeprovider.Provider
	logs   *observer.ObservedLogs
}

func newContested(t *testing.T) *contested {
	t.Helper()
	c := newClock()
	p := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "s3cret-value"}, Quotas: []fakeprovider.Quota{}, Now: c.now,
	})
	n := &contested{node: nodeOn(t, newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), newProvider(t), c), wechat: p}
	core, logs := observer.New(zap.WarnLevel)
	n.pool.log, n.logs = zap.New(core), logs
	config := n.node.wechat()
	config.URL = p.Start(t) + "/cgi-bin/token"
	config.Arguments = append(config.Arguments, realm.Argument{Name: "grant_type", Place: realm.PlaceURL, Value: "client_credential"})
	config.RenewOn = []realm.Rule{{JSON: "errcode", Values: []realm.Scalar{realm.ScalarOf("40001")}}}
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	return n
}

// use has the API judge our token, as the last hop of a request does, and
// returns the one that worked.
func (n *contested) use(t *testing.T) *realm.Lease {
	t.Helper()
	lease, err := n.Token(t.Context(), wx)
	if err == nil && !n.wechat.Live(lease.Access.Reveal()) {
		lease, err = n.heal(t.Context(), wx, lease.Access)
		defer n.helped(t)
	}
	if err != nil || !n.wechat.Live(lease.Access.Reveal()) {
		t.Fatalf("no live token: %v %v", lease, err)
	}
	n.Worked(wx, lease)
	return lease
}

// stolen lets somebody else fetch, and the old token's overlap pass.
func (n *contested) stolen() {
	n.clock.advance(20 * time.Minute)
	n.wechat.Steal("app")
	n.clock.advance(6 * time.Minute)
}

func (n *contested) note(t *testing.T) string {
	t.Helper()
	return n.Status(t.Context()).Tokens[0].Note
}

// Another system that fetches the credential is named once, in the log and for
// as long as it lasts in the status.
func TestContention(t *testing.T) {
	n := newContested(t)
	n.use(t)
	for round := range 6 {
		if got := n.note(t) != ""; got != (round >= contendedAfter) {
			t.Errorf("after %d early deaths: note %q", round, n.note(t))
		}
		n.stolen()
		n.use(t)
	}
	if note := n.note(t); !strings.HasPrefix(note, "another system fetches this credential") || !strings.Contains(note, "stable_token") {
		t.Errorf("note %q", note)
	}
	lines := n.logs.FilterMessageSnippet(contention).All()
	if len(lines) != 1 {
		t.Fatalf("%d lines: %v", len(lines), n.logs.All())
	}
	fields := lines[0].ContextMap()
	if fields["realm"] != "wx" || fields["key"] != "main" || !strings.Contains(fields["advice"].(string), "stable_token") {
		t.Errorf("%v", fields)
	}
	n.clock.advance(3 * time.Hour)
	n.use(t)
	if note := n.note(t); note != "" {
		t.Errorf("it is over, and the status says %q", note)
	}
	for range contendedAfter {
		n.stolen()
		n.use(t)
	}
	if n.logs.FilterMessageSnippet(contention).Len() != 2 || n.note(t) == "" {
		t.Error("it began again, and nobody is told")
	}
}

// What we do ourselves is no contention.
func TestNoContention(t *testing.T) {
	for name, round := range map[string]func(*testing.T, *contested){
		"a flush": func(t *testing.T, n *contested) {
			old := n.use(t)
			if _, err := n.Flush(t.Context(), wx); err != nil {
				t.Fatal(err)
			}
			n.clock.advance(6 * time.Minute)
			if _, err := n.heal(t.Context(), wx, old.Access); err != nil { // who was under way with it
				t.Fatal(err)
			}
		},
		"a dry run": func(t *testing.T, n *contested) {
			n.use(t)
			if r, err := n.Test(t.Context(), wx, nil); err != nil || r.Error != "" {
				t.Fatal(r, err)
			}
			n.clock.advance(6 * time.Minute)
			n.use(t)
		},
		"a restart": func(t *testing.T, n *contested) {
			n.use(t)
			n.pool.entries.Delete(wx) // what a restart forgets
			n.wechat.Steal("app")
			n.clock.advance(6 * time.Minute)
			n.use(t)
		},
		"the last moments of a life": func(t *testing.T, n *contested) {
			old := n.use(t)
			n.clock.advance(old.Expires.Time().Sub(n.clock.now()) - 7*time.Minute)
			n.wechat.Steal("app")
			n.clock.advance(6 * time.Minute)
			if _, err := n.heal(t.Context(), wx, old.Access); err != nil {
				t.Fatal(err)
			}
		},
		"tokens that never work": func(t *testing.T, n *contested) {
			lease, err := n.Token(t.Context(), wx)
			if err != nil {
				t.Fatal(err)
			}
			n.clock.advance(20 * time.Minute)
			if _, err := n.heal(t.Context(), wx, lease.Access); err != nil {
				t.Fatal(err)
			}
			n.helped(t)
		},
		"a provider that is down": func(t *testing.T, n *contested) {
			lease := n.use(t)
			n.wechat.Revoke(lease.Access.Reveal())
			n.wechat.Set(fakeprovider.Faults{Answer: "empty"})
			for range contendedAfter + 1 {
				if _, err := n.heal(t.Context(), wx, lease.Access); err == nil {
					t.Fatal("there is another token")
				}
			}
			n.wechat.Set(fakeprovider.Faults{})
			n.clock.advance(2 * time.Hour)
		},
		"now and then": func(t *testing.T, n *contested) {
			n.use(t)
			n.stolen()
			n.use(t)
			n.clock.advance(3 * time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newContested(t)
			for range contendedAfter + 2 {
				round(t, n)
			}
			if n.logs.FilterMessageSnippet(contention).Len() != 0 || n.note(t) != "" {
				t.Errorf("it is taken for contention: %q", n.note(t))
			}
		})
	}
}
