package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// wakeChannel carries a reference and the id of the cache that it is from.
	wakeChannel = prefix + "wake"
	// leasePrefix begins as the entry of a realm without an id would, which
	// there is not: no entry shares a name with a lease.
	leasePrefix = prefix + "\x00lease:"
	// listenPause is how long Redis is left alone after it hung up; it doubles
	// up to maxPause.
	listenPause = time.Second
	// listenIdle is how long nothing may be heard until the connection is
	// asked whether it still lives; it has as long to answer.
	listenIdle = 10 * time.Second
)

// cacheID tells a cache's own messages from those of others, also of another
// cache in the same process.
type cacheID [16]byte

func newCacheID() (id cacheID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// Wake implements tokenstore.Signals.
func (c *Cache) Wake(ctx context.Context, ref realm.Ref) {
	c.try(ctx, func(ctx context.Context) error {
		return c.client.Publish(ctx, wakeChannel, c.wakeMessage(ref)).Err()
	})
}

// wakeMessage is what wakeChannel carries.
func (c *Cache) wakeMessage(ref realm.Ref) []byte { return append(ref.AppendTo(nil), c.id[:]...) }

// Wakes implements tokenstore.Waker. While Redis is away it tries ever more
// rarely to reach it, and for ever.
func (c *Cache) Wakes(ctx context.Context, woken func(realm.Ref)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.base, cancel)() //nolint:contextcheck // the cache may end first
	for pause := listenPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		if c.listen(ctx, woken) {
			pause = listenPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// listen passes on what comes until the connection breaks, and reports whether
// there was one.
func (c *Cache) listen(ctx context.Context, woken func(realm.Ref)) (reached bool) {
	sub := c.client.Subscribe(ctx)
	defer func() { _ = sub.Close() }()                         // it may be closed already
	defer context.AfterFunc(ctx, func() { _ = sub.Close() })() // nothing else ends a read
	if err := sub.Subscribe(ctx, wakeChannel); err != nil {
		return false
	}
	for asked := false; ; {
		got, err := sub.ReceiveTimeout(ctx, listenIdle)
		switch {
		case err == nil:
			asked, reached = false, true
		case asked || !isTimeout(err) || sub.Ping(ctx) != nil:
			return reached
		default:
			asked = true
			continue
		}
		if m, ok := got.(*redis.Message); ok {
			ref, from, ok := realm.CutRef([]byte(m.Payload))
			if ok && len(from) == len(c.id) && cacheID(from) != c.id {
				woken(ref)
			}
		}
	}
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// Lease implements tokenstore.Leaser.
func (c *Cache) Lease(ctx context.Context, ref realm.Ref, d time.Duration) (granted, known bool) {
	known = c.try(ctx, func(ctx context.Context) error {
		err := c.client.SetArgs(ctx, leaseKey(ref), c.id[:],
			redis.SetArgs{Mode: "NX", TTL: max(d, time.Millisecond)}).Err()
		granted = err == nil
		if errors.Is(err, redis.Nil) {
			return nil // another one has it
		}
		return err
	})
	return granted && known, known
}

func leaseKey(ref realm.Ref) string { return string(ref.AppendTo([]byte(leasePrefix))) }

var _ tokenstore.Signals = (*Cache)(nil)
