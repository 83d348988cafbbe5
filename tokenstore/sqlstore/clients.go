package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const clientColumns = "t.id, t.seal, t.version, t.created_at, t.updated_at, t.used_at"

// Client implements tokenstore.ClientStore.
func (s *Store) Client(ctx context.Context, id string) (tokenstore.Client, error) {
	var c tokenstore.Client
	err := s.read(ctx, "read client", func(db *sql.DB) error {
		asked, register := s.ask(clientRow(id)), registerCells{}
		query := "SELECT " + clientColumns + ", " + registerColumns + " FROM tokens_clients t" + registerJoin + " WHERE t.id = ?"
		found, version, err := s.scanClient(db.QueryRowContext(ctx, query, append(asked.args(), []byte(id))...), register.dest()...)
		if err != nil {
			return err
		}
		c = found
		return s.verify(asked, version, register, "client "+id)
	})
	if err != nil {
		return tokenstore.Client{}, err
	}
	return c, nil
}

// Clients implements tokenstore.ClientStore. Clients are required as soon as a
// row is there, whatever it holds: the head may have been put back.
func (s *Store) Clients(ctx context.Context) (list []tokenstore.Client, required bool, err error) {
	var versions []int64
	var newest map[rowID]int64
	err = s.read(ctx, "list clients", func(db *sql.DB) error {
		if list, versions, err = s.scanClients(ctx, db); err != nil {
			return err
		}
		newest, required, err = s.allRegisters(ctx, db)
		return err
	})
	for i := 0; i < len(list) && err == nil; i++ {
		id := list[i].ID
		if list[i].Damaged || isNewest(newest, clientRow(id), versions[i]) {
			continue
		}
		// It may have been saved, or deleted, since the list was read.
		var c tokenstore.Client
		if c, err = s.Client(ctx, id); cannotBeOpened(err) {
			c, err = tokenstore.Client{ID: id, Damaged: true}, nil
		}
		list[i] = c
		if errors.Is(err, tokenstore.ErrClientNotFound) {
			list, versions, err = slices.Delete(list, i, i+1), slices.Delete(versions, i, i+1), nil
			i--
		}
	}
	if err != nil {
		return nil, false, err
	}
	return list, required || len(list) > 0, nil
}

func (s *Store) scanClients(ctx context.Context, db *sql.DB) (list []tokenstore.Client, versions []int64, err error) {
	rows, err := db.QueryContext(ctx, "SELECT "+clientColumns+" FROM tokens_clients t ORDER BY id")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		c, version, err := s.scanClient(rows)
		if cannotBeOpened(err) {
			c = tokenstore.Client{ID: c.ID, Damaged: true}
		} else if err != nil {
			return nil, nil, err
		}
		list, versions = append(list, c), append(versions, version)
	}
	return list, versions, rows.Err()
}

// UpdateClient implements tokenstore.ClientStore.
func (s *Store) UpdateClient(ctx context.Context, id string, change func(c tokenstore.Client, found bool) (tokenstore.Client, error)) (tokenstore.Client, error) {
	var saved tokenstore.Client
	err := s.change(ctx, "save client", realm.Ref{}, id, func(tx *txn) error {
		query := "SELECT " + clientColumns + " FROM tokens_clients t WHERE t.id = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanClient(tx.QueryRowContext(ctx, query, []byte(id)))
		found := !errors.Is(err, tokenstore.ErrClientNotFound)
		if err != nil && found {
			return err
		}
		tx.created = !found
		l, err := s.lockLedger(ctx, tx, clientRow(id))
		if err != nil {
			return err
		}
		if found {
			if err := l.check(clientRow(id), version, "client "+id); err != nil {
				return err
			}
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		created, used := old.CreatedAt, old.UsedAt
		if !found {
			old, created = tokenstore.Client{ID: id}, now
		}
		next, err := change(old, found)
		if err != nil {
			return finalError{err}
		}
		next.ID, next.CreatedAt, next.UpdatedAt, next.UsedAt, next.Damaged = id, created, now, used, false
		if saved, err = s.putClient(ctx, tx, next, found, l.version); err != nil {
			return err
		}
		l.requireClients()
		tx.client = clientCell(id)
		return l.save(ctx, tx, clientRow(id))
	})
	if err != nil {
		return tokenstore.Client{}, err
	}
	return saved, nil
}

// DeleteClient implements tokenstore.ClientStore.
func (s *Store) DeleteClient(ctx context.Context, id string) error {
	return s.change(ctx, "delete client", realm.Ref{}, id, func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_clients WHERE id = ?", []byte(id))
		if err := expectRow(res, err, tokenstore.ErrClientNotFound); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, dropClientNames, []byte(id)); err != nil {
			return err
		}
		tx.client = clientCell(id)
		return s.forgetRows(ctx, tx, clientRow(id))
	})
}

