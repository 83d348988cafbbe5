package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// tries bounds how often one request is sent; maxWait how long is waited
	// before the next time, whatever Retry-After says.
	tries   = 5
	maxWait = 30 * time.Second
)

// api is the HTTP API of this product.
type api struct {
	client *apiclient.Client
	wait   func(ctx context.Context, d time.Duration) error
	say    func(format string, args ...any)
}

func newAPI(o Options) (*api, error) {
	o.API.Connections = o.Parallel
	client, err := apiclient.New(o.API)
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(o.Progress, format+"\n", args...) }
	if client.IsInClear() {
		say("secrets are sent to %s in clear: use https where others could listen", client.Host())
	}
	return &api{client: client, wait: o.wait, say: say}, nil
}

func (a *api) close() { a.client.Close() }

// probe finds out whether there is an API that lets us in.
func (a *api) probe(ctx context.Context) error {
	answer, err := a.client.Send(ctx, http.MethodGet, "/api/status", nil)
	if err != nil {
		return err
	}
	var status struct{ Stores *json.RawMessage }
	if err := a.client.Error(answer); err != nil || json.Unmarshal(answer.Body, &status) != nil || status.Stores == nil {
		if errors.Is(err, apiclient.ErrForbidden) {
			return err
		}
		return fmt.Errorf("%w: %s answers with status %d; --api names the site that has token_admin", apiclient.ErrNotAPI, a.client.Base(), answer.Status)
	}
	return nil
}

// get reads one document; found is false where there is none.
func (a *api) get(ctx context.Context, path string) (shown []byte, found bool, err error) {
	shown, err = a.call(ctx, http.MethodGet, path, nil, "")
	var refusal *apiclient.RefusedError
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound && strings.HasSuffix(string(refusal.Code), "_not_found") {
		return nil, false, nil
	}
	return shown, err == nil, err
}

// post writes one document. created is where one that is new is shown then, ""
// for one that exists already.
func (a *api) post(ctx context.Context, collection string, d document, created string) error {
	body, err := d.encode()
	if err != nil {
		return realm.Fieldf("", "cannot be written as JSON")
	}
	_, err = a.call(ctx, http.MethodPost, collection, body, created)
	return err
}

// call sends a request until it is answered, a bounded number of times. What it
// creates may be there without an answer, and its tokens may be in use already: it
// is not sent over that again.
func (a *api) call(ctx context.Context, method, path string, body []byte, created string) ([]byte, error) {
	for n := 1; ; n++ {
		answer, err := a.client.Send(ctx, method, path, body)
		if err == nil && answer.Status != http.StatusServiceUnavailable {
			return answer.Body, a.client.Error(answer)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if n == tries {
			if err == nil {
				err = fmt.Errorf("%w: status 503 after %d tries", apiclient.ErrUnreachable, tries)
			}
			return nil, err
		}
		pause := min(max(answer.RetryAfter, time.Duration(n)*time.Second), maxWait)
		a.say("the API is not available; next try in %s", pause)
		if err := a.wait(ctx, pause); err != nil {
			return nil, context.Cause(ctx)
		}
		if created != "" {
			if shown, found, err := a.get(ctx, created); err != nil || found {
				return shown, err
			}
		}
	}
}
