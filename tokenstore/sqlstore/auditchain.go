package sqlstore

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The audit has one chain for each process that writes (more where a process
// opens a store again). So no two processes wait for each other, and the end of
// a chain is known to its process without asking the database: an old end that
// somebody puts back there leaves a hole in the numbers.
//
// The digest of an entry is an HMAC of the digest before it and of the entry's
// text. Its key is random, and sealed in a row: it outlives the encryption keys.
// The end of each chain, its number and digest, is sealed, too, so that nobody
// can cut it; and so is its beginning, behind what was deleted for its age.
// The list of the chains tells that none is missing. Its version is in the
// registers, so that an old list is no better than an old row.

const auditLabel = "tokens_audit_heads.seal"

// The kinds of rows in tokens_audit_heads.
const (
	auditKeyKind   = "key"
	auditListKind  = "chains"
	auditStartKind = "start"
	auditEndKind   = "end"
)

// auditDigest binds an entry to all before it; the zero one is in front of the
// first.
type auditDigest [sha256.Size]byte

// auditHashKey is the key of the digests.
type auditHashKey [32]byte

func (k auditHashKey) digest(previous auditDigest, entry []byte) (d auditDigest) {
	h := hmac.New(sha256.New, k[:])
	h.Write(previous[:])
	h.Write(entry)
	h.Sum(d[:0])
	return d
}

// position is the end of a chain, or where it begins: behind the entry seq.
type position struct {
	seq    int64
	digest auditDigest
}

// chain is the one that this store appends to.
type chain struct {
	// beginning lets one caller begin a chain; the others wait for it.
	beginning chan struct{}
	// gate is held from the writing of an entry until its transaction has
	// ended. Whoever waits for it may hold rows of the database; so whoever has
	// it waits for no row.
	gate chan struct{}

	mu   sync.Mutex
	node string // empty for no chain
	end  position
	key  *auditHashKey // nil before the store is open, or where it is damaged
}

func newChain() *chain {
	return &chain{beginning: make(chan struct{}, 1), gate: make(chan struct{}, 1)}
}

// current is the chain's name and end.
func (c *chain) current() (node string, end position, key *auditHashKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node, c.end, c.key
}

func (c *chain) set(node string, end position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node, c.end = node, end
}

// link is what a transaction appends to the chain, which it holds. A nil link is
// of a transaction that appends nothing.
type link struct {
	chain *chain
	node  string
	end   position
}

// committed moves the end of the chain.
func (l *link) committed() {
	if l != nil {
		l.chain.set(l.node, l.end)
	}
}

// abandon leaves the chain: whether the transaction was done is not known, or
// the chain in the database is another one than it was left. Another chain is
// begun.
func (l *link) abandon() {
	if l != nil {
		l.chain.set("", position{})
	}
}

// release lets the next transaction append.
func (l *link) release() {
	if l != nil {
		<-l.chain.gate
	}
}

// errChainLost: there is no chain to append to; begin one and try again.
var errChainLost = errors.New("the chain of the audit was left")

// beginTries is how often a chain is begun for one write.
const beginTries = 3

// appending runs a write that appends to the chain, and begins one before it
// where there is none.
func (s *Store) appending(ctx context.Context, write func() error) error {
	err := errChainLost
	for n := 0; n < beginTries && errors.Is(err, errChainLost); n++ {
		if begun := s.beginChain(ctx); begun != nil {
			return fmt.Errorf("%w: %w", tokenstore.ErrAudit, begun)
		}
		err = write()
	}
	return err
}

// change is write for what the audit has an entry of: it appends the one of
// tokenstore.WithAudit in the same transaction.
func (s *Store) change(ctx context.Context, what string, ref realm.Ref, target string, do func(tx *txn) error) error {
	template, ok := tokenstore.AuditOf(ctx)
	if !ok {
		return s.write(ctx, what, ref, do)
	}
	if template.Realm == "" && template.Key == "" {
		template.Realm, template.Key = ref.Realm, ref.Key
	}
	if template.Target == "" {
		template.Target = target
	}
	return s.appending(ctx, func() error {
		return s.write(ctx, what, ref, func(tx *txn) error {
			if err := do(tx); err != nil || tx.unchanged {
				return err
			}
			entry := template // another try begins with it, too
			if tx.created {
				entry.Created()
			}
			return s.appendEntries(ctx, tx, []*tokenstore.AuditEntry{&entry})
		})
	})
}

// appendEntries writes entries at the end of the chain, and holds the chain
// until the transaction has ended.
func (s *Store) appendEntries(ctx context.Context, tx *txn, entries []*tokenstore.AuditEntry) error {
	select {
	case s.chain.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	node, end, key := s.chain.current()
	tx.link = &link{chain: s.chain, node: node, end: end}
	if node == "" {
		return errChainLost
	}
	for _, e := range entries {
		if err := s.stampEntry(ctx, tx, e); err != nil {
			return fmt.Errorf("%w: %w", tokenstore.ErrAudit, err)
		}
	}
	rows := make([]entryRow, len(entries))
	for i, e := range entries {
		e.Node, e.Seq = node, tx.link.end.seq+1
		e.Normalize()
		text, err := marshal(e)
		if err != nil {
			return err
		}
		tx.link.end = position{e.Seq, key.digest(tx.link.end.digest, text)}
		rows[i] = entryRow{columns: columnsOf(*e), text: text, digest: tx.link.end.digest}
	}
	err := insertEntries(ctx, tx, rows)
	if err == nil {
		err = s.moveEnd(ctx, tx, node, tx.link.end)
	}
	if tx.dialect.isDuplicate(err) || errors.Is(err, errChainLost) {
		s.log.Error("the end of the audit's chain is not where it was left; another chain is begun, and a verification tells what happened",
			zap.String("store", s.dialect.name()), zap.String("node", node), zap.Int64("seq", end.seq))
		tx.link.abandon()
		return errChainLost
	}
	if err != nil {
		return fmt.Errorf("%w: %w", tokenstore.ErrAudit, err)
	}
	return nil
}

// stampEntry dates an entry that has no time.
func (s *Store) stampEntry(ctx context.Context, tx *txn, e *tokenstore.AuditEntry) (err error) {
	if e.Time.IsZero() {
		e.Time, err = tx.now(ctx)
	}
	return err
}

// moveEnd seals the new end of the chain.
func (s *Store) moveEnd(ctx context.Context, x execer, node string, end position) error {
	seal, keyID, err := s.sealPlain(headAD(auditEndKind, node, end.seq), end.digest[:])
	if err != nil {
		return err
	}
	res, err := x.ExecContext(ctx, "UPDATE tokens_audit_heads SET seal = ?, key_id = ?, version = ? WHERE kind = ? AND node = ?",
		seal, keyID, end.seq, []byte(auditEndKind), []byte(node))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return errChainLost // somebody took it for the chain of a dead process
}

func headAD(kind, node string, version int64) tokenstore.AD {
	return tokenstore.AD{Column: auditLabel, Ref: realm.Ref{Realm: kind, Key: node}, Version: version}
}

// putHead writes a row of tokens_audit_heads, in place of the one before.
func (s *Store) putHead(ctx context.Context, x execer, kind, node string, version int64, plain []byte) error {
	seal, keyID, err := s.sealPlain(headAD(kind, node, version), plain)
	if err != nil {
		return err
	}
	_, err = x.ExecContext(ctx, "REPLACE INTO tokens_audit_heads (seal, key_id, version, kind, node) VALUES (?, ?, ?, ?, ?)",
		seal, keyID, version, []byte(kind), []byte(node))
	return err
}

// headRow reads and opens a row of tokens_audit_heads; found is false where
// there is none. lock is the dialect's forUpdate, or nothing.
func (s *Store) headRow(ctx context.Context, x execer, kind, node, lock string) (plain []byte, version int64, found bool, err error) {
	var seal []byte
	query := "SELECT seal, version FROM tokens_audit_heads WHERE kind = ? AND node = ?" + lock
	err = x.QueryRowContext(ctx, query, []byte(kind), []byte(node)).Scan(&seal, &version) // #nosec G202 -- constants
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, false, nil
	}
	if err != nil {
		return nil, 0, false, err
	}
	plain, err = s.keys.Open(headAD(kind, node, version), seal)
	if err != nil {
		return nil, version, true, finalError{err}
	}
	return plain, version, true, nil
}

// openAuditKey reads the key of the digests, and makes it for a new database.
// The caller holds the lock. A damaged one does not keep the store from opening:
// what is not audited still works.
func (s *Store) openAuditKey(ctx context.Context, x execer) error {
	var key auditHashKey
	plain, _, found, err := s.headRow(ctx, x, auditKeyKind, "", "")
	switch {
	case found && (err != nil || len(plain) != len(key)):
		s.log.Error("the key of the audit is damaged: nothing that is audited can be done", zap.String("store", s.dialect.name()), zap.Error(err))
		return nil
	case err != nil:
		return err
	case found:
		copy(key[:], plain)
	default:
		there, err := chainsThere(ctx, x)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			s.log.Error("the key of the audit is missing; another one is made, and the entries of before cannot be verified any more",
				zap.String("store", s.dialect.name()))
		}
		if _, err := rand.Read(key[:]); err != nil {
			return err
		}
		if err := s.putHead(ctx, x, auditKeyKind, "", 0, key[:]); err != nil {
			return err
		}
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.key = &key
	return nil
}

// chainList is the list of the chains. Lost is when it was found damaged or
// missing, and made again of the chains that were there: some may be missing.
type chainList struct {
	Nodes []string  `json:"nodes"`
	Lost  time.Time `json:"lost,omitzero"`
}

// listRow is the list of the chains in its register.
var listRow = idOf("audit", realm.Ref{Realm: auditListKind})

// lockList reads the list of the chains and holds it. Its register is locked
// first: it is there when the list is not yet, so that two that begin the first
// chains wait for each other.
func (s *Store) lockList(ctx context.Context, tx *txn) (list chainList, l *ledger, err error) {
	if l, err = s.lockLedger(ctx, tx, listRow); err != nil {
		return list, nil, err
	}
	plain, version, found, err := s.headRow(ctx, tx, auditListKind, "", tx.dialect.forUpdate())
	damaged := err
	if err != nil && !cannotBeOpened(err) {
		return list, nil, err
	}
	register := l.registers[listRow.register()]
	_, known := register.rows[listRow]
	switch {
	case !found && !known && l.faults[listRow.register()] == nil:
		return list, l, nil // the first chain of all
	case found && damaged == nil:
		damaged = l.check(listRow, version, "the list of the audit's chains")
	case !found:
		damaged = fmt.Errorf("the list of the audit's chains is missing: %w", tokenstore.ErrDamaged)
	}
	if damaged == nil {
		if err := json.Unmarshal(plain, &list); err != nil {
			return list, nil, finalError{damagedRow(auditLabel, realm.Ref{Realm: auditListKind})}
		}
		return list, l, nil
	}
	s.log.Error("the list of the audit's chains is lost or damaged; it is made again, and a verification tells so from now on",
		zap.String("store", s.dialect.name()), zap.Error(damaged))
	if list.Nodes, err = chainsThere(ctx, tx); err != nil {
		return list, nil, err
	}
	list.Lost, err = tx.now(ctx)
	return list, l, err
}

// putList writes the list of the chains.
func (s *Store) putList(ctx context.Context, tx *txn, l *ledger, list chainList) error {
	plain, err := marshal(list)
	if err != nil {
		return err
	}
	if err := s.putHead(ctx, tx, auditListKind, "", l.version, plain); err != nil {
		return err
	}
	return l.save(ctx, tx, listRow)
}

// chainsThere are the chains of which there is an end.
func chainsThere(ctx context.Context, x execer) (nodes []string, err error) {
	rows, err := x.QueryContext(ctx, "SELECT node FROM tokens_audit_heads WHERE kind = ? ORDER BY node", []byte(auditEndKind))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var node string
		if err := rows.Scan(&node); err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, rows.Err()
}

// beginChain begins this store's chain where it has none, in a transaction of
// its own: the registers may be held by only one part of a transaction.
func (s *Store) beginChain(ctx context.Context) error {
	if node, _, _ := s.chain.current(); node != "" {
		return nil
	}
	select {
	case s.chain.beginning <- struct{}{}:
		defer func() { <-s.chain.beginning }()
	case <-ctx.Done():
		return ctx.Err()
	}
	node, _, key := s.chain.current()
	if node != "" { // somebody else was faster
		return nil
	}
	if key == nil && s.db.Load() != nil {
		return fmt.Errorf("%w: the key of the audit is damaged", tokenstore.ErrUnavailable)
	}
	var name string
	err := s.write(ctx, "begin a chain of the audit", realm.Ref{}, func(tx *txn) error {
		list, l, err := s.lockList(ctx, tx)
		if err != nil {
			return err
		}
		name = tokenstore.NodeID()
		for n := 2; slices.Contains(list.Nodes, name); n++ {
			name = fmt.Sprintf("%s-%d", tokenstore.NodeID(), n)
		}
		list.Nodes = append(list.Nodes, name)
		if err := s.putHead(ctx, tx, auditEndKind, name, 0, make([]byte, sha256.Size)); err != nil {
			return err
		}
		return s.putList(ctx, tx, l, list)
	})
	if err == nil {
		s.chain.set(name, position{})
	}
	return err
}