// RequireClients implements tokenstore.ClientStore.
func (s *Store) RequireClients(ctx context.Context) error {
	return s.write(ctx, "require clients", realm.Ref{}, func(tx *txn) error {
		l, err := s.lockLedger(ctx, tx)
		if err != nil {
			return err
		}
		l.requireClients()
		tx.client, tx.unchanged, tx.ledger = clientCell(""), !l.headChanged, l
		return l.write(ctx, tx)
	})
}

// ClientsUsed implements tokenstore.ClientStore. Most calls find that the hour
// is noted already, and write nothing.
func (s *Store) ClientsUsed(ctx context.Context, at map[string]time.Time) error {
	if len(at) == 0 {
		return nil
	}
	return s.write(ctx, "note the use of clients", realm.Ref{}, func(tx *txn) error {
		tx.unchanged = true
		for _, id := range slices.Sorted(maps.Keys(at)) { // two nodes lock them in the same order
			hour := tx.dialect.stamp(at[id].Truncate(time.Hour))
			res, err := tx.ExecContext(ctx, "UPDATE tokens_clients SET used_at = ? WHERE id = ? AND (used_at IS NULL OR used_at < ?)", hour, []byte(id), hour)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			tx.unchanged = tx.unchanged && n == 0
		}
		return nil
	})
}

// sealedClient is what of a client is sealed.
type sealedClient struct {
	Comment   string                  `json:"comment,omitempty"`
	Rules     []tokenstore.Rule       `json:"rules,omitempty"`
	Limits    tokenstore.ClientLimits `json:"limits,omitzero"`
	Users     []string                `json:"users,omitempty"`
	Subjects  []string                `json:"subjects,omitempty"`
	Sources   []string                `json:"sources,omitempty"`
	Edge      bool                    `json:"edge,omitempty"`
	ExpiresAt time.Time               `json:"expires_at,omitzero"`
	Keys      []sealedClientKey       `json:"keys,omitempty"`
}

