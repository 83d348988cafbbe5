package importer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// accountTables are the account service's: ids of 19 digits, which do not fit
// into a floating-point number, and times in three types.
const accountTables = `
CREATE TABLE t_company (id BIGINT UNSIGNED PRIMARY KEY, company_name VARCHAR(100), Taxpayer_ID VARCHAR(32), company_phone VARCHAR(32),
	company_registered_address VARCHAR(200), bank_name VARCHAR(100), bank_account VARCHAR(64), jd_account VARCHAR(64), sn_account VARCHAR(64))
	CHARSET gbk;
CREATE TABLE third_account (id BIGINT PRIMARY KEY, account_type VARCHAR(8), account VARCHAR(64), password VARCHAR(64),
	access_token VARCHAR(2000), refresh_token MEDIUMTEXT, access_token_expires_at DATETIME, refresh_token_expires_at TIMESTAMP NULL,
	sn_account VARCHAR(64)) CHARSET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE TABLE tokens_company (id BIGINT PRIMARY KEY, taxpayer_id VARCHAR(32), company_name VARCHAR(100));`

const firstID = 1234567890123456000

func newAccounts(t *testing.T, n int) *old {
	o := newOld(t, accountTables)
	o.exec(fmt.Sprintf(`INSERT INTO third_account (id, account_type, account, password, access_token, refresh_token, access_token_expires_at, refresh_token_expires_at)
		SELECT %d + seq, IF(seq %% 2, 'jd', 'sn'), CONCAT('acc', seq), CONCAT('%[2]s-pw-', seq), CONCAT('%[2]s-at-', seq), CONCAT('%[2]s-rt-', seq),
			CONVERT_TZ(FROM_UNIXTIME(?), @@time_zone, '+08:00'), FROM_UNIXTIME(?)
		FROM seq_1_to_%[3]d`, firstID, canary, n), later.Unix(), later.Unix()+1)
	o.exec(fmt.Sprintf(`INSERT INTO t_company (id, company_name, taxpayer_id, company_phone, bank_name, bank_account, jd_account, sn_account)
		SELECT %d + seq, CONCAT('公司', seq), CONCAT('9144', seq), '', '招商银行', '6225', CONCAT('acc', seq * 2 - 1), CONCAT('acc', seq * 2)
		FROM seq_1_to_%d`, firstID, n/2))
	return o
}

// Accounts become secrets of the realms that their types name, with both
// tokens; companies name their accounts.
func TestAccountService(t *testing.T) {
	o, i := newAccounts(t, 600), newInstance(t)
	before := o.checksums("third_account", "t_company")
	// Which zone the session is in must not matter.
	out := o.must(i, func(opts *Options) { opts.DSN += "?time_zone=%27%2B05%3A00%27" })
	tallied(t, out.Realms, 2, 0, 0, 0)
	tallied(t, out.Accounts, 600, 0, 0, 0)
	tallied(t, out.Companies, 300, 0, 0, 0)
	if out.Secrets != nil {
		t.Errorf("secrets: %+v", out.Secrets)
	}
	for id, preset := range map[string]string{"jd": "jd_vop", "sn": "suning"} {
		_, shown := i.get("/api/realm/" + id)
		if want := map[string]any{"preset": preset}; !reflect.DeepEqual(shown["config"], want) {
			t.Errorf("%s: %v", id, shown["config"])
		}
		want := `note: realm "` + id + `": fill in config.shared, from the account service's configuration file: app_key, app_secret, rsa_key, redirect_uri`
		if !strings.Contains(out.printed, want) {
			t.Errorf("the report does not say %q:\n%s", want, out.printed)
		}
	}
	for _, n := range []int{1, 2, 100, 101, 599, 600} {
		ref := realm.Ref{Realm: []string{"sn", "jd"}[n%2], Key: fmt.Sprintf("acc%d", n)}
		want := map[string]string{"username": ref.Key, "password": fmt.Sprintf("%s-pw-%d", canary, n)}
		if got := i.stored(ref.Realm, ref.Key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", ref, got)
		}
		if got, want := i.refresh[ref], (postedToken{fmt.Sprintf("%s-rt-%d", canary, n), later.Unix()*1000 + 1000}); got != want {
			t.Errorf("%s: the refresh token is %v, want %v", ref, got, want)
		}
		if got, want := i.tokens[ref], (postedToken{fmt.Sprintf("%s-at-%d", canary, n), later.UnixMilli()}); got != want {
			t.Errorf("%s: the token is %v, want %v", ref, got, want)
		}
	}
	var company map[string]any
	if err := json.Unmarshal(i.companies["91447"], &company); err != nil {
		t.Fatal(err)
	}
	if want := map[string]any{
		"taxpayer_id": "91447", "company_name": "公司7", "bank_name": "招商银行", "bank_account": "6225",
		"accounts": map[string]any{"jd": "acc13", "sn": "acc14"},
	}; !reflect.DeepEqual(company, want) {
		t.Errorf("company: %v", company)
	}

	posts := i.postCount()
	out = o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Accounts, 0, 0, 600, 0)
	tallied(t, out.Companies, 0, 0, 300, 0)
	if i.postCount() != posts {
		t.Errorf("the second run posts %d times", i.postCount()-posts)
	}
	if after := o.checksums("third_account", "t_company"); after != before {
		t.Errorf("the old tables changed:\n%s%s", before, after)
	}
}

