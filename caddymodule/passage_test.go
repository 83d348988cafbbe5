package caddymodule

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// newPassage begins a request of a client that may have one under way, and
// returns what revokes the client.
func newPassage(t *testing.T) (p *passage, client *access.Client, revoke func()) {
	t.Helper()
	key, digest := access.NewKey()
	view, err := access.NewRegistry(access.RegistryConfig{}).View(access.ViewConfig{Clients: []tokenstore.Client{{
		ID: "app", Keys: []tokenstore.ClientKey{{Digest: digest}}, Limits: tokenstore.ClientLimits{Concurrency: 1},
		Rules: []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"*"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	client, err = view.Identify(access.Caller{Key: key.Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	p, refused := beginPassage(t.Context(), caller{client: client})
	if refused != nil {
		t.Fatal(refused)
	}
	return p, client, view.Close
}

// TestPassageIsCancelled: what waits for the end of a client's request is told
// that the client was revoked, however late it began to wait.
func TestPassageIsCancelled(t *testing.T) {
	for name, late := range map[string]time.Duration{"from the beginning": 0, "begun long after": 10 * watchDelay} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _, revoke := newPassage(t)
				defer p.end()
				time.Sleep(late)
				ctx, cancel := context.WithCancel(p)
				defer cancel()
				if ctx.Err() != nil || p.Err() != nil || isRevoked(p) {
					t.Fatal("it ended before its time")
				}
				revoke()
				began := time.Now()
				<-ctx.Done()
				if took := time.Since(began); took > watchDelay {
					t.Errorf("it took %s", took)
				}
				if !isRevoked(ctx) || !isRevoked(p) || !errors.Is(p.Err(), context.Canceled) {
					t.Errorf("got %v, %v", context.Cause(ctx), p.Err())
				}
			})
		})
	}
}

// TestPassageEnds: the end of a request ends what was begun for it, also what is
// begun afterwards, and counts once.
func TestPassageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, isWatched := range []bool{true, false} {
			p, client, _ := newPassage(t)
			if isWatched && p.Err() != nil {
				t.Fatal(p.Err())
			}
			if client.Begin(time.Now()) == nil {
				t.Fatal("it does not count while it is under way")
			}
			p.end()
			p.end()
			if client.Begin(time.Now()) != nil || client.Begin(time.Now()) == nil {
				t.Error("its end did not count once")
			}
			select {
			case <-p.Done():
			default:
				t.Error("it goes on")
			}
			if !errors.Is(p.Err(), context.Canceled) || isRevoked(p) {
				t.Errorf("got %v, %v", p.Err(), context.Cause(p))
			}
		}
	})
}

// TestPassageEndsWithItsRequest: a caller that goes away ends it, too.
func TestPassageEndsWithItsRequest(t *testing.T) {
	_, client, _ := newPassage(t)
	client.End()
	came, leave := context.WithCancel(t.Context())
	p, refused := beginPassage(came, caller{client: client})
	if refused != nil {
		t.Fatal(refused)
	}
	defer p.end()
	leave()
	<-p.Done()
	if !errors.Is(p.Err(), context.Canceled) {
		t.Error(p.Err())
	}
}
