package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What a verification finds.
const (
	isMissing     = "the entry is missing"
	isAltered     = "the entry was altered"
	isElsewhere   = "another entry stands in its place"
	isBeside      = "a column beside the entry was altered"
	isBack        = "an entry is there that was deleted for its age"
	isCut         = "the entries at the end are missing"
	isOldEnd      = "the sealed end of the chain is not the newest one"
	isNoEnd       = "the sealed end of the chain is missing"
	isDamagedEnd  = "the sealed end of the chain is damaged"
	isDamagedHead = "the sealed beginning of the chain is damaged"
	isUnlisted    = "the chain is not in the list of the chains"
	isNoList      = "the list of the chains is missing or damaged"
)

// walk follows one chain from its beginning.
type walk struct {
	key  auditHashKey
	node string
	at   position // the last entry that was verified
}

// next verifies the entry behind the last one, and returns what is wrong with
// it, "" for nothing.
func (w *walk) next(r entryRow) string {
	if r.columns.Seq != w.at.seq+1 {
		return isMissing
	}
	var e tokenstore.AuditEntry
	if json.Unmarshal(r.text, &e) != nil {
		return isAltered
	}
	if e.Node != w.node || e.Seq != r.columns.Seq {
		return isElsewhere
	}
	digest := w.key.digest(w.at.digest, r.text)
	if digest != r.digest {
		return isAltered
	}
	if columnsOf(e) != r.columns {
		return isBeside
	}
	w.at = position{r.columns.Seq, digest}
	return ""
}

// VerifyAudit implements tokenstore.AuditStore.
func (s *Store) VerifyAudit(ctx context.Context, each func(tokenstore.AuditChain)) error {
	list, reason, err := s.auditList(ctx)
	if err != nil {
		return err
	}
	if reason != "" {
		each(tokenstore.AuditChain{Reason: reason})
	}
	for _, node := range list.Nodes {
		found, err := s.verifyChain(ctx, node)
		if err != nil {
			return err
		}
		if found.Reason != "" {
			// It may have been removed meanwhile, with all its entries.
			now, _, err := s.auditList(ctx)
			if err != nil {
				return err
			}
			if !slices.Contains(now.Nodes, node) {
				continue
			}
		}
		each(found)
	}
	return s.verifyUnlisted(ctx, list, each)
}

// verifyUnlisted reports the chains that are there and not in the list.
func (s *Store) verifyUnlisted(ctx context.Context, before chainList, each func(tokenstore.AuditChain)) error {
	var there []string
	err := s.read(ctx, "look for chains of the audit", func(db *sql.DB) (err error) {
		if there, err = chainsThere(ctx, db); err != nil {
			return err
		}
		for last := []byte{}; ; { // one step in the index for each chain
			var node []byte
			err := db.QueryRowContext(ctx, "SELECT node FROM tokens_audit WHERE node > ? ORDER BY node LIMIT 1", last).Scan(&node)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return err
			}
			there, last = append(there, string(node)), node
		}
	})
	if err != nil {
		return err
	}
	after, _, err := s.auditList(ctx) // one may have begun meanwhile
	slices.Sort(there)
	for _, node := range slices.Compact(there) {
		if !slices.Contains(before.Nodes, node) && !slices.Contains(after.Nodes, node) {
			each(tokenstore.AuditChain{Node: node, Reason: isUnlisted})
		}
	}
	return err
}

// auditList reads the list of the chains, and says what is wrong with it.
func (s *Store) auditList(ctx context.Context) (list chainList, reason string, err error) {
	err = s.read(ctx, "read the list of the audit's chains", func(db *sql.DB) error {
		asked, register := s.ask(listRow), registerCells{}
		var seal []byte
		var version sql.NullInt64
		query := "SELECT t.seal, t.version, " + registerColumns + " FROM (SELECT 1 AS one) o" +
			" LEFT JOIN tokens_audit_heads t ON t.kind = ? AND t.node = ?" + registerJoin
		args := append([]any{[]byte(auditListKind), []byte{}}, asked.args()...)
		err := db.QueryRowContext(ctx, query, args...).Scan(append([]any{&seal, &version}, register.dest()...)...)
		if err != nil {
			return err
		}
		if list, err = s.openList(asked, seal, version, register); cannotBeOpened(err) {
			reason, err = isNoList, nil
		}
		return err
	})
	if reason == "" && !list.Lost.IsZero() {
		reason = "the list of the chains was lost at " + list.Lost.UTC().Format("2006-01-02T15:04:05Z") + ", and made again of those that were there"
	}
	return list, reason, err
}

// openList opens the list. There is none before the first chain; then its
// register does not know it.
func (s *Store) openList(asked asked, seal []byte, version sql.NullInt64, register registerCells) (list chainList, err error) {
	what := "the list of the audit's chains"
	if !version.Valid {
		if head, err := s.parseHead(register.headSeal, register.headVersion.Int64); err == nil && !register.version.Valid && head.versions[asked.id[0]] == 0 {
			return list, nil
		}
		reg, err := s.openRegister(asked, register)
		if _, known := reg.rows[asked.id]; err == nil && known {
			err = finalError{fmt.Errorf("%s is missing: %w", what, tokenstore.ErrDamaged)}
		}
		return list, err
	}
	if err := s.unseal(headAD(auditListKind, "", version.Int64), seal, &list); err != nil {
		return list, err
	}
	return list, s.verify(asked, version.Int64, register, what)
}

