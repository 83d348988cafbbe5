package test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// rotationLease is how long a claim of a rotationRealm lives.
const rotationLease = 5*time.Second + 5*time.Second

// pair is two nodes on one store with a realm of one-time refresh tokens, whose
// failpoints can be set while they run.
type pair struct {
	*fleet
	holder, other member
}

func newPair(t *testing.T, life time.Duration) *pair {
	t.Helper()
	f := launchFleet(t, fleetOptions{nodes: 2, program: withFailpoints(t), provider: fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: life},
		Refresh:     fakeprovider.RefreshRule{Semantics: fakeprovider.Family},
	}})
	f.members[0].post("/api/realm", rotationRealm("rt", f.base, fakeprovider.Family))
	f.authorize()
	f.eventuallyServes(t, rotationAPI)
	return &pair{f, f.members[0], f.members[1]}
}

// rotationAPI is a call with the token of a rotationRealm.
const rotationAPI = "/any/rt/main/v1/things"

// authorize is a person's consent, whose refresh token is stored.
func (f *fleet) authorize() {
	f.members[0].post("/api/secret", map[string]any{
		"realm": "rt", "key": "main", "fields": map[string]any{
			"client_id": "app", "client_secret": "app-secret-01", "refresh_token": f.provider.Authorize("app").Refresh,
		},
	})
}

// stopHolder lets the holder refresh up to a failpoint and stop there; done
// tells when its request has been answered.
func (p *pair) stopHolder(t *testing.T, failpoint string) (done <-chan int) {
	t.Helper()
	file := filepath.Join(p.holder.dir, "failpoint")
	if err := os.WriteFile(file, []byte(failpoint), 0o600); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := p.holder.try(p.holder.admin + "/api/token?realm=rt&key=main&flush=true")
		answered <- status
	}()
	eventually(t, "the node is stopped", func() bool {
		_, err := os.Stat(file)
		return errors.Is(err, os.ErrNotExist)
	})
	return answered
}

// wantOneChain checks by the ledger that no refresh token was spent twice and
// that all nodes use what was issued last.
func (p *pair) wantOneChain(t *testing.T) {
	t.Helper()
	for _, m := range p.members {
		eventually(t, "the nodes use the newest token", func() bool {
			status, body := m.try(m.admin + "/api/token?realm=rt&key=main")
			return status == http.StatusOK && decode[tokenAnswer](t, body).Token == p.provider.Newest()
		})
	}
	reuses, stale := p.provider.Reuses(), p.provider.StaleCalls(rotationLife/2) // see shortLife
	if len(reuses) != 0 || len(stale) != 0 {
		t.Errorf("%d refresh tokens were spent twice, calls with a dead token: %+v", len(reuses), stale)
	}
}

// A node that has claimed and connected sleeps for three leases. Another one
// takes over; the first, awake again, does not send.
func TestSleeperDoesNotSend(t *testing.T) {
	t.Parallel()
	p := newPair(t, rotationLife)
	spent := len(p.provider.Spends())
	asleep := time.Now()
	answered := p.stopHolder(t, "pause:connected")
	eventually(t, "the other node takes over", func() bool {
		_, _ = p.other.try(p.other.proxy + rotationAPI)
		return len(p.provider.Spends()) > spent
	})
	took := time.Since(asleep)
	if took < rotationLease-time.Second {
		t.Errorf("taken over after %v: the claim of the sleeper was not over", took)
	}
	<-time.After(time.Until(asleep.Add(3 * rotationLease)))
	p.holder.resume()
	<-answered
	p.wantOneChain(t)
	t.Logf("sleeper before the request: taken over after %v, %d spends, 0 twice", took.Round(time.Millisecond), len(p.provider.Spends()))
}

// A node that has sent the refresh token sleeps for three leases. While the old
// access token lives nobody sends it again, so that the sleeper's answer still
// counts.
func TestSleepersAnswerCounts(t *testing.T) {
	t.Parallel()
	p := newPair(t, time.Hour)
	answered := p.stopHolder(t, "pause:request_written")
	load := startDemand(t, p.other.proxy+rotationAPI)
	<-time.After(3 * rotationLease)
	if status, body := p.other.try(p.other.admin + "/api/token?realm=rt&key=main&flush=true"); status == http.StatusOK {
		t.Errorf("the other node sent the refresh token again: %s", body)
	}
	p.holder.resume()
	<-answered
	p.wantOneChain(t)
	t.Logf("sleeper after the request: %d calls served meanwhile, %d spends, 0 twice", load.wantAllServed(t), len(p.provider.Spends()))
}

// The claim of a node that was killed before it sent anything runs out, and
// another node goes on.
func TestKilledHolderIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPair(t, rotationLife)
	spent := len(p.provider.Spends())
	answered := p.stopHolder(t, "pause:claimed")
	began := time.Now()
	p.holder.kill()
	<-answered
	eventually(t, "the other node takes over", func() bool {
		status, _ := p.other.try(p.other.proxy + rotationAPI)
		return status == http.StatusOK && len(p.provider.Spends()) > spent
	})
	took := time.Since(began)
	p.holder.start()
	p.wantOneChain(t)
	t.Logf("killed holder: taken over after %v", took.Round(time.Millisecond))
}
