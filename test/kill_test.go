package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// promises are what a node answered with 200.
type promises struct {
	mu      sync.Mutex
	realms  []string
	secrets []string          // each is the id of its realm, too
	tokens  map[string]string // by the same id
}

func (p *promises) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.realms) + len(p.secrets) + len(p.tokens)
}

func (p *promises) keep(add func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add()
}

// killBench writes into a node and kills it.
type killBench struct {
	*node
	provider *fakeprovider.Provider
	base     string
	promised promises
}

// write posts realms and secrets and asks for tokens until the node does not
// answer any more.
func (b *killBench) write(prefix string) {
	for i := 0; ; i++ {
		id := fmt.Sprint(prefix, "-", i)
		b.provider.SetSecret("app-"+id, "secret-of-"+id)
		realm := wechatRealm(id, b.base)
		// The claim of a call that was under way runs out so much sooner.
		realm["config"].(map[string]any)["limits"] = map[string]any{"timeout": "1s"}
		if status, _ := b.tryPost("/api/realm", realm); status != http.StatusOK {
			return
		}
		b.promised.keep(func() { b.promised.realms = append(b.promised.realms, id) })
		secret := map[string]any{"realm": id, "key": "main", "key_1": "app-" + id, "key_2": "secret-of-" + id}
		if status, _ := b.tryPost("/api/secret", secret); status != http.StatusOK {
			return
		}
		b.promised.keep(func() { b.promised.secrets = append(b.promised.secrets, id) })
		status, answer := b.try(b.admin + "/api/token?key=main&realm=" + id)
		if status != http.StatusOK {
			return
		}
		token := decode[tokenAnswer](b.t, answer).Token
		b.promised.keep(func() { b.promised.tokens[id] = token })
	}
}

// round lets four writers write, kills the node in the middle of it and starts
// it again.
func (b *killBench) round(n int) {
	enough := b.promised.count() + 1 + rand.IntN(60) // #nosec G404 -- a moment, not a key
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { b.write(fmt.Sprintf("r%d-%d", n, w)) })
	}
	eventually(b.t, "the node answers enough", func() bool { return b.promised.count() >= enough })
	b.kill()
	writers.Wait()
	b.start()
}

// check asks for everything that was ever promised. A secret is checked by a
// token: the provider gives none for a wrong one.
func (b *killBench) check() {
	b.t.Helper()
	for _, id := range b.promised.realms {
		realm := decode[map[string]any](b.t, b.get(b.admin+"/api/realm/"+id, http.StatusOK))
		if realm["id"] != id {
			b.t.Errorf("realm %s is %v", id, realm)
		}
	}
	for _, id := range b.promised.secrets {
		got := b.token(id, "main").Token
		if promised, ok := b.promised.tokens[id]; ok && (got != promised || b.provider.Fetches("app-"+id) != 1) {
			b.t.Errorf("the token of %s was lost: %d fetches", id, b.provider.Fetches("app-"+id))
		}
		if !b.provider.Live(got) {
			b.t.Errorf("the token of %s is dead", id)
		}
	}
}

// Whatever was answered with 200 is there after SIGKILL. KILL_ROUNDS is how
// often each store's node is killed.
func TestKilledNodeKeepsWhatItAnswered(t *testing.T) {
	rounds := figure(t, "KILL_ROUNDS", 5)
	for name, on := range map[string]func(*testing.T) store{"sqlite": sqlite, "mariadb and redis": mariaDBAndRedis} {
		t.Run(name, func(t *testing.T) {
			p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat})
			b := &killBench{
				node: launchOn(t, on(t)), provider: p, base: p.Start(t),
				promised: promises{tokens: map[string]string{}},
			}
			for n := range rounds {
				b.round(n)
				b.check()
			}
			if len(b.promised.tokens) == 0 {
				t.Error("no round came as far as a token")
			}
		})
	}
}
