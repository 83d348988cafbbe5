package caddymodule

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
)

const (
	// pollEvery is how often a verb looks again where nothing tells it of changes.
	pollEvery = 2 * time.Second
	// silence is after how long without a line a stream is taken for dead. The API
	// sends one every 15 seconds.
	silence = 45 * time.Second
)

// follow returns a channel that gets a value when the state of tokens may have
// changed, until ctx is done: by the stream of the API, or every two seconds where
// there is none, because the instance has none, does not let the caller read it, or
// is away for a moment.
func follow(ctx context.Context, c *apiclient.Client) <-chan struct{} {
	news := make(chan struct{}, 1)
	tell := func() {
		select {
		case news <- struct{}{}:
		default: // it is known already that there is something to look at
		}
	}
	go func() {
		for isServed := true; ctx.Err() == nil; {
			if isServed {
				err := hear(ctx, c, tell)
				var refused *apiclient.RefusedError
				isServed = !errors.As(err, &refused) && !errors.Is(err, apiclient.ErrForbidden) && !errors.Is(err, apiclient.ErrNotAPI)
			}
			select {
			case <-ctx.Done():
			case <-time.After(pollEvery):
				tell()
			}
		}
	}()
	return news
}

// hear calls tell for each event of the stream, also for the signs of life, since
// a stream tells of tokens and not of stores.
func hear(ctx context.Context, c *apiclient.Client, tell func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := c.Events(ctx, "/api/watch")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		dead.Reset(silence)
		if lines.Text() == "" { // an event ends
			tell()
		}
	}
	return lines.Err()
}
