package grant

import (
	"strings"
	"testing"
	"time"
)

// TestRefreshToken: what the answer says of a refresh token is kept with the
// access token, and believed only where it is clear.
func TestRefreshToken(t *testing.T) {
	const config = `{"url":"@","token_path":"t","expires_in_path":"e","refresh_token_path":"r","refresh_expires_in_path":"x.re","refresh_expires_in_unit":"epoch_ms"}`
	for _, c := range []struct {
		body, token string
		end         time.Time
		warning     string
	}{
		{`{"t":"T","e":60,"r":"R","x":{"re":1795356000000}}`, "R", time.UnixMilli(1795356000000), ""},
		{`{"t":"T","e":60,"r":"R"}`, "R", time.Time{}, ""},
		{`{"t":"T","e":60,"r":"R","x":{"re":0}}`, "R", time.Time{}, ""},
		{`{"t":"T","e":60,"r":"R","x":{"re":"soon"}}`, "R", time.Time{}, ""},
		{`{"t":"T","e":60,"r":"R","x":{"re":1,"re":2}}`, "R", time.Time{}, ""},
		{`{"t":"T","e":60,"r":"R","x":{"re":99999999999999}}`, "R", time.Time{}, ""},
		{`{"t":"T","e":60}`, "", time.Time{}, ""},
		{`{"t":"T","e":60,"r":null}`, "", time.Time{}, ""},
		{`{"t":"T","e":60,"r":{}}`, "", time.Time{}, "the refresh token is not kept"},
		{`{"t":"T","e":60,"r":"a\nb"}`, "", time.Time{}, "the refresh token is not kept"},
		{`{"t":"T","e":60,"r":"a","r":"b"}`, "", time.Time{}, "the refresh token is not kept"},
	} {
		got, failed := fetchFrom(t, config, answering(200, "", c.body))
		if failed != nil {
			t.Errorf("%s: %v", c.body, failed)
			continue
		}
		warnings := strings.Join(got.Warnings, "\n")
		if got.Token.Refresh.Reveal() != c.token || !got.Token.RefreshExpiresAt.Equal(c.end) || !strings.Contains(warnings, c.warning) || c.warning == "" && warnings != "" {
			t.Errorf("%s: %q until %v, warnings %q", c.body, got.Token.Refresh.Reveal(), got.Token.RefreshExpiresAt, warnings)
		}
	}
}

// TestOnce: a life of zero is not a life without end.
func TestOnce(t *testing.T) {
	got, failed := fetchFrom(t, plainRealm, answering(200, "", `{"access_token":"T","expires_in":0}`))
	if failed != nil || !got.Once || !got.Token.ExpiresAt.Equal(noon) || len(got.Warnings) != 1 {
		t.Errorf("%+v, %v", got, failed)
	}
}