// verifyChain verifies one chain. Entries that are deleted meanwhile for their
// age would look like missing ones; then it begins again.
func (s *Store) verifyChain(ctx context.Context, node string) (tokenstore.AuditChain, error) {
	for {
		start, reason, err := s.chainStart(ctx, node)
		if err != nil || reason != "" {
			return tokenstore.AuditChain{Node: node, Reason: reason}, err
		}
		found, err := s.verifyFrom(ctx, node, start)
		if err != nil || found.Reason == "" {
			return found, err
		}
		if again, _, err := s.chainStart(ctx, node); err != nil || again == start {
			return found, err
		}
	}
}

// chainStart is where a chain begins: behind what was deleted for its age.
func (s *Store) chainStart(ctx context.Context, node string) (start position, reason string, err error) {
	err = s.read(ctx, "read the beginning of a chain", func(db *sql.DB) (err error) {
		start, reason, _, err = s.readPosition(ctx, db, auditStartKind, node, "")
		return err
	})
	if reason != "" {
		reason = isDamagedHead
	}
	return start, reason, err
}

// readPosition reads a sealed position; reason is not empty where it cannot be
// opened.
func (s *Store) readPosition(ctx context.Context, x execer, kind, node, lock string) (p position, reason string, found bool, err error) {
	plain, version, found, err := s.headRow(ctx, x, kind, node, lock)
	if found && (cannotBeOpened(err) || err == nil && len(plain) != len(p.digest)) {
		return p, isDamagedEnd, found, nil
	}
	p.seq = version
	copy(p.digest[:], plain)
	return p, "", found, err
}

// verifyFrom verifies a chain behind a position.
func (s *Store) verifyFrom(ctx context.Context, node string, start position) (tokenstore.AuditChain, error) {
	_, _, key := s.chain.current()
	if key == nil {
		return tokenstore.AuditChain{Node: node, Reason: "the key of the audit is damaged"}, nil
	}
	w := walk{key: *key, node: node, at: start}
	result := func(seq int64, reason string) tokenstore.AuditChain {
		found := tokenstore.AuditChain{Node: node, Seq: seq, Reason: reason}
		if w.at.seq > start.seq {
			found.First, found.Last = start.seq+1, w.at.seq
		}
		return found
	}
	deleted, err := s.entryBefore(ctx, node, start)
	if err != nil || deleted != nil {
		return result(seqOf(deleted), isBack), err
	}
	for {
		end, rows, reason, err := s.nextEntries(ctx, &w)
		if err != nil {
			return result(0, ""), err
		}
		if reason != "" {
			return result(w.at.seq+1, reason), nil
		}
		for _, r := range rows {
			if reason := w.next(r); reason != "" {
				return result(w.at.seq+1, reason), nil
			}
		}
		switch {
		case len(rows) > 0: // there may be more
		case end.seq > w.at.seq:
			return result(w.at.seq+1, isCut), nil
		case end != w.at:
			return result(end.seq, isOldEnd), nil
		default:
			return result(0, ""), nil
		}
	}
}

func seqOf(seq *int64) int64 {
	if seq == nil {
		return 0
	}
	return *seq
}

// entryBefore is the number of an entry that stands at or before the beginning
// of its chain.
func (s *Store) entryBefore(ctx context.Context, node string, start position) (seq *int64, err error) {
	err = s.read(ctx, "verify the audit", func(db *sql.DB) error {
		var first sql.NullInt64
		err := db.QueryRowContext(ctx, "SELECT MIN(seq) FROM tokens_audit WHERE node = ?", []byte(node)).Scan(&first)
		if first.Valid && first.Int64 <= start.seq {
			seq = &first.Int64
		}
		return err
	})
	return seq, err
}

// nextEntries reads the next entries of a chain, and its end before them: what
// was appended meanwhile is behind the end, and never the other way round.
func (s *Store) nextEntries(ctx context.Context, w *walk) (end position, rows []entryRow, reason string, err error) {
	err = s.read(ctx, "verify the audit", func(db *sql.DB) error {
		own, written, _ := s.chain.current()
		var found bool
		end, reason, found, err = s.readPosition(ctx, db, auditEndKind, w.node, "")
		switch {
		case err != nil:
			return err
		case !found:
			reason = isNoEnd
		case reason == "" && own == w.node && end.seq < written.seq:
			reason = isOldEnd
		}
		if reason != "" {
			return nil
		}
		rows, err = readEntries(ctx, db, "node = ? AND seq > ? ORDER BY seq LIMIT ?", []byte(w.node), w.at.seq, appendBatch)
		return err
	})
	return end, rows, reason, err
}
