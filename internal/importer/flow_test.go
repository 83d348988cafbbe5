package importer

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// jdVOP is an account service's database with an account that JD's API for
// buyers authorized, and its company; and an instance that reaches a fake of
// that.
type jdVOP struct {
	*old
	*instance
	provider *fakeprovider.Provider
	pair     fakeprovider.Pair
}

func newJDVOP(t *testing.T, refresh fakeprovider.RefreshSemantics) *jdVOP {
	t.Helper()
	policy, err := netguard.Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	j := &jdVOP{old: newOld(t, accountTables), instance: instanceWith(t, policy.Dialer(new(net.Dialer)))}
	j.provider = fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.JDVOP, Credentials: map[string]string{"K": canary}, Now: j.clock.now,
		Refresh: fakeprovider.RefreshRule{Semantics: refresh, Life: 30 * 24 * time.Hour},
		Mint:    func(n int64) string { return canary + string(rune('a'+n)) },
	})
	j.pair = j.provider.Authorize("K")
	end := j.clock.now().Add(j.pair.Life)
	j.exec(`INSERT INTO third_account (id, account_type, account, password, access_token, refresh_token, access_token_expires_at, refresh_token_expires_at)
		VALUES (1, 'JD', 'buyer', ?, ?, ?, CONVERT_TZ(FROM_UNIXTIME(?), @@time_zone, '+08:00'), FROM_UNIXTIME(?))`,
		canary, j.pair.Access, j.pair.Refresh, end.Unix(), end.Add(29*24*time.Hour).Unix())
	j.exec("INSERT INTO t_company (id, taxpayer_id, company_name, jd_account) VALUES (1, '9144', '公司', 'Buyer')")
	return j
}

var origin = regexp.MustCompile(`https://open-oauth\.jd\.com`)

// realm posts the realm jd as its preset has it, at the fake, with these shared
// fields.
func (j *jdVOP) realm(base string, shared map[string]string) {
	j.old.t.Helper()
	config, err := presets.Apply(realm.Config{Preset: "jd_vop"})
	if err != nil {
		j.old.t.Fatal(err)
	}
	config.Preset, config.AllowHTTP = "", realm.On
	text, err := json.Marshal(config)
	if err != nil {
		j.old.t.Fatal(err)
	}
	var here map[string]any
	if err := json.Unmarshal(origin.ReplaceAll(text, []byte(base)), &here); err != nil {
		j.old.t.Fatal(err)
	}
	here["shared"] = shared
	body, err := json.Marshal(map[string]any{"id": "jd", "config": here})
	if err != nil {
		j.old.t.Fatal(err)
	}
	j.instance.must(http.MethodPost, "/api/realm", string(body))
}

// token is what a client of the account service is given.
func (j *jdVOP) token() string {
	j.old.t.Helper()
	resp, err := http.Post(j.url+"/jd-account/get-access-token?taxpayerId=9144&timeout=60", "", nil)
	if err != nil {
		j.old.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		j.old.t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
	return string(body)
}

// spent asserts that the imported refresh token alone got the newest token.
func (j *jdVOP) spent(got string) {
	j.old.t.Helper()
	if got != j.provider.Newest() || got == j.pair.Access || !j.provider.Live(got) {
		j.old.t.Errorf("the token is not the newest one")
	}
	spends := j.provider.Spends()
	if len(spends) != 1 || spends[0].Refresh != j.pair.Refresh || j.provider.Authorizations() != 0 || len(j.provider.Reuses()) != 0 {
		j.old.t.Errorf("%d refresh tokens were spent, %d authorizations", len(spends), j.provider.Authorizations())
	}
}

// A client of the account service gets the token that it had there; when that
// has ended, the imported refresh token gets the next one, and nobody has to
// authorize.
func TestAccountServiceGoesOn(t *testing.T) {
	j := newJDVOP(t, fakeprovider.Family)
	j.realm(j.provider.Start(t), j.shared())
	out := j.old.must(j.instance, nil)
	tallied(t, out.Accounts, 1, 0, 0, 0)
	tallied(t, out.Companies, 1, 0, 0, 0)
	if out.Accounts.Tokens != 1 || len(out.Notes) != 1 { // default_key
		t.Errorf("%s", out.printed)
	}
	if got := j.token(); got != j.pair.Access || j.provider.Fetches() != 0 {
		t.Errorf("it is not the imported token; %d token requests", j.provider.Fetches())
	}
	j.clock.advance(j.pair.Life)
	j.spent(j.token())
	j.old.must(j.instance, nil) // which brings nothing back
	j.clock.advance(j.pair.Life)
	if got := j.token(); got != j.provider.Newest() || len(j.provider.Spends()) != 2 || len(j.provider.Reuses()) != 0 {
		t.Errorf("%d refresh tokens were spent, %d twice", len(j.provider.Spends()), len(j.provider.Reuses()))
	}
}

// So it is where the shared fields are filled in after the import.
func TestAccountServiceGoesOnLater(t *testing.T) {
	j := newJDVOP(t, fakeprovider.Family)
	base := j.provider.Start(t)
	j.realm(base, map[string]string{"app_key": "K"})
	out := j.old.must(j.instance, nil)
	out.says(t, `note: account "jd" "buyer": was imported without its access token: `)
	if len(out.Notes) != 2 { // default_key: what recipes of one's own need is not known
		t.Errorf("notes: %v", out.Notes)
	}
	tallied(t, out.Accounts, 1, 0, 0, 0)
	tallied(t, out.Companies, 1, 0, 0, 0)
	j.realm(base, j.shared())
	j.spent(j.token())
}

func (j *jdVOP) shared() map[string]string {
	return map[string]string{
		"app_key": "K", "app_secret": canary, "rsa_key": rsaKey(j.old.t), "redirect_uri": "https://tokens.example.com/jd-account/callback-token",
	}
}
