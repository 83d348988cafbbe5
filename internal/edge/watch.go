package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"mime"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// firstPause and longestPause bound the wait before the stream of changes is
	// opened again.
	firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
	// silence is how long a stream may say nothing: the other instance sends
	// something every 15 seconds.
	silence = 20 * time.Second
	// maxLine bounds a line of the stream.
	maxLine = 64 << 10
)

// Listen implements tokenstore.Upstream.
func (s *Store) Listen(ctx context.Context, to tokenstore.UpstreamListener) {
	heard := &listening{store: s, to: to}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := heard.stream(ctx)
		to.IsDeaf()
		if ctx.Err() != nil {
			return
		}
		if heard.hears {
			pause = firstPause
		}
		heard.lost(err)
		var refused *realm.Error
		if errors.As(err, &refused) {
			pause = max(min(refused.RetryAfter, time.Minute), longestPause)
		}
		select {
		// Many edges lose one upstream at the same time.
		case <-time.After(pause/2 + rand.N(pause/2)): // #nosec G404 -- it only spreads
		case <-ctx.Done():
			return
		}
	}
}

// listening is one who listens. What it tells the log is told once.
type listening struct {
	store *Store
	to    tokenstore.UpstreamListener
	// hears: the last stream was opened. isLost: the log knows that there is none.
	hears, isLost bool
}

func (l *listening) lost(err error) {
	if !l.isLost {
		l.store.log.Warn("changes are not heard of any more; tokens are served to their end, and asked about while the upstream answers", zap.Error(err))
	}
	l.isLost = true
}

// stream reads one stream of changes to its end.
func (l *listening) stream(ctx context.Context) error {
	l.hears = false
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	resp, err := l.store.send(ctx, http.MethodGet, "/api/watch", nil, nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		text := make([]byte, maxLine)
		n, _ := resp.Body.Read(text)
		return l.store.refusal(resp, text[:n])
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for event := ""; lines.Scan(); {
		alive.Reset(silence)
		line := lines.Text()
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "data":
			if err := l.take(event, value); err != nil {
				return err
			}
			event = ""
		}
	}
	return errors.New("the stream of changes has ended")
}

// take tells of one event.
func (l *listening) take(event, data string) error {
	switch event {
	case "ready", "gap":
		l.hears = true
		l.to.Hears()
		if l.isLost {
			l.store.log.Info("changes are heard of again")
		}
		l.isLost = false
	case "":
		var c struct {
			Realm   string `json:"realm"`
			Key     string `json:"key"`
			Lineage int64  `json:"lineage"`
			State   string `json:"state"`
		}
		if err := json.Unmarshal([]byte(data), &c); err != nil || c.Realm == "" {
			return l.store.stranger("is no event")
		}
		l.to.Changed(realm.Ref{Realm: c.Realm, Key: c.Key}, c.Lineage, c.State)
	}
	return nil
}
