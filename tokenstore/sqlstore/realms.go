package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const realmColumns = "t.id, t.config, t.logic_code, t.comment, t.seal, t.version, t.created_at, t.updated_at"

// Realm implements tokenstore.RealmStore.
func (s *Store) Realm(ctx context.Context, id string) (realm.Realm, error) {
	var r realm.Realm
	err := s.read(ctx, "read realm", func(db *sql.DB) error {
		asked, register := s.ask(realmRow(id)), registerCells{}
		query := "SELECT " + realmColumns + ", " + registerColumns + " FROM tokens_realms t" + registerJoin + " WHERE t.id = ?"
		found, version, err := s.scanRealm(db.QueryRowContext(ctx, query, append(asked.args(), []byte(id))...), register.dest()...)
		if err != nil {
			return err
		}
		r = found
		return s.verify(asked, version, register, "realm "+id)
	})
	if err != nil {
		return realm.Realm{}, err
	}
	return r, nil
}

// Realms implements tokenstore.RealmStore.
func (s *Store) Realms(ctx context.Context, page tokenstore.Page, f tokenstore.RealmFilter) ([]realm.Realm, int, error) {
	var list realmList
	total := 0
	err := s.read(ctx, "list realms", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if f.Keyword != "" {
			where, args = " WHERE INSTR(search, ?) > 0", []any{fold(f.Keyword)}
		}
		const order = " ORDER BY updated_at DESC, created_at DESC, id"
		if f.Keep != nil {
			ids, n, err := kept(ctx, db, "SELECT id FROM tokens_realms"+where+order, args, page, scanID, f.Keep)
			total = n
			if err != nil || len(ids) == 0 {
				return err
			}
			where, args = " WHERE id IN ("+marks(len(ids))+")", bytesOf(ids)
			return s.readRealms(ctx, db, "SELECT "+realmColumns+" FROM tokens_realms t"+where+order, args, &list)
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_realms"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + realmColumns + " FROM tokens_realms t" + where + order + " LIMIT ? OFFSET ?"
		return s.readRealms(ctx, db, query, append(args, limits(page)...), &list)
	})
	if err != nil {
		return nil, 0, err
	}
	err = s.verifyList(ctx, len(list.realms), func(i int, newest map[rowID]int64) error {
		if r := list.realms[i]; r.Damaged || isNewest(newest, realmRow(r.ID), list.versions[i]) {
			return nil
		}
		r, err := s.Realm(ctx, list.realms[i].ID)
		if cannotBeOpened(err) {
			r, err = realm.Realm{ID: list.realms[i].ID, Damaged: true}, nil
		}
		if err == nil {
			list.realms[i] = r
		}
		return err
	})
	return list.realms, total, err
}

// realmList are realms with the versions of their rows.
type realmList struct {
	realms   []realm.Realm
	versions []int64
}

// readRealms adds the realms that a query finds. What cannot be opened is there by
// its id.
func (s *Store) readRealms(ctx context.Context, db *sql.DB, query string, args []any, list *realmList) error {
	return eachRow(ctx, db, query, args, func(rows *sql.Rows) error {
		r, version, err := s.scanRealm(rows)
		if cannotBeOpened(err) {
			r = realm.Realm{ID: r.ID, Damaged: true}
		} else if err != nil {
			return err
		}
		list.realms, list.versions = append(list.realms, r), append(list.versions, version)
		return nil
	})
}

func scanID(rows *sql.Rows) (string, error) {
	var id string
	err := rows.Scan(&id)
	return id, err
}

// kept is the page of what a query finds and keep leaves, and how much it leaves.
// Nothing is opened for that.
func kept[T any](
	ctx context.Context, db *sql.DB, query string, args []any, page tokenstore.Page, scan func(*sql.Rows) (T, error), keep func(T) bool,
) (list []T, total int, err error) {
	first := min(max(page.Number, 1)-1, math.MaxInt32) * page.Size
	err = eachRow(ctx, db, query, args, func(rows *sql.Rows) error {
		item, err := scan(rows)
		if err != nil || !keep(item) {
			return err
		}
		if first <= total && total < first+page.Size {
			list = append(list, item)
		}
		total++
		return nil
	})
	return list, total, err
}

