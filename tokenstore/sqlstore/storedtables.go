package sqlstore

import (
	"strings"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// storedTables are all tables that a backup has, in the order in which they are
// restored. A migration that adds a table or a column adds it here; a test
// compares the list with the databases.
var storedTables = []storedTable{
	stored("tokens_keys", 1, "id bytes, sealed bytes, created_at time"),
	stored("tokens_registers", 1, "name bytes, seal bytes, key_id bytes, version int"),
	stored("tokens_realms", 1, "id bytes, config text, logic_code text, comment text, search bytes, seal bytes, key_id bytes, version int,"+
		" created_at time, updated_at time, folded bytes"),
	stored("tokens_secrets", 2, "realm bytes, ref_key bytes, seal bytes, key_id bytes, version int, created_at time, updated_at time,"+
		" folded bytes"),
	stored("tokens_tokens", 2, "realm bytes, ref_key bytes, lineage int, seal bytes, key_id bytes, issued_at time, expires_at time,"+
		" refresh_expires_at time"),
	stored("tokens_pushed", 2, "realm bytes, ref_key bytes, seal bytes, key_id bytes, version int, updated_at time"),
	stored("tokens_claims", 2, "realm bytes, ref_key bytes, state text, seal bytes, key_id bytes, version int, deadline time"),
	stored("tokens_budgets", 1, "realm bytes, state text, seal bytes, key_id bytes, version int"),
	stored("tokens_authorizations", 1, "state bytes, realm bytes, ref_key bytes, sealed bytes, key_id bytes, expires_at time"),
	stored("tokens_companies", 1, "id int, taxpayer_id bytes, company_name text, company_phone text, company_registered_address text,"+
		" bank_name text, bank_account text, accounts text, search bytes, created_at time, updated_at time, seal bytes, key_id bytes, version int"),
	stored("tokens_clients", 1, "id bytes, seal bytes, key_id bytes, version int, created_at time, updated_at time, used_at time"),
	stored("tokens_client_names", 1, "name bytes, client bytes"),
	stored("tokens_audit", 2, "node bytes, seq int, at time, act bytes, realm bytes, ref_key bytes, actor_kind bytes, actor_id bytes,"+
		" result bytes, entry text, digest bytes"),
	stored("tokens_audit_heads", 2, "kind bytes, node bytes, seal bytes, key_id bytes, version int"),
	stored("tokens_runs", 2, "name bytes, at time"),
}

// schemaTable has the version of the schema, which the header of a backup has.
// changesTable is what MySQL's nodes tell each other, and of no use to others.
// sessionsTable has who is signed in. It is in no backup: a session that was ended
// since would come to life again, so that everybody signs in anew.
const (
	schemaTable   = "tokens_schema"
	changesTable  = "tokens_changes"
	sessionsTable = "tokens_sessions"
)

// storedTable is a table of a backup. The first columns are its primary key. The
// names go into statements as they are.
type storedTable struct {
	tokenstore.BackupTable
	keys int
}

// stored makes a storedTable of "name type, name type".
func stored(name string, keys int, columns string) storedTable {
	t := storedTable{BackupTable: tokenstore.BackupTable{Name: name}, keys: keys}
	for column := range strings.SplitSeq(columns, ", ") {
		name, kind, _ := strings.Cut(column, " ")
		t.Columns = append(t.Columns, tokenstore.BackupColumn{Name: name, Type: kind})
	}
	return t
}

// names are the columns, as a statement has them.
func names(columns []tokenstore.BackupColumn) string {
	var list []string
	for _, c := range columns {
		list = append(list, c.Name)
	}
	return strings.Join(list, ", ")
}
