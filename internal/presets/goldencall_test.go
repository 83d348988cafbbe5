package presets_test

import (
	"cmp"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// checkCall makes a call, and compares what is sent and what is read.
func (s *trial) checkCall(t *testing.T, want goldenCall) {
	t.Helper()
	if want.Recipe == "authorize" {
		s.checkAuthorize(t, want)
		return
	}
	s.provider.answerWith(t, want.Answer)
	got, err := s.obtain(t, want)
	if err != nil {
		t.Errorf("%s: %v", want.Recipe, err)
		return
	}
	s.provider.checkSent(t, want.Recipe, want.Request)
	for _, warning := range got.Warnings {
		t.Errorf("%s warns: %s", want.Recipe, warning)
	}
	s.token = got.Token
	checkText(t, want.Recipe+": token", want.Token, got.Token.Access.Reveal())
	checkText(t, want.Recipe+": refresh_token", want.RefreshToken, got.Token.Refresh.Reveal())
	checkSeconds(t, want.Recipe+": expires_in", want.ExpiresIn, got.Token.ExpiresAt)
	checkSeconds(t, want.Recipe+": refresh_expires_in", want.RefreshExpiresIn, got.Token.RefreshExpiresAt)
}

// obtain makes one of the calls that give a token.
func (s *trial) obtain(t *testing.T, c goldenCall) (grant.Result, error) {
	t.Helper()
	req := grant.Request{Force: c.Force, RefreshToken: goldenRefresh, Kept: s.token.Kept, Parents: s.parents(t)}
	if own := s.bound.SecretRefreshToken(); own != "" {
		req.RefreshToken = own
	}
	switch c.Recipe {
	case "fetch":
		return s.bound.Fetch(t.Context(), s.client, req)
	case "refresh":
		return s.bound.Refresh(t.Context(), s.client, req)
	case "exchange":
		cb := s.callback(t, c)
		req.Kept = s.bound.KeptOf(cb)
		return s.bound.Exchange(t.Context(), s.client, goldenAuthorization(), cb.Code, req)
	}
	t.Fatalf("recipe %q is not fetch, refresh, authorize or exchange", c.Recipe)
	return grant.Result{}, nil
}

// callback is what the browser brings back: the code under the realm's name for
// it, the state, and what else the golden file has.
func (s *trial) callback(t *testing.T, c goldenCall) grant.Callback {
	t.Helper()
	query := url.Values{"state": {goldenState}, cmp.Or(s.config.CodeName, "code"): {goldenCode}}
	for name, value := range c.Callback {
		query.Set(name, value)
	}
	cb, err := grant.ParseCallback(query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return s.bound.ReadCode(cb)
}

// parents are the tokens of other credentials, by the names that the recipes have
// for them.
func (s *trial) parents(t *testing.T) map[realm.Ref]grant.Parent {
	t.Helper()
	parents := make(map[realm.Ref]grant.Parent)
	for name, token := range s.golden.Parents {
		p, err := presets.Get(name)
		if err != nil {
			t.Fatalf("parent %s: %v", name, err)
		}
		var hosts []realm.HostPattern
		for _, host := range p.Hosts() {
			pattern, err := realm.ParseHostPattern(host)
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, pattern)
		}
		parents[realm.Ref{Realm: name}] = grant.Parent{Ref: realm.Ref{Realm: name, Key: "main"}, Token: realm.Hidden(token), Hosts: hosts}
	}
	return parents
}

func goldenAuthorization() grant.Authorization {
	return grant.Authorization{State: goldenState, Verifier: goldenVerifier}
}

// checkAuthorize compares the URL that a person opens; of an unattended realm,
// the request that the server makes, and the code that it gets.
func (s *trial) checkAuthorize(t *testing.T, want goldenCall) {
	t.Helper()
	if !s.program.Unattended() {
		open, err := s.bound.AuthorizeURL(goldenAuthorization(), s.parents(t))
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, "authorize", want.Request, []string{"GET " + open})
		return
	}
	s.provider.answerWith(t, want.Answer)
	cb, err := s.bound.Authorize(t.Context(), s.client, goldenAuthorization(), grant.Request{Parents: s.parents(t)})
	if err != nil {
		t.Fatal(err)
	}
	s.provider.checkSent(t, "authorize", want.Request)
	if cb == nil || cb.Code != goldenCode || cb.State != goldenState {
		t.Errorf("authorize: the callback has not the code %s and the state %s", goldenCode, goldenState)
	}
}

// checkRefusal makes a call that is refused.
func (s *trial) checkRefusal(t *testing.T, want goldenRefusal) {
	t.Helper()
	s.provider.answerWith(t, want.Answer)
	_, err := s.obtain(t, goldenCall{Recipe: want.Recipe})
	var failed *grant.Error
	if !errors.As(err, &failed) {
		t.Errorf("%s: %s is not refused: %v", want.Recipe, want.Answer.Body, err)
		return
	}
	class := failed.Class.String()
	if failed.Kind == grant.KindInvalidGrant {
		class = "reauth"
	}
	if class != want.Class || failed.ProviderCode != want.Code {
		t.Errorf("%s: %s is %s with code %q, want %s with code %q", want.Recipe, want.Answer.Body, class, failed.ProviderCode, want.Class, want.Code)
	}
}

// checkSeconds compares how long something lives.
func checkSeconds(t *testing.T, what string, want int64, end time.Time) {
	t.Helper()
	var got time.Duration
	if !end.IsZero() {
		got = end.Sub(goldenNow)
	}
	if got != time.Duration(want)*time.Second {
		t.Errorf("%s is %v, want %d seconds", what, got, want)
	}
}

// useToken is the token that apps use: that of the last call, or the fixed one.
func (s *trial) useToken(t *testing.T) realm.Token {
	t.Helper()
	if s.program.Fetches() {
		return s.token
	}
	token, err := s.bound.Fixed()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
