package grant

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestRefreshTokenAlone: an answer whose access token cannot be used may hold the
// only refresh token that is good. It is not lost with the access token. That of a
// refusal is nothing to believe.
func TestRefreshTokenAlone(t *testing.T) {
	const inHeader = `{"refresh_token_path":"r","token_header":"X-Token","refresh_semantics":"strict","refresh":{"url":"@/r?r={refresh_token}"}}`
	const inBody = `{"refresh_token_path":"r","token_path":"t","expires_in_path":"e.in","refresh_expires_in_path":"x","refresh_semantics":"strict",
		"success":[{"json":"code","values":[0],"absent":true}],"reauth_on":[{"json":"sub","values":["dead"]}],"refresh":{"url":"@/r?r={refresh_token}"}}`
	for name, c := range map[string]struct {
		config, answer string
		status         int
		want           realm.Hidden
	}{
		"no header field":           {inHeader, `{"r":"REFRESH-2"}`, 200, "REFRESH-2"},
		"no token":                  {inBody, `{"r":"REFRESH-2"}`, 200, "REFRESH-2"},
		"no token, and words":       {inBody, `{"r":"REFRESH-2","access":"T","message":"ok"}`, 200, "REFRESH-2"},
		"a list":                    {inBody, `{"t":["T"],"r":"REFRESH-2"}`, 200, "REFRESH-2"},
		"control characters":        {inBody, `{"t":"a\nb","r":"REFRESH-2"}`, 200, "REFRESH-2"},
		"two tokens":                {inBody, `{"t":"T","t":"U","r":"REFRESH-2"}`, 200, "REFRESH-2"},
		"two expiries":              {inBody, `{"t":"T","r":"REFRESH-2","e":{"in":1,"in":2}}`, 200, "REFRESH-2"},
		"with its end":              {inBody, `{"r":"REFRESH-2","x":3600}`, 200, "REFRESH-2"},
		"the one that was sent":     {inBody, `{"r":"` + oldRefresh + `"}`, 200, oldRefresh},
		"a code":                    {inBody, `{"r":"REFRESH-2","error":"invalid_client"}`, 200, ""},
		"a refusal by its status":   {inBody, `{"r":"REFRESH-2","code":0}`, 400, ""},
		"an unmet rule":             {inBody, `{"r":"REFRESH-2","code":7}`, 200, ""},
		"the refresh token is dead": {inBody, `{"r":"REFRESH-2","sub":"dead"}`, 200, ""},
		"a broken one":              {inBody, `{"r":{"a":"REFRESH-2"}}`, 200, ""},
	} {
		p := newProvider(t, func(w http.ResponseWriter, r *http.Request) { answering(c.status, "application/json", c.answer)(w, r) })
		got, err := bind(t, realmOf(t, c.config, p.URL), client1).Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh})
		failed := new(Error)
		if !errors.As(err, &failed) || got.Token.Access != "" || !got.Token.ExpiresAt.IsZero() {
			t.Errorf("%s: it counts as a token: %v", name, err)
			continue
		}
		if got.Token.Refresh != c.want {
			t.Errorf("%s: the refresh token %q is kept, want %q: %v", name, got.Token.Refresh.Reveal(), c.want.Reveal(), err)
		}
		if hasEnd := !got.Token.RefreshExpiresAt.IsZero(); hasEnd != (name == "with its end") || hasEnd && got.Token.RefreshExpiresAt.Sub(got.Token.IssuedAt) != time.Hour {
			t.Errorf("%s: it ends at %v", name, got.Token.RefreshExpiresAt)
		}
		if isKept := c.want != ""; isKept && (failed.Class != Retryable || got.Token.IssuedAt.IsZero() || got.Token.Fingerprint == (realm.Fingerprint{})) {
			t.Errorf("%s: class %v, %+v", name, failed.Class, got.Token)
		}
	}
}
