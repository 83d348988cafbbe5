package broker

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// noAudit is the audit of the model's store: what the broker does is not
// audited, so that nothing is ever appended.
type noAudit struct{}

func (noAudit) AppendAudit(context.Context, ...*tokenstore.AuditEntry) error {
	return tokenstore.ErrAudit
}

func (noAudit) Audit(context.Context, tokenstore.AuditFilter, tokenstore.Page) ([]tokenstore.AuditEntry, int, error) {
	return nil, 0, nil
}

func (noAudit) WalkAudit(context.Context, tokenstore.AuditFilter, func(tokenstore.AuditEntry) error) error {
	return nil
}

func (noAudit) VerifyAudit(context.Context, func(tokenstore.AuditChain)) error { return nil }

func (noAudit) PruneAudit(context.Context, time.Time) (int, error) { return 0, nil }
