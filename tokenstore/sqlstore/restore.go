package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ErrNotEmpty: a backup is restored into an empty store only.
var ErrNotEmpty = errors.New("the store is not empty")

// Restored is what was restored.
type Restored struct {
	Rows   int64
	Schema int
	// Keys are the fingerprints of the keys that the store needs from now on.
	Keys []string
	// Verified counts the rows whose seals were opened; 0 without a key, and for
	// a backup of an older version, whose rows are verified when they are
	// migrated.
	Verified int64
}

// Restore fills an empty store with a backup: all of it, or nothing. The store
// must not be open, here or elsewhere. With verify, the store's keys have to open
// every row, and every row has to be the newest that was saved; without, no key
// is used. A backup of an older version gets that version's tables; the next
// Open migrates them.
func (s *Store) Restore(ctx context.Context, backup io.Reader, verify bool) (done Restored, err error) {
	if verify {
		if err := s.keys.Load(false); err != nil {
			return done, err
		}
	}
	db, err := s.dialect.connect(ctx)
	if err != nil {
		return done, s.failure(ctx, "restore", err)
	}
	defer func() { err = errors.Join(err, db.closeAll()) }()
	err = s.dialect.locked(ctx, db.write, func(x execer) error {
		r := restoration{store: s, verify: verify, x: x}
		err := r.run(ctx, backup)
		done = r.done
		return err
	})
	return done, s.failure(ctx, "restore", err)
}

// restoration is one call of Restore.
type restoration struct {
	store  *Store
	verify bool
	// x is the connection or, in SQLite, the transaction that everything is done
	// in. rows is where the rows go: x, or the transaction own.
	x, rows execer
	own     *sql.Tx
	inserts map[string]string // the statement for a row, by the name of its table
	done    Restored
}

// run reads the backup. MySQL commits the tables one by one; the rows, which
// come behind them, are one transaction in either database.
func (r *restoration) run(ctx context.Context, backup io.Reader) (err error) {
	r.done.Rows, err = tokenstore.ReadBackup(backup,
		func(h tokenstore.BackupHeader) error { return r.begin(ctx, h) },
		func(row tokenstore.BackupRow) error { return r.insert(ctx, row) })
	if r.own != nil {
		defer func() { _ = r.own.Rollback() }() // of no effect after a commit
	}
	if err == nil && r.verify {
		err = r.verifyRows(ctx)
	}
	switch d := r.store.dialect; {
	case err == nil && r.own != nil:
		return r.own.Commit()
	case errors.Is(err, tokenstore.ErrBackup):
		return finalError{err}
	case r.rows != nil && (d.isRejected(err) || d.isDuplicate(err)):
		return finalError{fmt.Errorf("%w: the database does not take it: %w", tokenstore.ErrBackup, err)}
	}
	return err
}

// begin makes the tables of the backup's version, which have to be empty, and
// the statements that fill them.
func (r *restoration) begin(ctx context.Context, h tokenstore.BackupHeader) error {
	r.done.Schema, r.done.Keys = h.Schema, h.Keys
	if r.verify {
		if err := r.store.knowsKeys(h.Keys); err != nil {
			return finalError{err}
		}
	}
	if err := r.store.createSchema(ctx, r.x, h.Schema); err != nil {
		return err
	}
	tables, err := r.store.emptyTables(ctx, r.x)
	if err != nil {
		return err
	}
	r.inserts = map[string]string{}
	for _, t := range h.Tables {
		for _, c := range t.Columns {
			if !isName.MatchString(c.Name) {
				return finalError{fmt.Errorf("line 1: table %q has a column %q: %w", t.Name, c.Name, tokenstore.ErrBackup)}
			}
		}
		if !slices.Contains(tables, t.Name) {
			return finalError{fmt.Errorf("line 1: there is no table %q to fill in schema %d: %w", t.Name, h.Schema, tokenstore.ErrBackup)}
		}
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(t.Columns)), ", ")
		r.inserts[t.Name] = "INSERT INTO " + t.Name + " (" + names(t.Columns) + ") VALUES (" + marks + ")"
	}
	r.rows = r.x
	if conn, ok := r.x.(beginner); ok {
		if r.own, err = conn.BeginTx(ctx, nil); err != nil {
			return err
		}
		r.rows = r.own
	}
	return nil
}

