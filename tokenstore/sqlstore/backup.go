package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// backupBatch is how many rows of a backup are held in memory.
const backupBatch = 50

// Backup implements tokenstore.BackupSource. It reads in one transaction, whose
// snapshot no write of others changes, and by primary key, so that neither this
// process nor the database holds more than backupBatch rows for a slow reader. The
// snapshot itself costs the database something as long as it is open (SQLite's
// log grows, MySQL keeps old versions): one at a time.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	select {
	case s.backingUp <- struct{}{}:
		defer func() { <-s.backingUp }()
	default:
		return tokenstore.ErrBackupRuns
	}
	return s.read(ctx, "back up", func(db *sql.DB) error {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.snapshot(), ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing was written
		h, err := s.backupHeader(ctx, tx)
		if err != nil {
			return err
		}
		b, err := tokenstore.NewBackupWriter(w, h)
		if err != nil {
			return finalError{err}
		}
		for _, t := range storedTables {
			if err := t.backUp(ctx, tx, b); err != nil {
				return err
			}
		}
		if err := b.Close(); err != nil {
			return finalError{err}
		}
		return nil
	})
}

func (s *Store) backupHeader(ctx context.Context, x execer) (h tokenstore.BackupHeader, err error) {
	if h.Schema, err = s.checkSchema(ctx, x); err != nil {
		return h, err
	}
	if h.Time, err = s.dialect.now(ctx, x); err != nil {
		return h, err
	}
	h.Keys = []string{}
	keys, err := s.rowsByKey(ctx, x)
	if err != nil {
		return h, err
	}
	for _, id := range slices.SortedFunc(maps.Keys(keys), func(a, b tokenstore.KeyID) int { return slices.Compare(a[:], b[:]) }) {
		h.Keys = append(h.Keys, id.String())
	}
	for _, t := range storedTables {
		h.Tables = append(h.Tables, t.BackupTable)
	}
	return h, nil
}

// backUp writes the rows of a table.
func (t storedTable) backUp(ctx context.Context, tx *sql.Tx, b *tokenstore.BackupWriter) error {
	var after []any
	for {
		rows, last, err := t.next(ctx, tx, after)
		if err != nil {
			return err
		}
		for _, cells := range rows {
			if err := b.Row(t.Name, cells); err != nil {
				return finalError{err} // of whoever reads the backup
			}
		}
		if len(rows) < backupBatch {
			return nil
		}
		after = last
	}
}

// next reads the next rows behind a primary key, and returns the last one's.
func (t storedTable) next(ctx context.Context, tx *sql.Tx, after []any) (rows [][]any, last []any, err error) {
	where, args := "", []any(nil)
	if after != nil {
		where, args = t.behind(after)
	}
	query := fmt.Sprintf("SELECT %s FROM %s%s ORDER BY %s LIMIT %d", names(t.Columns), t.Name, where, names(t.Columns[:t.keys]), backupBatch) // #nosec G201 -- constants
	found, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		cells := make([]cell, len(t.Columns))
		dest := make([]any, len(cells))
		for i, c := range t.Columns {
			cells[i].kind = c.Type
			dest[i] = &cells[i]
		}
		if err := found.Scan(dest...); err != nil {
			return nil, nil, err
		}
		values := make([]any, len(cells))
		last = make([]any, t.keys)
		for i, c := range cells {
			values[i] = c.value
			if i < t.keys {
				last[i] = c.stored
			}
		}
		rows = append(rows, values)
	}
	return rows, last, found.Err()
}

// behind is the condition for the rows behind a primary key: (a, b) > (?, ?),
// in the form that the databases find in the index.
func (t storedTable) behind(after []any) (where string, args []any) {
	var either []string
	for i := range after {
		var all []string
		for j, c := range t.Columns[:i] {
			all, args = append(all, c.Name+" = ?"), append(args, after[j])
		}
		all, args = append(all, t.Columns[i].Name+" > ?"), append(args, after[i])
		either = append(either, strings.Join(all, " AND "))
	}
	return " WHERE " + strings.Join(either, " OR "), args
}

// cell reads a value of either dialect.
type cell struct {
	kind string
	// value is what the backup has, stored what the driver gave; nil for NULL.
	value, stored any
}

// Scan implements sql.Scanner.
func (c *cell) Scan(src any) error {
	c.value, c.stored = nil, nil
	if src == nil {
		return nil
	}
	switch c.kind {
	case tokenstore.ColumnBytes, tokenstore.ColumnText:
		b := []byte{} // nil would become null
		switch src := src.(type) {
		case []byte:
			b = append(b, src...)
		case string:
			b = append(b, src...)
		default:
			return fmt.Errorf("%s cannot be read from %T", c.kind, src)
		}
		c.value, c.stored = b, b
	case tokenstore.ColumnTime:
		var at instant
		if err := at.Scan(src); err != nil {
			return err
		}
		c.value, c.stored = at.UnixMicro(), src
	case tokenstore.ColumnInt:
		var n sql.NullInt64
		if err := n.Scan(src); err != nil {
			return err
		}
		c.value, c.stored = n.Int64, n.Int64
	default: // the types are written down in this package
		panic("a column of type " + c.kind)
	}
	return nil
}