// eachRow calls do for each row that a query finds.
func eachRow(ctx context.Context, db *sql.DB, query string, args []any, do func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query, args...) // #nosec G701 -- constants, and marks for arguments
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// marks are so many marks for arguments.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// bytesOf are ids as arguments: they are compared as bytes.
func bytesOf(ids []string) []any {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = []byte(id)
	}
	return args
}

// UpdateRealm implements tokenstore.RealmStore.
func (s *Store) UpdateRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (realm.Realm, error) {
	var saved realm.Realm
	err := s.change(ctx, "save realm", realm.Ref{Realm: id}, "", func(tx *txn) error {
		query := "SELECT " + realmColumns + " FROM tokens_realms t WHERE t.id = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanRealm(tx.QueryRowContext(ctx, query, []byte(id)))
		found := !errors.Is(err, tokenstore.ErrRealmNotFound)
		if err != nil && found {
			return err
		}
		tx.created = !found
		l, err := s.lockLedger(ctx, tx, realmRow(id))
		if err != nil {
			return err
		}
		if found {
			if err := l.check(realmRow(id), version, "realm "+id); err != nil {
				return err
			}
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		created := old.CreatedAt
		if !found {
			query := "SELECT id FROM tokens_realms WHERE folded = ? AND id <> ? LIMIT 1"
			if err := refuseTwin(ctx, tx, query, folded(id), []byte(id)); err != nil {
				return err
			}
			old, created = realm.Realm{ID: id}, now
		}
		if saved, err = change(old, found); err != nil {
			return finalError{err}
		}
		saved.ID, saved.CreatedAt, saved.UpdatedAt = id, created, now
		saved.SharedHosts = append([]string{}, saved.SharedHosts...) // as it will be read
		if err := s.putRealm(ctx, tx, saved, found, l.version); err != nil {
			return err
		}
		return l.save(ctx, tx, realmRow(id))
	})
	if err != nil {
		return realm.Realm{}, err
	}
	return saved, nil
}

// DeleteRealm implements tokenstore.RealmStore.
func (s *Store) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	return s.change(ctx, "delete realm", realm.Ref{Realm: id}, "", func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_realms WHERE id = ?", []byte(id))
		if err := expectRow(res, err, tokenstore.ErrRealmNotFound); err != nil {
			return err
		}
		if !cascade {
			if err := refuseSecrets(ctx, tx, id); err != nil {
				return err
			}
		}
		secrets, err := rowsOfRealm(ctx, tx, "tokens_secrets", id, secretRow)
		if err != nil {
			return err
		}
		pushed, err := rowsOfRealm(ctx, tx, "tokens_pushed", id, pushedRow)
		if err != nil {
			return err
		}
		drops := []string{dropBudget, dropAuthorizations, dropPushed}
		if cascade {
			drops = append(drops, dropClaims, "DELETE FROM tokens_secrets WHERE realm = ?", clearTokens+" WHERE realm = ?")
		}
		if err := execAll(ctx, tx, id, drops...); err != nil {
			return err
		}
		return s.forgetRows(ctx, tx, slices.Concat(secrets, pushed, []rowID{realmRow(id)})...)
	})
}

// rowsOfRealm are the rows of a table that belong to the secrets of a realm, held
// by the transaction.
func rowsOfRealm(ctx context.Context, tx *txn, table, id string, idOf func(realm.Ref) rowID) ([]rowID, error) {
	query := "SELECT ref_key FROM " + table + " WHERE realm = ?" + tx.dialect.forUpdate() // #nosec G202 -- constants
	rows, err := tx.QueryContext(ctx, query, []byte(id))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var ids []rowID
	for rows.Next() {
		ref := realm.Ref{Realm: id}
		if err := rows.Scan(&ref.Key); err != nil {
			return nil, err
		}
		ids = append(ids, idOf(ref))
	}
	return ids, rows.Err()
}

// execAll runs statements about one realm.
func execAll(ctx context.Context, tx *txn, id string, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement, []byte(id)); err != nil {
			return err
		}
	}
	return nil
}

func refuseSecrets(ctx context.Context, tx *txn, id string) error {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_secrets WHERE realm = ?", []byte(id)).Scan(&n)
	if err == nil && n > 0 {
		return finalError{tokenstore.ErrRealmHasSecrets}
	}
	return err
}

