package adminapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// rotation is the answer of a rotation that is not told line by line.
type rotation struct {
	Data    tokenstore.Rotation `json:"data"`
	Success string              `json:"success"`
}

// rotateKeys answers POST /api/keys/rotate: with what was done, or with a line
// for each batch of rows and the same in the end. It needs the right admin on
// realms "*". A caller that goes away stops it; the next call goes on.
func (a *api) rotateKeys(ctx context.Context, r *request) (any, error) {
	done, err := a.broker.RotateKeys(ctx, func(p tokenstore.TableProgress) {
		if r.lines != nil {
			r.lines.send(p)
		}
	})
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, &realm.Error{
			Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
			Detail: fmt.Sprintf("the key file cannot be written: %v; Caddy has to be able to write it, and other files in its directory", file.Err), Err: err,
		}
	case err != nil:
		return nil, err
	case r.lines != nil:
		r.lines.send(done)
		return reply{status: http.StatusOK}, nil
	}
	return rotation{Data: done, Success: success}, nil
}

// backup answers GET /api/backup: lines, whatever the caller accepts. It needs
// the right admin on realms "*".
func (a *api) backup(ctx context.Context, r *request) (any, error) {
	return reply{status: http.StatusOK}, a.broker.Backup(ctx, r.lines)
}
