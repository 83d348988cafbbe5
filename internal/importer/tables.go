package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoTables: the database has none of the tables that could be imported.
var ErrNoTables = errors.New("there is nothing to import")

// column is what has to be known of a column to read it right.
type column struct {
	kind               string // its data type, lower case: bigint, datetime
	charset, collation string // empty where it is not text
}

// table is one of the old tables.
type table struct {
	name    string
	columns map[string]column // by name, lower case
	key     []string          // of the primary key, in order
}

// tables are those that were found; nil: there is none.
type tables struct {
	realm, secret, account, company *table
}

func (t *table) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { _, ok := t.columns[n]; return !ok })
}

// only are those of the names that the table has.
func (t *table) only(names ...string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return !t.has(n) })
}

// What each table has for sure.
var (
	realmColumns   = []string{"id", "config"}
	secretColumns  = []string{"key", "realm"}
	accountColumns = []string{"account_type", "account", "password"}
	companyColumns = []string{"taxpayer_id", "company_name"}
)

// ownTables is how the tables of this product begin, which may lie in the
// same schema.
const ownTables = "tokens_"

// find looks for the old tables. Those of the token cache service have fixed
// names; those of the account service are found by their columns, unless they
// are named.
func (s *source) find(ctx context.Context, companyTable, accountTable string) (found tables, err error) {
	all, err := s.list(ctx)
	if err != nil {
		return found, err
	}
	for _, want := range []struct {
		to      **table
		name    string
		option  string
		columns []string
	}{
		{&found.realm, "realm", "", realmColumns},
		{&found.secret, "secret", "", secretColumns},
		{&found.account, accountTable, "--account-table", accountColumns},
		{&found.company, companyTable, "--company-table", companyColumns},
	} {
		if *want.to, err = choose(all, want.name, want.option, want.columns); err != nil {
			return found, err
		}
	}
	if found == (tables{}) {
		return found, fmt.Errorf("%w: %s has neither the tables realm and secret nor one with the columns %s or %s",
			ErrNoTables, s.name, strings.Join(accountColumns, ", "), strings.Join(companyColumns, ", "))
	}
	return found, nil
}

// choose picks a table by its name or, where there is none, by its columns.
func choose(all map[string]*table, name, option string, columns []string) (*table, error) {
	if name != "" {
		t := all[name]
		switch {
		case t != nil && t.has(columns...):
			return t, t.pageable()
		case option == "": // a table of this name may be anybody's
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %s %s: there is no such table with the columns %s", ErrNoTables, option, name, strings.Join(columns, ", "))
	}
	var fit []string
	for _, t := range all {
		if t.has(columns...) && !strings.HasPrefix(t.name, ownTables) {
			fit = append(fit, t.name)
		}
	}
	switch len(fit) {
	case 0:
		return nil, nil
	case 1:
		return all[fit[0]], all[fit[0]].pageable()
	}
	slices.Sort(fit)
	return nil, fmt.Errorf("%w: the tables %s look alike: say which one with %s", ErrNoTables, strings.Join(fit, ", "), option)
}

func (t *table) pageable() error {
	if len(t.key) == 0 {
		return fmt.Errorf("%w: %s has no primary key to read it by, page by page", ErrNoTables, t.name)
	}
	return nil
}

// list reads what tables the schema has. Views are left out: they have no
// primary key.
func (s *source) list(ctx context.Context) (map[string]*table, error) {
	all := map[string]*table{}
	err := s.query(ctx, "list the tables", `SELECT c.table_name, c.column_name, c.data_type, COALESCE(c.character_set_name, ''), COALESCE(c.collation_name, '')
FROM information_schema.columns c
JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE'`, func(scan func(...any) error) error {
		var name, col string
		var c column
		if err := scan(&name, &col, &c.kind, &c.charset, &c.collation); err != nil {
			return err
		}
		if all[name] == nil {
			all[name] = &table{name: name, columns: map[string]column{}}
		}
		c.kind = strings.ToLower(c.kind)
		all[name].columns[strings.ToLower(col)] = c
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, s.query(ctx, "list the primary keys", `SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = DATABASE() AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index`, func(scan func(...any) error) error {
		var name, col string
		if err := scan(&name, &col); err != nil {
			return err
		}
		if t := all[name]; t != nil {
			t.key = append(t.key, strings.ToLower(col))
		}
		return nil
	})
}

// query calls each with every row of an answer.
func (s *source) query(ctx context.Context, doing, query string, each func(scan func(...any) error) error, args ...any) error {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return s.failed(doing, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return s.failed(doing, err)
		}
	}
	if err := rows.Err(); err != nil {
		return s.failed(doing, err)
	}
	return nil
}
