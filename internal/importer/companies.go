package importer

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const companyCollection = "/api/company"

// companyFields are a company's own columns; they have the same names in the
// API.
var companyFields = []string{"company_name", "company_phone", "company_registered_address", "bank_name", "bank_account"}

// companies imports the account service's companies.
func (r *run) companies(ctx context.Context) error {
	t := r.tables.company
	if t == nil {
		return nil
	}
	tally := &Tally{kind: "companies"}
	r.report.Companies = tally
	fields := t.only(slices.Clone(companyFields)...)
	sel := selection{table: t, columns: append(slices.Clone(fields), "taxpayer_id")}
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(r.Presets)), func(id string) bool { return !t.has(id + "_account") })
	if err := r.companyRealms(ctx, t, ids); err != nil {
		return err
	}
	for _, id := range ids {
		sel.columns = append(sel.columns, id+"_account")
		if accounts := r.tables.account; accounts != nil {
			sel.found = append(sel.found, spelledAccount(accounts, id))
		}
	}
	return r.each(ctx, sel, taxpayerID, func(ctx context.Context, line row) error {
		s := Subject{Kind: "company", ID: taxpayerID(line)}
		what, err := r.company(ctx, s, line, fields, ids)
		return r.ledger.record(tally, s, what, 0, err)
	})
}

// taxpayerID is a company's, without the blanks that somebody typed around it:
// the API has none in it, and MySQL sees none behind it.
func taxpayerID(line row) string { return strings.TrimSpace(line.text("taxpayer_id")) }

// companyRealms makes the realms of accounts that companies name, and that no
// row of the accounts is of: the API takes no account of a realm that it does
// not have.
func (r *run) companyRealms(ctx context.Context, t *table, ids []string) error {
	var missing []string
	for _, id := range ids {
		if _, ok := r.known.Load(id); ok || r.noRealm[id] != nil {
			continue
		}
		column := quote(id + "_account")
		err := r.source.query(ctx, "look for accounts of "+id, "SELECT 1 FROM "+quote(t.name)+" WHERE "+column+" <> '' LIMIT 1",
			func(func(...any) error) error { missing = append(missing, id); return nil })
		if err != nil {
			return err
		}
	}
	return r.makeRealms(ctx, missing)
}

// spelledAccount looks a company's account up as the account service did, so
// that it is named here as its own row spells it.
func spelledAccount(accounts *table, id string) lookup {
	cond, exact := accounts.columns["account"].same("a.`account`", "t."+quote(id+"_account"))
	return lookup{
		as: spelledAs(id),
		sql: "SELECT a.`account` FROM " + quote(accounts.name) + " a WHERE TRIM(a.`account_type`) = ? AND " + cond +
			" ORDER BY " + exact + " LIMIT 1",
		args: []any{id},
	}
}

func spelledAs(id string) string { return "\x00account of " + id }

func (r *run) company(ctx context.Context, s Subject, line row, fields, ids []string) (outcome, error) {
	// It stands in a path, as the ids of realms do.
	if err := realm.ValidateID("taxpayer_id", s.ID); err != nil {
		return failed, err
	}
	if err := line.check(); err != nil {
		return failed, err
	}
	if _, twice := r.seen.LoadOrStore(s, true); twice {
		return failed, realm.Fieldf("taxpayer_id", "is in the table twice; the first row was taken")
	}
	want := companyShown{TaxpayerID: s.ID, Fields: map[string]string{}, Accounts: map[string]string{}}
	for _, name := range fields {
		want.Fields[name] = line.text(name)
	}
	for _, id := range ids {
		want.Accounts[id] = r.accountOf(s, line, id)
	}
	d := want.document()
	it := item{
		subject: s, path: companyCollection + "/" + url.PathEscape(s.ID), collection: companyCollection, create: d,
		differs: func(shown []byte) bool { return !want.isShown(shown) },
	}
	if r.Overwrite {
		it.update = d
	}
	_, what, err := r.importItem(ctx, it)
	return what, err
}

// accountOf is the key of a company's account in a realm.
func (r *run) accountOf(s Subject, line row, id string) string {
	named, spelled := line.text(id+"_account"), line.text(spelledAs(id))
	if spelled != "" {
		return spelled
	}
	if named != "" && r.tables.account != nil {
		r.ledger.note(s, "names the %s account %q, and there is none in the table of accounts", id, named)
	}
	return named
}

// companyShown is what the old table says of a company, "" where it has none.
// Other accounts are not its business.
type companyShown struct {
	TaxpayerID string
	Fields     map[string]string
	Accounts   map[string]string
}

// document has what is empty as well, which clears it.
func (c companyShown) document() document {
	d := document{"taxpayer_id": c.TaxpayerID, "accounts": c.Accounts}
	for name, text := range c.Fields {
		d[name] = text
	}
	return d
}

// isShown compares with what the API shows. What is absent there is empty.
func (c companyShown) isShown(body []byte) bool {
	var shown map[string]json.RawMessage
	if json.Unmarshal(body, &shown) != nil {
		return false
	}
	for name, want := range c.Fields {
		var text string
		if raw, ok := shown[name]; ok && json.Unmarshal(raw, &text) != nil || text != want {
			return false
		}
	}
	accounts := map[string]string{}
	if raw, ok := shown["accounts"]; ok && json.Unmarshal(raw, &accounts) != nil {
		return false
	}
	for id, want := range c.Accounts {
		if accounts[id] != want {
			return false
		}
	}
	return true
}
