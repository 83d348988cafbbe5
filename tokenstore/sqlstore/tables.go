package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What the seals of the tables are sealed to. Most are the names that the
// columns had when the first row was sealed: another label would mean to seal
// every row again.
const (
	realmLabel   = "tokens_realms.shared"
	secretLabel  = "tokens_secrets.fields"
	tokenLabel   = "tokens_tokens.sealed"
	claimLabel   = "tokens_attempts.sealed"
	budgetLabel  = "tokens_budgets.sealed"
	companyLabel = "tokens_companies.seal"
	clientLabel  = "tokens_clients.seal"
	pushedLabel  = "tokens_pushed.seal"
)

// auditSchema is the first schema with an audit, pushedSchema the first one with
// pushed values.
const (
	auditSchema  = 7
	pushedSchema = 8
)

// tableBatch is how many rows are read at a time, and written in one
// transaction.
const tableBatch = 200

// sealedTable is a table whose rows have a seal. The names are constants of
// this package; they go into statements as they are.
type sealedTable struct {
	kind, table, label, version string
	// realm and key are the columns, or expressions, of the row's reference.
	realm, key string
	// texts and times are the columns that the seal covers, in this order.
	texts, times []string
	// newest is the row's id in its register; nil for a table without.
	newest func(realm.Ref) rowID
	// since is the first schema that has the table; 0 for all whose rows
	// migration 5 authenticates.
	since int
}

var sealedTables = []sealedTable{
	{
		kind: "realm", table: "tokens_realms", label: realmLabel, version: "version", realm: "id", key: "x''",
		texts: []string{"config", "logic_code", "comment"}, times: []string{"created_at", "updated_at"},
		newest: func(ref realm.Ref) rowID { return realmRow(ref.Realm) },
	},
	{
		kind: "secret", table: "tokens_secrets", label: secretLabel, version: "version", realm: "realm", key: "ref_key",
		times: []string{"created_at", "updated_at"}, newest: secretRow,
	},
	{
		kind: "token", table: "tokens_tokens", label: tokenLabel, version: "lineage", realm: "realm", key: "ref_key",
		times: []string{"issued_at", "expires_at", "refresh_expires_at"},
	},
	{
		kind: "claim", table: "tokens_claims", label: claimLabel, version: "version", realm: "realm", key: "ref_key",
		texts: []string{"state"}, times: []string{"deadline"},
	},
	{
		kind: "budget", table: "tokens_budgets", label: budgetLabel, version: "version", realm: "realm", key: "x''",
		texts: []string{"state"},
	},
	{
		kind: "company", table: "tokens_companies", label: companyLabel, version: "version", realm: "x''", key: "taxpayer_id",
		texts: []string{"company_name", "company_phone", "company_registered_address", "bank_name", "bank_account", "accounts"},
		times: []string{"created_at", "updated_at"}, newest: func(ref realm.Ref) rowID { return companyRow(ref.Key) },
	},
	{
		kind: "client", table: "tokens_clients", label: clientLabel, version: "version", realm: "x''", key: "id",
		times: []string{"created_at", "updated_at"}, newest: func(ref realm.Ref) rowID { return clientRow(ref.Key) }, since: clientSchema,
	},
	{
		kind: "pushed", table: "tokens_pushed", label: pushedLabel, version: "version", realm: "realm", key: "ref_key",
		times: []string{"updated_at"}, newest: pushedRow, since: pushedSchema,
	},
	{kind: "register", table: "tokens_registers", label: registerLabel, version: "version", realm: "x''", key: "name"},
	{kind: "audit", table: "tokens_audit_heads", label: auditLabel, version: "version", realm: "kind", key: "node", since: auditSchema},
}

// tablesOf are the sealed tables of a schema.
func tablesOf(schema int) []sealedTable {
	return slices.DeleteFunc(slices.Clone(sealedTables), func(t sealedTable) bool { return t.since > schema })
}

// sealedRow is one row of such a table.
type sealedRow struct {
	ref     realm.Ref
	version int64
	seal    []byte // nil for none
	texts   [][]byte
	times   []instant
}

// ad is what a row is sealed to.
func (t sealedTable) ad(r sealedRow) tokenstore.AD {
	ad := tokenstore.AD{Column: t.label, Ref: r.ref, Version: r.version}
	if len(r.texts)+len(r.times) == 0 {
		return ad
	}
	var columns []any
	for _, text := range r.texts {
		columns = append(columns, text)
	}
	for _, at := range r.times {
		columns = append(columns, at.Time)
	}
	ad.Row = inClear(columns...)
	return ad
}

// needsSeal reports whether a row without a seal is damaged: a token may be
// deleted, and a claim or a budget may say nothing.
func (t sealedTable) needsSeal(r sealedRow) bool {
	switch t.kind {
	case "token":
		return false
	case "claim", "budget":
		return string(r.texts[0]) != emptyState
	}
	return true
}

// rows reads the next rows behind a reference that meet a condition, in the
// order of their references. What is compared first leads straight to the place in
// the index; with the rest alone, each batch would read all rows in front of it.
func (t sealedTable) rows(ctx context.Context, x execer, condition string, after realm.Ref, args ...any) ([]sealedRow, error) {
	columns := append([]string{t.realm, t.key, t.version, "seal"}, append(append([]string(nil), t.texts...), t.times...)...)
	query := fmt.Sprintf("SELECT %s FROM %s WHERE %s AND %[4]s >= ? AND (%[4]s > ? OR %[5]s > ?) ORDER BY %[4]s, %[5]s LIMIT %[6]d",
		strings.Join(columns, ", "), t.table, condition, t.realm, t.key, tableBatch) // #nosec G201 -- constants
	found, err := x.QueryContext(ctx, query, append(args, []byte(after.Realm), []byte(after.Realm), []byte(after.Key))...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var rows []sealedRow
	for found.Next() {
		r := sealedRow{texts: make([][]byte, len(t.texts)), times: make([]instant, len(t.times))}
		dest := []any{&r.ref.Realm, &r.ref.Key, &r.version, &r.seal}
		for i := range r.texts {
			dest = append(dest, &r.texts[i])
		}
		for i := range r.times {
			dest = append(dest, &r.times[i])
		}
		if err := found.Scan(dest...); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// where is the condition for one row, by its reference.
func (t sealedTable) where() string { return fmt.Sprintf("%s = ? AND %s = ?", t.realm, t.key) }
