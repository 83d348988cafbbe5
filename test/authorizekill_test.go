package test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// authorizePoints are the moments of an authorization by the server itself at
// which a node is killed. What is named without a number comes first in the
// authorize request; with ":2" it is of the exchange.
var authorizePoints = []string{
	"before_claim", "authorization_begun", "connected", "request_written", "answer_begun",
	"state_taken", "code_claimed", "connected:2", "request_written:2", "answer_begun:2",
	"spooled", "saved", "published",
}

const vopCallback = "https://tokens.example.com/jd-account/callback-token"

// newVOPFleet is two nodes with JD's buyers' API, which logs in for its user.
func newVOPFleet(t *testing.T) *fleet {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := launchFleet(t, fleetOptions{
		nodes: 2, program: withFailpoints(t), provider: vopOptions(vopCallback, &key.PublicKey, fakeprovider.CodeRule{}),
	})
	f.members[0].post("/api/realm", map[string]any{"id": "jd", "config": vopRealm(t, f.base, vopCallback, key)})
	return f
}

// vopOptions are a fake of JD with one buyer.
func vopOptions(callback string, key *rsa.PublicKey, codes fakeprovider.CodeRule) fakeprovider.Options {
	return fakeprovider.Options{
		Style: fakeprovider.JDVOP, Credentials: map[string]string{"app": "app-secret-01"}, Users: map[string]string{"buyer": "password-01"},
		Redirects: map[string]string{"app": callback}, Keys: map[string]*rsa.PublicKey{"app": key}, Codes: codes,
		Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict, Life: time.Hour}, Quotas: []fakeprovider.Quota{},
	}
}

// vopRealm is what the preset says, at a fake of JD.
func vopRealm(t *testing.T, base, callback string, key *rsa.PrivateKey) (config map[string]any) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := presets.Apply(realm.Config{Preset: "jd_vop"})
	if err != nil {
		t.Fatal(err)
	}
	c.Preset, c.AllowHTTP, c.Limits.Timeout = "", realm.On, realm.Duration(2*time.Second)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	config = decode[map[string]any](t, []byte(strings.ReplaceAll(string(text), "https://open-oauth.jd.com", base)))
	config["shared"] = map[string]string{
		"app_key": "app", "app_secret": "app-secret-01", "redirect_uri": callback, "rsa_key": base64.StdEncoding.EncodeToString(pkcs8),
	}
	return config
}

// askToDeath makes an account and asks the node for its token, which kills it.
// Nodes look for new accounts themselves, now and then: where the other one was
// faster, the next account does it.
func askToDeath(killed, other member, account string) (ask string) {
	killed.t.Helper()
	for n := range 5 {
		key := fmt.Sprint(account, "-", n)
		other.post("/api/secret", map[string]any{
			"realm": "jd", "key": key, "fields": map[string]any{"username": "buyer", "password": "password-01"},
		})
		ask = "/api/token?realm=jd&key=" + key
		status, body := killed.try(killed.admin + ask)
		if status == 0 {
			return ask
		}
		killed.t.Logf("the node lives and says %d %s", status, body)
	}
	killed.t.Fatal("the node does not die")
	return ""
}

// Killed at each moment of an authorization, a node sends no code twice, and
// another one has a token when the claim has run out. AUTHORIZE_KILLS is how
// often it is killed at each point.
func TestKilledAtEachPointOfAnAuthorization(t *testing.T) {
	t.Parallel()
	f := newVOPFleet(t)
	killed, other := f.members[0], f.members[1]
	killed.kill()
	var slowest time.Duration
	kills := figure(t, "AUTHORIZE_KILLS", 1)
	for i := range kills * len(authorizePoints) {
		point := authorizePoints[i%len(authorizePoints)]
		killed.start("TOKENS_FAILPOINT=" + point)
		ask := askToDeath(killed, other, fmt.Sprint("account-", i))
		killed.waitEnd()
		began := time.Now()
		var token string
		eventually(t, point+": the other node has a token", func() bool {
			status, body := other.try(other.admin + ask)
			if status == http.StatusOK {
				token = decode[tokenAnswer](t, body).Token
			}
			return status == http.StatusOK
		})
		took := time.Since(began)
		slowest = max(slowest, took)
		if !f.provider.Live(token) || len(f.provider.CodeReuses()) != 0 {
			t.Fatalf("%s: token %d, codes sent again %+v", point, f.provider.Rank(token), f.provider.CodeReuses())
		}
	}
	t.Logf("killed %d times while authorizing: %d codes, none sent twice, the other node served after at most %v",
		kills*len(authorizePoints), len(f.provider.Codes()), slowest.Round(time.Millisecond))
}