// putRealm writes a realm whose row the transaction holds. Shared fields are
// taken out of the JSON, which would mask them, and sealed beside it. The seal
// covers the other columns, too, except search: that one decides only what a
// keyword finds.
func (s *Store) putRealm(ctx context.Context, tx *txn, r realm.Realm, found bool, version int64) error {
	config := r.Config
	config.Shared = nil
	text, err := marshal(config)
	if err != nil {
		return err
	}
	ad := realmAD(r.ID, version, text, r.LogicCode, r.Comment, r.CreatedAt, r.UpdatedAt)
	seal, keyID, err := s.seal(ad, sealedSecret{Fields: revealed(r.Config.Shared), Hosts: r.SharedHosts})
	if err != nil {
		return err
	}
	values := []any{
		string(text), r.LogicCode, r.Comment, fold(r.ID + "\x00" + r.Comment), seal, keyID, version, folded(r.ID),
		tx.dialect.stamp(r.CreatedAt), tx.dialect.stamp(r.UpdatedAt), []byte(r.ID),
	}
	query := "INSERT INTO tokens_realms (config, logic_code, comment, search, seal, key_id, version, folded, created_at, updated_at, id)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	if found {
		query = "UPDATE tokens_realms SET config = ?, logic_code = ?, comment = ?, search = ?, seal = ?, key_id = ?," +
			" version = ?, folded = ?, created_at = ?, updated_at = ? WHERE id = ?"
	}
	_, err = tx.ExecContext(ctx, query, values...)
	return err
}

// scanRealm reads a row, and what comes behind it into further, and opens what
// is sealed in it.
func (s *Store) scanRealm(from row, further ...any) (realm.Realm, int64, error) {
	var r realm.Realm
	var config, seal []byte
	var version int64
	var created, updated instant
	dest := []any{&r.ID, &config, &r.LogicCode, &r.Comment, &seal, &version, &created, &updated}
	err := from.Scan(append(dest, further...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return r, 0, finalError{tokenstore.ErrRealmNotFound}
	}
	if err != nil {
		return r, 0, err
	}
	ad := realmAD(r.ID, version, config, r.LogicCode, r.Comment, created.Time, updated.Time)
	shared, err := s.unsealFields(ad, seal)
	if err != nil {
		return r, version, err
	}
	if err := json.Unmarshal(config, &r.Config); err != nil {
		return r, version, finalError{damagedRow("config", realm.Ref{Realm: r.ID})}
	}
	r.Config.Shared, r.CreatedAt, r.UpdatedAt = hidden(shared.Fields), created.Time, updated.Time
	r.SharedHosts = append([]string{}, shared.Hosts...) // never nil, which would say that they are entered now
	return r, version, nil
}

func realmAD(id string, version int64, config []byte, logicCode, comment string, created, updated time.Time) tokenstore.AD {
	return tokenstore.AD{
		Column: realmLabel, Ref: realm.Ref{Realm: id}, Version: version,
		Row: inClear(config, logicCode, comment, created, updated),
	}
}

// fold is the form in which keywords are compared: the same for both
// databases, whose own rules differ, and for every script. INSTR knows no
// wildcards.
func fold(s string) []byte { return []byte(strings.ToLower(s)) }

// folded is the form in which a new id or key is compared with those that there
// are: see realm.FoldCase.
func folded(id string) []byte { return []byte(realm.FoldCase(id)) }

// refuseTwin refuses a new id or key that equals another but for case. The
// query finds that one by its folded form.
//
// The transaction holds the head of the registers, as every other one does that
// creates a realm or a secret, on whatever node. So nobody creates the other one
// between this look and the end of the transaction, and no lock of the index is
// needed. What the query leaves out is the very same id: somebody else created it
// since the transaction looked for it, and this one fails and is run again. The
// column is not under the seal: whoever can write the database can have a twin
// accepted.
func refuseTwin(ctx context.Context, tx *txn, query string, args ...any) error {
	var other []byte
	err := tx.QueryRowContext(ctx, query, args...).Scan(&other)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return finalError{&tokenstore.TwinError{Other: string(other)}}
}

// limits are LIMIT and OFFSET of a page.
func limits(p tokenstore.Page) []any {
	return []any{p.Size, int64(min(max(p.Number, 1)-1, math.MaxInt32)) * int64(p.Size)}
}

// expectRow turns "no row was touched" into the missing error.
func expectRow(res sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return finalError{missing}
}