func TestAccountEdges(t *testing.T) {
	o, i := newOld(t, accountTables), newInstance(t)
	o.exec("ALTER TABLE third_account MODIFY access_token_expires_at BIGINT")
	o.exec(`INSERT INTO third_account (id, account_type, account, password, access_token, refresh_token, access_token_expires_at, refresh_token_expires_at) VALUES
		(1, 'JD', 'Foo', ?, ?, ?, ?, NULL), (2, 'jd', 'ended', ?, ?, ?, 1000, '2020-01-01 00:00:00'), (3, 'jd', 'Foo', ?, NULL, NULL, NULL, NULL),
		(4, 'tb', 'k', ?, NULL, NULL, NULL, NULL), (5, NULL, 'k', ?, NULL, NULL, NULL, NULL), (6, 'jd', '', ?, NULL, NULL, NULL, NULL),
		(7, 'jd', 'nulls', NULL, NULL, NULL, NULL, NULL), (8, 'jd', 'long', ?, NULL, REPEAT(?, 7000), NULL, NULL)`,
		canary, canary, canary, later.UnixMilli(), canary, canary, canary, canary, canary, canary, canary, canary, canary)
	o.exec(`INSERT INTO t_company (id, taxpayer_id, company_name, jd_account, sn_account) VALUES
		(1, 'a/b', 'one', 'foo', NULL), (2, 'A/B', 'two', 'nobody', ''), (3, 'a/b', 'again', NULL, NULL), (4, NULL, 'none', NULL, NULL)`)
	i.must(http.MethodPost, "/api/realm", `{"id":"jd","config":{"preset":"own","default_key":"Foo","shared":{"app_key":"x","rsa_key":"y"}}}`)
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 1, 0)
	tallied(t, out.Accounts, 3, 0, 0, 5)
	tallied(t, out.Companies, 2, 0, 0, 2)
	for _, want := range []string{
		`failed: account "jd" "Foo": account: is in the table twice`, `failed: account "tb" "k": account_type: there is no realm "tb"`,
		`failed: account "k": realm: is required`, `failed: account "jd" "": key: is required`, `failed: account "jd" "long": refresh_token: is longer than 64 KiB`,
		`failed: company "a/b": taxpayer_id: is in the table twice`, `failed: company "": taxpayer_id: is required`,
		`note: company "A/B": names the jd account "nobody"`, `configuration file: app_secret, redirect_uri` + "\n",
	} {
		if !strings.Contains(out.printed, want) {
			t.Errorf("the report does not say %q:\n%s", want, out.printed)
		}
	}
	if strings.Contains(out.printed, "default_key") {
		t.Errorf("there is a default key: %s", out.printed)
	}
	if got := i.refresh[realm.Ref{Realm: "jd", Key: "Foo"}]; got != (postedToken{token: canary}) {
		t.Errorf("a refresh token without an end became %v", got)
	}
	if _, ok := i.refresh[realm.Ref{Realm: "jd", Key: "ended"}]; ok {
		t.Error("a refresh token that has ended was imported")
	}
	if _, shown := i.get("/api/company/a%2Fb"); !reflect.DeepEqual(shown["accounts"], map[string]any{"jd": "Foo"}) {
		t.Errorf("company: %v", shown)
	}
}

// What a person changed in a company is left alone.
func TestExistingCompany(t *testing.T) {
	o, i := newAccounts(t, 4), newInstance(t)
	o.must(i, nil)
	i.companies["91441"] = json.RawMessage(`{"taxpayer_id":"91441","company_name":"edited","accounts":{"jd":"acc1"}}`)
	out := o.must(i, nil)
	tallied(t, out.Companies, 0, 0, 2, 0)
	if !strings.Contains(out.printed, `note: company "91441": exists already and differs`) {
		t.Errorf("report: %s", out.printed)
	}
	tallied(t, o.must(i, func(opts *Options) { opts.Overwrite = true }).Companies, 0, 1, 1, 0)
	if !strings.Contains(string(i.companies["91441"]), "公司1") {
		t.Errorf("company: %s", i.companies["91441"])
	}
}
