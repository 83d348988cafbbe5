package broker

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// RotateKeys seals with the first encryption key everything that an older one
// sealed, see tokenstore.KeyRotator.
func (v *View) RotateKeys(ctx context.Context, progress func(tokenstore.TableProgress)) (tokenstore.Rotation, error) {
	rotator, ok := v.pool.store.(tokenstore.KeyRotator)
	if !ok {
		return tokenstore.Rotation{}, errNoUpkeep
	}
	if err := v.pool.awaitOpen(ctx); err != nil {
		return tokenstore.Rotation{}, upkeepError(err)
	}
	done, err := rotator.RotateKeys(ctx, progress)
	return done, upkeepError(err)
}

// Backup writes all rows of the store as they were at one moment, see
// tokenstore.BackupSource.
func (v *View) Backup(ctx context.Context, w io.Writer) error {
	source, ok := v.pool.store.(tokenstore.BackupSource)
	if !ok {
		return errNoUpkeep
	}
	if err := v.pool.awaitOpen(ctx); err != nil {
		return upkeepError(err)
	}
	return upkeepError(source.Backup(ctx, w))
}

var (
	errNoUpkeep = notActive("this store has neither keys nor a backup")

	errBackupRuns = &realm.Error{
		Code: realm.CodeConflict, Status: http.StatusConflict, Detail: "another backup is under way on this node; wait for its end",
	}
)

// upkeepError is the caller's form of an error. What is not the database's, such
// as a key file that cannot be written, only the operator can mend: it stays as
// it is, and goes into the log.
func upkeepError(err error) error {
	switch {
	case errors.Is(err, tokenstore.ErrBackupRuns):
		return errBackupRuns
	case tokenstore.IsUnavailable(err):
		return catalog.StoreError(err)
	}
	return err
}
