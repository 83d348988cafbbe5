package importer

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
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

// complete makes the realms of the accounts as their presets want them.
func complete(t *testing.T, i *instance) {
	t.Helper()
	for id, preset := range map[string]string{"jd": "jd_vop", "sn": "suning"} {
		i.must(http.MethodPost, "/api/realm", realmOf(t, id, preset, ""))
	}
}

// realmOf is a realm with the shared fields of its preset, but for one.
func realmOf(t *testing.T, id, preset, lacks string) string {
	t.Helper()
	shared := map[string]string{}
	for _, name := range sharedFields[preset] {
		shared[name] = map[string]string{"rsa_key": rsaKey(t), "redirect_uri": "https://tokens.example.com/callback"}[name]
		if shared[name] == "" {
			shared[name] = canary
		}
	}
	delete(shared, lacks)
	body, err := json.Marshal(map[string]any{"id": id, "config": map[string]any{"preset": preset, "shared": shared}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// oneKey is one for all tests: to make it takes a moment.
var oneKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t *testing.T) string {
	t.Helper()
	key, err := oneKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// Accounts become secrets of the realms that their types name, with both
// tokens; companies name their accounts.
func TestAccountService(t *testing.T) {
	o, i := newAccounts(t, 600), newInstance(t)
	complete(t, i)
	before := o.checksums("third_account", "t_company")
	// Which zone the session is in must not matter.
	out := o.must(i, func(opts *Options) { opts.DSN += "?time_zone=%27%2B05%3A00%27" })
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Accounts, 600, 0, 0, 0)
	tallied(t, out.Companies, 300, 0, 0, 0)
	if out.Secrets != nil || out.Accounts.Tokens != 600 {
		t.Errorf("secrets %+v, accounts %+v", out.Secrets, out.Accounts)
	}
	if len(out.Notes) != 2 || !strings.Contains(out.printed, `note: realm "sn": set config.default_key`) {
		t.Errorf("notes: %v", out.Notes)
	}
	for _, n := range []int{1, 2, 100, 101, 599, 600} {
		ref := realm.Ref{Realm: []string{"sn", "jd"}[n%2], Key: fmt.Sprintf("acc%d", n)}
		want := map[string]string{"username": ref.Key, "password": fmt.Sprintf("%s-pw-%d", canary, n)}
		if got := i.stored(ref.Realm, ref.Key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", ref, got)
		}
		tokens := imported{fmt.Sprintf("%s-at-%d", canary, n), fmt.Sprintf("%s-rt-%d", canary, n), later.UnixMilli(), later.UnixMilli() + 1000}
		if got := i.imported(ref.Realm, ref.Key); got != tokens {
			t.Errorf("%s: %v, want %v", ref, got, tokens)
		}
	}
	_, company := i.get("/api/company/91447")
	for _, of := range []string{"id", "created_at", "updated_at"} {
		delete(company, of)
	}
	if want := map[string]any{
		"taxpayer_id": "91447", "company_name": "公司7", "company_phone": "", "company_registered_address": "",
		"bank_name": "招商银行", "bank_account": "6225", "accounts": map[string]any{"jd": "acc13", "sn": "acc14"},
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

// Without the shared fields of its realm, which no table has, an account comes
// with its refresh token, and the report says what is missing.
func TestWithoutSharedFields(t *testing.T) {
	o, i := newAccounts(t, 4), newInstance(t)
	o.exec("UPDATE third_account SET refresh_token = NULL WHERE account = 'acc3'")
	out := o.must(i, nil)
	tallied(t, out.Realms, 2, 0, 0, 0)
	tallied(t, out.Accounts, 4, 0, 0, 0)
	tallied(t, out.Companies, 2, 0, 0, 0)
	if out.Accounts.Tokens != 0 {
		t.Errorf("%d access tokens", out.Accounts.Tokens)
	}
	for id, preset := range map[string]string{"jd": "jd_vop", "sn": "suning"} {
		_, shown := i.get("/api/realm/" + id)
		if want := map[string]any{"preset": preset}; !reflect.DeepEqual(shown["config"], want) {
			t.Errorf("%s: %v", id, shown["config"])
		}
	}
	out.says(t,
		`note: realm "jd": fill in config.shared, from the account service's configuration file: app_key, app_secret, redirect_uri, rsa_key; until then`,
		`note: realm "sn": fill in config.shared, from the account service's configuration file: app_key, app_secret, itemcode, redirect_uri; until then`,
		`note: account "jd" "acc1": was imported without its access token: token: cannot be imported: `,
		`; its refresh token gets another one as soon as that is put right`,
		`note: account "jd" "acc3": was imported without its access token: token: cannot be imported: `,
		`; put that right, delete it here and run the import again, or have another token fetched`,
	)
	if got, want := i.imported("jd", "acc1"), (imported{refresh: canary + "-rt-1", refreshEnd: later.UnixMilli() + 1000}); got != want {
		t.Errorf("acc1: %v", got)
	}
	if got := i.imported("jd", "acc3"); got != (imported{}) || i.stored("jd", "acc3")["password"] != canary+"-pw-3" {
		t.Errorf("acc3: %v", got)
	}

	// To overwrite tokens that cannot be written is a failure, where nothing
	// else is to be written.
	out = o.must(i, func(opts *Options) { opts.OverwriteTokens = true })
	tallied(t, out.Accounts, 0, 3, 0, 1)
	out.says(t, `failed: account "jd" "acc3": token: cannot be imported: `)
	complete(t, i)
	i.remove("jd", "acc3")
	out = o.must(i, nil)
	tallied(t, out.Accounts, 1, 0, 3, 0)
	if got, want := i.imported("jd", "acc3"), (imported{access: canary + "-at-3", accessEnd: later.UnixMilli()}); got != want {
		t.Errorf("acc3: %v", got)
	}
}

// The report names every shared field without which a preset's realm takes no
// access token, and no other.
func TestSharedFieldsOfPresets(t *testing.T) {
	for name, fields := range sharedFields {
		p, err := presets.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		var shared []string
		for _, f := range p.Fields {
			if f.Shared {
				shared = append(shared, f.Name)
			}
		}
		if slices.Sort(shared); !slices.Equal(fields, shared) {
			t.Fatalf("%s shares %v, and the report knows %v", name, shared, fields)
		}
	}
	o, i := newOld(t, accountTables), newInstance(t)
	o.exec("ALTER TABLE third_account MODIFY account_type VARCHAR(64)")
	realms := map[string]string{} // what each lacks
	for preset, fields := range sharedFields {
		for _, lacks := range append([]string{""}, fields...) {
			id := strings.TrimSuffix(preset+"-"+lacks, "-")
			realms[id] = lacks
			i.must(http.MethodPost, "/api/realm", realmOf(t, id, preset, lacks))
			o.exec(`INSERT INTO third_account (id, account_type, account, password, access_token, access_token_expires_at) VALUES (?, ?, 'a', 'p', ?,
				CONVERT_TZ(FROM_UNIXTIME(?), @@time_zone, '+08:00'))`, len(realms), id, canary, later.Unix())
		}
	}
	out := o.must(i, nil)
	tallied(t, out.Accounts, len(realms), 0, 0, 0)
	for id, lacks := range realms {
		if got := i.imported(id, "a").access; (got == canary) != (lacks == "") {
			t.Errorf("%s: the token is %q", id, got)
		}
		note := fmt.Sprintf("note: realm %q: fill in config.shared, from the account service's configuration file: ", id)
		if strings.Contains(out.printed, note) != (lacks != "") || !strings.Contains(out.printed, note+lacks+";") && lacks != "" {
			t.Errorf("%s: %s", id, out.printed)
		}
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
	i.must(http.MethodPost, "/api/realm", `{"id":"jd","config":{"preset":"jd_vop","default_key":"Foo","shared":{"app_key":"x","rsa_key":"y"}}}`)
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 1, 0)
	tallied(t, out.Accounts, 3, 0, 0, 5)
	tallied(t, out.Companies, 2, 0, 0, 2)
	out.says(t,
		`failed: account "jd" "Foo": account: is in the table twice`, `failed: account "tb" "k": account_type: there is no realm "tb"`,
		`failed: account "k": realm: is required`, `failed: account "jd" "": key: is required`, `failed: account "jd" "long": refresh_token: is longer than 64 KiB`,
		`failed: company "a/b": taxpayer_id: is in the table twice`, `failed: company "": taxpayer_id: is required`,
		`note: company "A/B": names the jd account "nobody"`, `configuration file: app_secret, redirect_uri;`,
	)
	if strings.Contains(out.printed, "default_key") {
		t.Errorf("there is a default key: %s", out.printed)
	}
	if got := i.imported("jd", "Foo"); got != (imported{refresh: canary}) {
		t.Errorf("a refresh token without an end became %v", got)
	}
	if got := i.imported("jd", "ended"); got != (imported{}) {
		t.Errorf("tokens that have ended were imported: %v", got)
	}
	if _, shown := i.get("/api/company/a%2Fb"); !reflect.DeepEqual(shown["accounts"], map[string]any{"jd": "Foo"}) {
		t.Errorf("company: %v", shown)
	}
}

// Blanks around what a person typed into the old tables are no part of it.
func TestBlanks(t *testing.T) {
	o, i := newOld(t, accountTables), newInstance(t)
	complete(t, i)
	o.exec("INSERT INTO third_account (id, account_type, account, password) VALUES (1, ' JD ', 'Bar', ?)", canary)
	o.exec("INSERT INTO t_company (id, taxpayer_id, company_name, jd_account) VALUES (1, ' 9144\t', 'one', 'bar'), (2, '9144', 'two', NULL), (3, ' ', 'three', NULL)")
	out := o.must(i, nil)
	tallied(t, out.Accounts, 1, 0, 0, 0)
	tallied(t, out.Companies, 1, 0, 0, 2)
	out.says(t, `failed: company "9144": taxpayer_id: is in the table twice`, `failed: company "": taxpayer_id: is required`)
	if _, shown := i.get("/api/company/9144"); shown["company_name"] != "one" || !reflect.DeepEqual(shown["accounts"], map[string]any{"jd": "Bar"}) {
		t.Errorf("company: %v", shown)
	}
}

// What a person changed in a company is left alone, or overwritten; what the
// old table does not know of is left alone in any case.
func TestExistingCompany(t *testing.T) {
	o, i := newAccounts(t, 4), newInstance(t)
	o.must(i, nil)
	i.must(http.MethodPost, "/api/realm", `{"id":"tb","config":{"grant":{"name":"static"}}}`)
	i.must(http.MethodPost, "/api/company", `{"taxpayer_id":"91442","accounts":{"tb":"own"}}`)
	i.must(http.MethodPost, "/api/company", `{"taxpayer_id":"91441","company_name":"edited","company_phone":"110","accounts":{"sn":null,"tb":"own"}}`)
	o.exec("UPDATE t_company SET jd_account = NULL WHERE taxpayer_id = '91441'")
	out := o.must(i, nil)
	tallied(t, out.Companies, 0, 0, 2, 0)
	out.says(t, `note: company "91441": exists already and differs`)
	tallied(t, o.must(i, func(opts *Options) { opts.Overwrite = true }).Companies, 0, 1, 1, 0)
	_, c := i.get("/api/company/91441")
	if c["company_name"] != "公司1" || c["company_phone"] != "" || !reflect.DeepEqual(c["accounts"], map[string]any{"sn": "acc2", "tb": "own"}) {
		t.Errorf("company: %v", c)
	}
	if out := o.must(i, nil); len(out.Notes) != 4 { // of the realms
		t.Errorf("notes: %v", out.Notes)
	}
}

// Companies may name accounts of a type that no account is of: its realm is
// made for them.
func TestCompaniesAlone(t *testing.T) {
	o, i := newAccounts(t, 4), newInstance(t)
	o.exec("DROP TABLE third_account")
	o.exec("UPDATE t_company SET sn_account = ''")
	out := o.must(i, nil)
	tallied(t, out.Realms, 1, 0, 0, 0)
	tallied(t, out.Companies, 2, 0, 0, 0)
	if status, _ := i.get("/api/realm/sn"); status != http.StatusNotFound {
		t.Errorf("a realm that nobody names: %d", status)
	}
	if _, c := i.get("/api/company/91442"); !reflect.DeepEqual(c["accounts"], map[string]any{"jd": "acc3"}) {
		t.Errorf("company: %v", c)
	}
}
