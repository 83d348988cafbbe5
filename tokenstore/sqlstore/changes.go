package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// feedWindow is how long a change may become visible after others with
	// larger ids: ids are given when a row is inserted, rows are seen when
	// their transaction ends. A transaction that idles for wait_timeout (60 s)
	// is ended by the server.
	feedWindow = 2 * time.Minute
	// feedLife is how long changes are kept; an older cursor is ErrGap.
	feedLife   = time.Hour
	cursorLife = feedLife - feedWindow - pruneEvery
	pruneEvery = time.Minute
	pruneBatch = 50_000
)

// cursor is how far a node has read: everything up to settled, and of what
// came after it the ids in seen. Ids beyond settled may still turn up out of
// order.
type cursor struct {
	settled uint64
	read    time.Time // by the database's clock
	seen    map[uint64]bool
}

// recordChange implements dialect. One row has the id of the write; the others
// have ids that nobody asks for.
func (d *mysqlDB) recordChange(ctx context.Context, tx *sql.Tx, id writeID, changed []realm.Ref, client string) error {
	if len(changed) == 0 {
		changed = []realm.Ref{{}}
	}
	const row = "(?, ?, ?, ?, UTC_TIMESTAMP(6))"
	var args []any
	for i, ref := range changed {
		own := id
		if i > 0 {
			_, _ = rand.Read(own[:]) // never fails
		}
		args = append(args, own[:], []byte(ref.Realm), []byte(ref.Key), []byte(client))
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO tokens_changes (write_id, realm, ref_key, client, at) VALUES "+
		row+strings.Repeat(", "+row, len(changed)-1), args...)
	return err
}

// clientMark begins the cell of a change of clients: without it, a change of all
// of them would look like none.
const clientMark = "="

// clientCell is what tokens_changes says of a changed client; an empty id stands
// for all clients.
func clientCell(id string) string { return clientMark + id }

// wasCommitted implements dialect: it tries to insert the row of the write's
// change itself. As long as the write's transaction is open, the unique index
// makes this wait; after it, the row is there or not.
func (d *mysqlDB) wasCommitted(ctx context.Context, db *sql.DB, id writeID, failed error) (bool, error) {
	if !isBrokenConn(failed) {
		return false, nil // the server refused it, or it was never sent
	}
	tx, err := d.begin(ctx, db)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // it was a question only
	err = d.recordChange(ctx, tx, id, nil, "")
	if serverError(err) == erDuplicate {
		return true, nil
	}
	return false, err
}

// probe implements dialect: a change that is rolled back. The server writes it
// into its log before that, so that it refuses it where it would refuse others.
func (d *mysqlDB) probe(ctx context.Context, db *sql.DB) error {
	tx, err := d.begin(ctx, db)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var id writeID
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	return d.recordChange(ctx, tx, id, nil, "")
}

// afterWrite implements dialect: once a minute it deletes what is too old for any
// cursor. A failure is met again by the next write.
func (d *mysqlDB) afterWrite(ctx context.Context, db *sql.DB) {
	if !d.mayPrune(time.Now().Unix()) {
		return
	}
	_, _ = db.ExecContext(ctx, "DELETE FROM tokens_changes WHERE at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND LIMIT ?",
		int64(feedLife.Seconds()), pruneBatch)
}

// mayPrune reports whether a minute has passed. A clock that went back does not
// count: it might take years to catch up.
func (d *mysqlDB) mayPrune(now int64) bool {
	last := d.pruned.Load()
	if since := now - last; since >= 0 && since < int64(pruneEvery.Seconds()) {
		return false
	}
	return d.pruned.CompareAndSwap(last, now)
}

// Changes implements tokenstore.ChangeFeed. A change is reported once, unless
// it was made within feedWindow before the first cursor.
func (s *Shared) Changes(ctx context.Context, since string) ([]tokenstore.Change, string, error) {
	last, err := parseCursor(since)
	if err != nil {
		return nil, "", err
	}
	var changes []tokenstore.Change
	next := cursor{seen: map[uint64]bool{}}
	err = s.read(ctx, "changes", func(db *sql.DB) error {
		newest, err := next.locate(ctx, db)
		if err != nil {
			return err
		}
		switch {
		case since == "":
			last.settled = next.settled
		case next.read.Sub(last.read) > cursorLife || newest < last.settled:
			return finalError{tokenstore.ErrGap}
		}
		// What was settled stays so after its rows were deleted.
		next.settled = max(next.settled, last.settled)
		changes, err = readChanges(ctx, db, last, &next)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if since == "" {
		changes = nil
	}
	return changes, next.String(), nil
}

// locate finds the largest id below which nothing new can turn up, and the
// time of the database. It returns the newest id of all: one that is smaller
// than what a cursor has read means another database, restored from a copy.
func (c *cursor) locate(ctx context.Context, db *sql.DB) (newest uint64, err error) {
	var now instant
	err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(id), 0), UTC_TIMESTAMP(6),
		COALESCE(MAX(CASE WHEN at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND THEN id END), 0)
		FROM tokens_changes`, int64(feedWindow.Seconds())).Scan(&newest, &now, &c.settled)
	c.read = now.Time
	return newest, err
}

// readChanges returns what last has not seen, and notes in next what it has
// seen now. Rows without a realm and a client tell the other nodes nothing.
func readChanges(ctx context.Context, db *sql.DB, last cursor, next *cursor) ([]tokenstore.Change, error) {
	rows, err := db.QueryContext(ctx, "SELECT id, realm, ref_key, client, at FROM tokens_changes"+
		" WHERE id > ? AND (realm <> '' OR client <> '') ORDER BY id", last.settled)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var changes []tokenstore.Change
	for rows.Next() {
		var id uint64
		var c tokenstore.Change
		var client string
		var at instant
		if err := rows.Scan(&id, &c.Ref.Realm, &c.Ref.Key, &client, &at); err != nil {
			return nil, err
		}
		c.Client = strings.TrimPrefix(client, clientMark)
		if c.At = at.Time; !last.seen[id] {
			changes = append(changes, c)
		}
		if id > next.settled {
			next.seen[id] = true
		}
	}
	return changes, rows.Err()
}

// String is opaque for callers: settled, time and the ids seen, as varints.
func (c cursor) String() string {
	b := binary.AppendUvarint(nil, c.settled)
	b = binary.AppendVarint(b, c.read.UnixMicro())
	for id := range c.seen {
		b = binary.AppendUvarint(b, id-c.settled)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

var errCursor = errors.New("is not a cursor of this store")

func parseCursor(s string) (cursor, error) {
	c := cursor{seen: map[uint64]bool{}}
	if s == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return c, fmt.Errorf("changes: %w", errCursor)
	}
	settled, n := binary.Uvarint(b)
	if n <= 0 {
		return c, fmt.Errorf("changes: %w", errCursor)
	}
	micro, m := binary.Varint(b[n:])
	if m <= 0 {
		return c, fmt.Errorf("changes: %w", errCursor)
	}
	c.settled, c.read = settled, time.UnixMicro(micro)
	for b = b[n+m:]; len(b) > 0; b = b[n:] {
		id, size := binary.Uvarint(b)
		if n = size; n <= 0 {
			return c, fmt.Errorf("changes: %w", errCursor)
		}
		c.seen[settled+id] = true
	}
	return c, nil
}
