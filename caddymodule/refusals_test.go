package caddymodule

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// refused asserts a problem document. With waits, Retry-After is from the one
// number of seconds to the other; 0, 0 stands for none.
func refused(t *testing.T, what string, a answer, status int, code string, least, most int) {
	t.Helper()
	got, detail := problemOf(t, a)
	if a.StatusCode != status || got != code {
		t.Errorf("%s: %s, %s (%s); want %d, %s", what, a.Status, got, detail, status, code)
	}
	text := a.Header.Get("Retry-After")
	seconds, err := strconv.Atoi(text)
	if most == 0 && text != "" || most > 0 && (err != nil || seconds < least || seconds > most) {
		t.Errorf("%s: Retry-After %q, want %d to %d", what, text, least, most)
	}
	if leaks(a.body) != nil {
		t.Errorf("%s: %s", what, a.body)
	}
}

// TestRefusals: why there is no token, as the proxy and as GET /api/token tell
// it.
func TestRefusals(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("spent", "inject query access_token\nlimits {\nwindows 1 1h\n}"), "token_gateway")
	token := func(id string) answer { return i.call(http.MethodGet, "/api/token?realm="+id+"&key=main", "") }
	const hour = 3600

	// A flush over the budget; the token that there is can be had.
	i.must(http.MethodGet, "/api/token?realm=spent&key=main", "")
	refused(t, "a flush", i.call(http.MethodGet, "/api/token?flush=true&realm=spent&key=main", ""), http.StatusTooManyRequests, "budget_spent", hour-60, hour)
	if a := i.get("/spent/main/x"); a.StatusCode != http.StatusOK {
		t.Errorf("after the flush: %s", a.Status)
	}
	// Without one, nobody gets a token.
	secret := `{"realm": "stored", "key": "%s", "key_1": "` + canary + `-x"}`
	i.load("allow_private 127.0.0.1", "token_gateway")
	i.must(http.MethodPost, "/api/realm", p.post("stored", inQuery+`, "limits": {"windows": [{"calls": 1, "per": "1h"}]}`))
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(secret, "first"))
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(secret, "second"))
	i.must(http.MethodGet, "/api/token?realm=stored&key=first", "")
	for range 2 {
		refused(t, "spent", i.get("/stored/second/x"), http.StatusServiceUnavailable, "budget_spent", hour-60, hour)
		refused(t, "spent", i.call(http.MethodGet, "/api/token?realm=stored&key=second", ""), http.StatusServiceUnavailable, "budget_spent", hour-60, hour)
	}

	wrong := p.realm("wrong", "inject query access_token\nlimits {\nbackoff_cap 1h\n}")
	i.load(strings.Replace(wrong, canary+"-secret", "another", 1)+
		p.realm("busy", "inject query access_token")+
		p.realm("slow", "inject query access_token\nlimits {\ntimeout 100ms\n}")+
		p.lapsed("lapsed"), "token_gateway")
	for range 2 {
		refused(t, "lapsed", i.get("/lapsed/main/x"), http.StatusBadGateway, "reauth_required", 0, 0)
		refused(t, "lapsed", token("lapsed"), http.StatusServiceUnavailable, "reauth_required", 1, 1)
	}

	p.busy.Store(true)
	for range 2 { // the first time it was asked, then it is left alone
		refused(t, "busy", i.get("/busy/main/x"), http.StatusServiceUnavailable, "token_unavailable", 25, 30)
		refused(t, "busy", token("busy"), http.StatusServiceUnavailable, "token_unavailable", 25, 30)
	}
	p.busy.Store(false)

	refused(t, "wrong secret", i.get("/wrong/main/x"), http.StatusBadGateway, "token_unavailable", hour-60, hour)
	for range 2 {
		refused(t, "backing off", i.get("/wrong/main/x"), http.StatusServiceUnavailable, "token_unavailable", hour-60, hour)
		refused(t, "backing off", token("wrong"), http.StatusServiceUnavailable, "token_unavailable", hour-60, hour)
	}

	p.hold = make(chan struct{})
	defer close(p.hold)
	refused(t, "slow", i.get("/slow/main/x"), http.StatusGatewayTimeout, "token_unavailable", 1, 1)
	for _, id := range []string{"nobody", "busy"} {
		a := i.get("/" + id + "/nobody/x")
		if code, _ := problemOf(t, a); a.StatusCode != http.StatusNotFound || !strings.HasSuffix(code, "_not_found") {
			t.Errorf("%s: %s %s", id, a.Status, code)
		}
	}
}
