package adminapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/secretscan"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestPrefersMinimal(t *testing.T) {
	for text, want := range map[string]bool{
		"return=minimal": true, "Return = minimal": true, `return="minimal"`: true, "wait=10, return=minimal; x=y": true,
		"": false, "return": false, "return=representation": false, "return=representation, return=minimal": false, "minimal": false, "returns=minimal": false,
	} {
		if got := prefersMinimal(http.Header{"Prefer": {text}}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !prefersMinimal(http.Header{"Prefer": {"respond-async", "return=minimal"}}) {
		t.Error("the second line is not read")
	}
}

// Whoever prefers it gets the answer without the token, whatever brings it.
func TestAnswerWithoutToken(t *testing.T) {
	_, c := newPuppet(t)
	const rest = `"expires_in":7200000,"expires_at":1795356000000,"source":"memory","lineage":0}`
	for name, prefer := range map[string]string{"without": "", "with": "return=minimal"} {
		get := c.send(http.MethodGet, "/api/token?realm=r&key=k", nil, "Prefer", prefer)
		post := c.send(http.MethodPost, "/api/token", strings.NewReader(`{"realm":"r","key":"k","flush":true}`), "Content-Type", "application/json", "Prefer", prefer)
		want, applied := `{"token":"at-1",`+rest, ""
		if prefer != "" {
			want, applied = `{`+rest, prefer
		}
		for _, a := range []answer{get, post} {
			a.ok(want)
			if a.header.Get("Vary") != "Prefer" || a.header.Get("Preference-Applied") != applied {
				t.Errorf("%s: %v", name, a.header)
			}
		}
	}
}

// givers are the routes whose answer may hold a token. All others are tried, too:
// this list is what the test has seen to be so.
var givers = map[string]bool{
	"GET /api/token": true, "POST /api/token": true,
	"POST /{realm}-account/get-access-token": true, "POST /{realm}-account/request-access-token": true, "POST /{realm}-account/refresh-token": true,
}

// A caller in a session gets no token on any route, whatever he prefers. The same
// caller without one does get it on some, so that the test would see it.
func TestSessionsGetNoToken(t *testing.T) {
	const token = "canary-token-canary"
	for _, inSession := range []bool{false, true} {
		s := newServer(t)
		s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"grant":{"name":"static"},"inject":[{"place":"url","name":"t"}],"default_key":"k"}}`)
		s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","token":"`+token+`"}`)
		s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","accounts":{"r":"k"}}`)
		p, puppet := newPuppet(t)
		p.lease.Access, p.company.Accounts = token, map[string]string{"r": "k"}
		who := Caller{Kind: KindAdmin, Login: &testLogin{who: Caller{Kind: KindAdmin}}}
		if inSession {
			who.SessionEnds = noon.Add(time.Hour)
		}
		for _, rt := range routes {
			route := rt.method + " " + rt.path
			try := tries[route]
			if rt.method == http.MethodDelete { // what the others are about stays
				continue
			}
			found := false
			// The real one, and one that has a token for whatever is asked.
			handlers := map[string]http.Handler{"real": s.h}
			if givers[route] {
				handlers["puppet"] = puppet.h
			}
			for name, h := range handlers {
				for _, prefer := range []string{"", "return=representation"} {
					r := httptest.NewRequestWithContext(t.Context(), rt.method, try.target, strings.NewReader(try.body))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Prefer", prefer)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), who)))
					shown := secretscan.Find(fmt.Sprint(w.Header(), w.Body), token) != nil
					found = found || shown
					if inSession && (shown || givers[route] && w.Code >= 300 && name == "puppet") {
						t.Errorf("%s of the %s: %d %s", route, name, w.Code, w.Body)
					}
				}
			}
			if !inSession && found != givers[route] {
				t.Errorf("%s without a session: shows a token: %v", route, found)
			}
		}
	}
}

// What an account's route answers in a session is no body that could be taken for a
// token.
func TestAccountTokenInASession(t *testing.T) {
	p, c := newPuppet(t)
	who := Caller{Kind: KindAdmin, SessionEnds: noon.Add(time.Hour)}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/jd-account/get-access-token?taxpayerId=9111", nil)
	a := c.do(r.WithContext(WithCaller(r.Context(), who)))
	if a.status != http.StatusNoContent || a.body != "" || p.ref != (realm.Ref{Realm: "jd", Key: "acme"}) {
		t.Errorf("%d %q %v", a.status, a.body, p.ref)
	}
}