type sealedClientKey struct {
	Digest    []byte    `json:"digest"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

func plainClient(c tokenstore.Client) ([]byte, error) {
	open := sealedClient{
		Comment: c.Comment, Rules: c.Rules, Limits: c.Limits, Users: c.Users, Subjects: c.Subjects, Sources: c.Sources,
		Edge: c.Edge, ExpiresAt: micros(c.ExpiresAt),
	}
	for _, key := range c.Keys {
		open.Keys = append(open.Keys, sealedClientKey{Digest: key.Digest[:], CreatedAt: micros(key.CreatedAt), ExpiresAt: micros(key.ExpiresAt)})
	}
	return marshal(open)
}

// openInto adds to a client what plainClient wrote.
func openInto(c *tokenstore.Client, plain []byte) error {
	var open sealedClient
	if json.Unmarshal(plain, &open) != nil {
		return finalError{damagedRow(clientLabel, realm.Ref{Key: c.ID})}
	}
	c.Comment, c.Rules, c.Limits, c.Users, c.Subjects, c.Sources = open.Comment, open.Rules, open.Limits, open.Users, open.Subjects, open.Sources
	c.Edge, c.ExpiresAt, c.Keys = open.Edge, open.ExpiresAt, nil
	for _, key := range open.Keys {
		if len(key.Digest) != len(tokenstore.KeyDigest{}) {
			return finalError{damagedRow(clientLabel, realm.Ref{Key: c.ID})}
		}
		c.Keys = append(c.Keys, tokenstore.ClientKey{Digest: tokenstore.KeyDigest(key.Digest), CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt})
	}
	return nil
}

// putClient writes a client whose row the transaction holds, and returns it as
// it will be read.
func (s *Store) putClient(ctx context.Context, tx *txn, c tokenstore.Client, found bool, version int64) (tokenstore.Client, error) {
	if err := putClientNames(ctx, tx, c); err != nil {
		return c, err
	}
	plain, err := plainClient(c)
	if err != nil {
		return c, err
	}
	seal, keyID, err := s.sealPlain(clientAD(c.ID, version, c.CreatedAt, c.UpdatedAt), plain)
	if err != nil {
		return c, err
	}
	query := "INSERT INTO tokens_clients (seal, key_id, version, created_at, updated_at, id) VALUES (?, ?, ?, ?, ?, ?)"
	if found {
		query = "UPDATE tokens_clients SET seal = ?, key_id = ?, version = ?, created_at = ?, updated_at = ? WHERE id = ?"
	}
	_, err = tx.ExecContext(ctx, query, seal, keyID, version, tx.dialect.stamp(c.CreatedAt), tx.dialect.stamp(c.UpdatedAt), []byte(c.ID))
	if err != nil {
		return c, err
	}
	return c, openInto(&c, plain)
}

const dropClientNames = "DELETE FROM tokens_client_names WHERE client = ?"

// putClientNames writes what tells a client in place of what told it before.
// The head of the registers is locked by every transaction that saves a client,
// so that two of them cannot take the same name at once. A name whose client is
// no longer there, because somebody deleted the row by hand, is free.
func putClientNames(ctx context.Context, tx *txn, c tokenstore.Client) error {
	if _, err := tx.ExecContext(ctx, dropClientNames, []byte(c.ID)); err != nil {
		return err
	}
	mine := map[clientName]bool{}
	for _, named := range clientNames(c) {
		if mine[named.name] {
			continue
		}
		mine[named.name] = true
		var owner string
		var isThere bool
		err := tx.QueryRowContext(ctx, "SELECT n.client, c.id IS NOT NULL FROM tokens_client_names n LEFT JOIN tokens_clients c ON c.id = n.client WHERE n.name = ?",
			named.name[:]).Scan(&owner, &isThere)
		query := "UPDATE tokens_client_names SET client = ? WHERE name = ?"
		switch {
		case errors.Is(err, sql.ErrNoRows):
			query = "INSERT INTO tokens_client_names (client, name) VALUES (?, ?)"
		case err != nil:
			return err
		case isThere:
			return finalError{&tokenstore.IdentityTakenError{Field: named.field, Client: owner}}
		}
		if _, err := tx.ExecContext(ctx, query, []byte(c.ID), named.name[:]); err != nil {
			return err
		}
	}
	return nil
}

// clientName is the digest of what tells a client, and of the field it is in.
type clientName [sha256.Size]byte

type namedField struct {
	field string
	name  clientName
}

func clientNames(c tokenstore.Client) (names []namedField) {
	add := func(field, name string) {
		names = append(names, namedField{field, sha256.Sum256([]byte(field + "\x00" + name))})
	}
	for _, key := range c.Keys {
		add("keys", string(key.Digest[:]))
	}
	for _, user := range c.Users {
		add("users", user)
	}
	for _, subject := range c.Subjects {
		add("subjects", subject)
	}
	for _, source := range c.Sources {
		add("sources", source)
	}
	return names
}

// scanClient reads a row, and what comes behind it into further, and opens it.
func (s *Store) scanClient(from row, further ...any) (tokenstore.Client, int64, error) {
	var c tokenstore.Client
	var seal []byte
	var version int64
	var created, updated, used instant
	dest := []any{&c.ID, &seal, &version, &created, &updated, &used}
	err := from.Scan(append(dest, further...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return c, 0, finalError{tokenstore.ErrClientNotFound}
	}
	if err != nil {
		return c, 0, err
	}
	c.CreatedAt, c.UpdatedAt, c.UsedAt = created.Time, updated.Time, used.Time
	plain, err := s.keys.Open(clientAD(c.ID, version, c.CreatedAt, c.UpdatedAt), seal)
	if err != nil {
		return c, version, finalError{err}
	}
	return c, version, openInto(&c, plain)
}

func clientAD(id string, version int64, created, updated time.Time) tokenstore.AD {
	return tokenstore.AD{Column: clientLabel, Ref: realm.Ref{Key: id}, Version: version, Row: inClear(created, updated)}
}
