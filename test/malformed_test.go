package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// fallbackLife is what a token gets whose answer says nothing believable about
// its life, in a realm that says nothing either.
const fallbackLife = 5 * time.Minute

// Every answer that a token endpoint has given somewhere: the token
// is got out, with the life that was said, or there is a clear refusal and
// nothing goes to the API.
func TestMalformedAnswers(t *testing.T) {
	p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat})
	n := launchOn(t, sqlite(t))
	n.keepsSecret(p)
	base := p.Start(t)
	for _, m := range fakeprovider.Malformed() {
		t.Run(m.Name, func(t *testing.T) {
			app := strings.ReplaceAll(m.Name, " ", "-")
			p.SetSecret(app, "secret-of-"+app)
			n.post("/api/realm", wechatRealm(m.Name, base)) // its failure is none of the others'
			n.post("/api/secret", map[string]any{"realm": m.Name, "key": "main", "key_1": app, "key_2": "secret-of-" + app})
			p.Set(fakeprovider.Faults{Answers: []string{m.Name}})
			calls := p.Calls()
			status, body := n.try(n.proxy + "/any/" + strings.ReplaceAll(m.Name, " ", "%20") + "/main/cgi-bin/menu/get")
			if p.Fetches(app) != 1 {
				t.Fatalf("%d fetches, want 1", p.Fetches(app))
			}
			if !m.Usable {
				wantRefusal(t, status, body)
				if p.Calls() != calls {
					t.Error("a call went to the API")
				}
				return
			}
			if status != http.StatusOK || p.CallsWith(p.Newest(app)) != 1 {
				t.Fatalf("the call with the token: %d %s", status, body)
			}
			if m.Life > 0 || strings.HasSuffix(m.Name, "absent") {
				wantLife(t, n.token(m.Name, "main"), m.Life)
			}
		})
	}
	if len(p.DeadCalls()) != 0 {
		t.Errorf("dead calls: %+v", p.DeadCalls())
	}
}

func wantRefusal(t *testing.T, status int, body []byte) {
	t.Helper()
	problem := decode[map[string]any](t, body)
	if status < 502 || status > 504 || problem["code"] != "token_unavailable" || problem["detail"] == "" {
		t.Errorf("got %d %s", status, body)
	}
}

func wantLife(t *testing.T, got tokenAnswer, life time.Duration) {
	t.Helper()
	if life == 0 {
		life = fallbackLife
	}
	left := time.Duration(got.ExpiresIn) * time.Millisecond
	if left > life || left < life-patience {
		t.Errorf("%v are left, want %v", left, life)
	}
}