// emptyTables are the tables that a backup may fill. ErrNotEmpty if there is
// anything in one.
func (s *Store) emptyTables(ctx context.Context, x execer) ([]string, error) {
	all, err := s.tableNames(ctx, x)
	if err != nil {
		return nil, err
	}
	tables := slices.DeleteFunc(all, func(name string) bool { return name == schemaTable })
	for _, table := range tables {
		var n int
		query := "SELECT COUNT(*) FROM (SELECT 1 FROM " + table + " LIMIT 1) t" // #nosec G202 -- tableNames checks them
		if err := x.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, finalError{fmt.Errorf("%w: there is something in its table %s; restore into a new one", ErrNotEmpty, table)}
		}
	}
	return tables, nil
}

// isName is what tables and columns are called.
var isName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (r *restoration) insert(ctx context.Context, row tokenstore.BackupRow) error {
	values := make([]any, len(row.Cells))
	for i, text := range row.Cells {
		var err error
		if values[i], err = r.value(row.Table.Columns[i].Type, text); err != nil {
			return fmt.Errorf("column %s of %s: %w", row.Table.Columns[i].Name, row.Table.Name, err)
		}
	}
	_, err := r.rows.ExecContext(ctx, r.inserts[row.Table.Name], values...)
	return err
}

// value is a cell in the form that the database takes.
func (r *restoration) value(kind string, text json.RawMessage) (any, error) {
	if string(text) == "null" {
		return nil, nil
	}
	var b []byte
	var n int64
	var err error
	switch kind {
	case tokenstore.ColumnBytes, tokenstore.ColumnText:
		err = json.Unmarshal(text, &b)
	case tokenstore.ColumnInt, tokenstore.ColumnTime:
		err = json.Unmarshal(text, &n)
	default:
		err = fmt.Errorf("the type %q", kind)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: it cannot be read", tokenstore.ErrBackup)
	case kind == tokenstore.ColumnText: // SQLite tells text from bytes
		return string(b), nil
	case kind == tokenstore.ColumnBytes:
		return b, nil
	case kind == tokenstore.ColumnTime:
		return r.store.dialect.stamp(time.UnixMicro(n)), nil
	}
	return n, nil
}

// verifyRows opens every row that was written, as the database has it now, and
// holds it against the registers.
func (r *restoration) verifyRows(ctx context.Context) error {
	if known, err := r.store.knownSchema(); err != nil || known != r.done.Schema {
		return err
	}
	registered, err := registeredKeys(ctx, r.rows)
	if err != nil {
		return err
	}
	if err := r.store.checkValues(registered); err != nil {
		return err
	}
	newest, _, err := r.store.allRegisters(ctx, r.rows)
	if err != nil {
		return err
	}
	var bad []string
	for _, t := range sealedTables {
		for after := (realm.Ref{}); ; {
			rows, err := t.rows(ctx, r.rows, "TRUE", after)
			if err != nil {
				return err
			}
			for _, row := range rows {
				after = row.ref
				if r.store.isVerified(t, row, newest) {
					r.done.Verified++
				} else {
					bad = append(bad, t.kind+" "+row.ref.String())
				}
			}
			if len(rows) < tableBatch {
				break
			}
		}
	}
	if len(bad) > 0 {
		const most = 10
		more := ""
		if len(bad) > most {
			bad, more = bad[:most], fmt.Sprintf(", and %d more", len(bad)-most)
		}
		return finalError{fmt.Errorf("%s%s: %w", strings.Join(bad, ", "), more, tokenstore.ErrDamaged)}
	}
	return nil
}

// knowsKeys reports which of the keys with these fingerprints are missing.
func (s *Store) knowsKeys(fingerprints []string) error {
	var missing []tokenstore.KeyID
	for _, text := range fingerprints {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(tokenstore.KeyID{}) {
			return fmt.Errorf("line 1: %q is no fingerprint of a key: %w", text, tokenstore.ErrBackup)
		}
		if id := tokenstore.KeyID(raw); !slices.Contains(s.keys.IDs(), id) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return &tokenstore.KeyError{Missing: missing}
	}
	return nil
}
