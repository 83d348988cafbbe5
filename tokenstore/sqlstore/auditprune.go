package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// errPruned: somebody else prunes the chain.
var errPruned = errors.New("the chain begins elsewhere by now")

// PruneAudit implements tokenstore.AuditStore.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (int, error) {
	list, _, err := s.auditList(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, node := range list.Nodes {
		for {
			n, err := s.pruneChain(ctx, node, before)
			if errors.Is(err, errPruned) {
				break
			}
			if total += n; err != nil {
				return total, err
			}
			if n < appendBatch {
				break
			}
		}
		if err := s.dropChain(ctx, node); err != nil {
			return total, err
		}
	}
	return total, nil
}

// pruneChain deletes the oldest entries of a chain, at most appendBatch. It
// verifies them first: what was deleted could not be verified any more.
func (s *Store) pruneChain(ctx context.Context, node string, before time.Time) (int, error) {
	_, _, key := s.chain.current()
	start, reason, err := s.chainStart(ctx, node)
	if err != nil || reason != "" || key == nil {
		return 0, err // the verification tells what is wrong
	}
	w := walk{key: *key, node: node, at: start}
	var rows []entryRow
	err = s.read(ctx, "prune the audit", func(db *sql.DB) (err error) {
		rows, err = readEntries(ctx, db, "node = ? AND seq > ? ORDER BY seq LIMIT ?", []byte(node), start.seq, appendBatch)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if !r.entry().Time.Before(before) {
			break
		}
		if reason := w.next(r); reason != "" {
			s.log.Error("entries of the audit are kept beyond their time, because one of them cannot be verified", zap.String("store", s.dialect.name()),
				zap.String("node", node), zap.Int64("seq", w.at.seq+1), zap.String("reason", reason))
			break
		}
	}
	if w.at == start {
		return 0, nil
	}
	return int(w.at.seq - start.seq), s.deleteEntries(ctx, node, start, w.at)
}

// deleteEntries deletes the entries behind one position up to another one,
// which is the beginning of the chain from then on. The entry that says so is
// written to this store's own chain.
func (s *Store) deleteEntries(ctx context.Context, node string, start, end position) error {
	return s.appending(ctx, func() error {
		return s.write(ctx, "prune the audit", realm.Ref{}, func(tx *txn) error {
			now, _, _, err := s.readPosition(ctx, tx, auditStartKind, node, tx.dialect.forUpdate())
			if err != nil {
				return err
			}
			if now != start {
				return finalError{errPruned}
			}
			res, err := tx.ExecContext(ctx, "DELETE FROM tokens_audit WHERE node = ? AND seq > ? AND seq <= ?", []byte(node), start.seq, end.seq)
			if err := expectRow(res, err, errPruned); err != nil {
				return err
			}
			if err := s.putHead(ctx, tx, auditStartKind, node, end.seq, end.digest[:]); err != nil {
				return err
			}
			return s.appendEntries(ctx, tx, []*tokenstore.AuditEntry{{
				ActorKind: "system", Act: tokenstore.ActCheckpoint, Target: node, Result: tokenstore.AuditOK,
				Detail: fmt.Sprintf("the entries %d to %d of %s were deleted for their age; the digest of the last one is %s",
					start.seq+1, end.seq, node, hex.EncodeToString(end.digest[:])),
			}})
		})
	})
}

// dropChain takes a chain of which nothing is left off the list. If its process
// lives after all, it begins another one.
func (s *Store) dropChain(ctx context.Context, node string) error {
	start, _, err := s.chainStart(ctx, node)
	if err != nil || start.seq == 0 {
		return err
	}
	return s.write(ctx, "drop a chain of the audit", realm.Ref{}, func(tx *txn) error {
		tx.unchanged = true
		list, l, err := s.lockList(ctx, tx)
		if err != nil {
			return err
		}
		end, reason, found, err := s.readPosition(ctx, tx, auditEndKind, node, tx.dialect.forUpdate())
		if err != nil || !found || reason != "" || end != start {
			return err
		}
		tx.unchanged = false
		if _, err := tx.ExecContext(ctx, "DELETE FROM tokens_audit_heads WHERE kind IN (?, ?) AND node = ?",
			[]byte(auditStartKind), []byte(auditEndKind), []byte(node)); err != nil {
			return err
		}
		list.Nodes = slices.DeleteFunc(list.Nodes, func(n string) bool { return n == node })
		return s.putList(ctx, tx, l, list)
	})
}
