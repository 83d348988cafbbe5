// Package redisstore is a cache of sealed tokens in Redis, shared by all
// nodes, in front of a database. It is a hint and never the truth: whatever
// happens to Redis costs latency, not correctness, and no operation fails.
//
// An entry is a hash: field l is the token's lineage, field v the sealed
// token. An entry without v is a tombstone: tokens up to its lineage are not
// accepted while it lives.
package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// level is the name of this level of the store.
	level = "redis"
	// prefix stands in front of every key.
	prefix = "tokens:"
	// opBudget is what one operation may take; after that the database is asked.
	opBudget = 50 * time.Millisecond
	// healthBudget is what a question about Redis' health may take.
	healthBudget = time.Second
)

// putScript stores a token unless the same or a newer one, or the tombstone of
// one, is there. KEYS[1] entry; ARGV: lineage, sealed token, life in ms (0:
// endless), and what the other nodes are told (nothing: none). A user who may not
// publish, or a proxy that lets no script do so, costs the hint and not the token.
var putScript = redis.NewScript(`
if ARGV[4] ~= '' then redis.pcall('PUBLISH', '` + wakeChannel + `', ARGV[4]) end
local have = redis.call('HGET', KEYS[1], 'l')
if have and tonumber(have) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'l', ARGV[1], 'v', ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1`)

// deleteScript puts a tombstone in the place of a token, unless a newer one is
// there, which was saved after what the caller saw. ARGV: lineage, life of the
// tombstone in ms.
var deleteScript = redis.NewScript(`
local have = redis.call('HGET', KEYS[1], 'l')
if have and tonumber(have) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'l', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

// Cache is a tokenstore.Cache in Redis.
type Cache struct {
	client  redis.UniversalClient
	keys    *tokenstore.Keyring
	log     *zap.Logger
	breaker *breaker
	failed  func(level string)
	missed  missed
	now     func() time.Time
	budget  time.Duration // of one operation
	id      cacheID

	// base ends with the cache; work is the goroutine that makes up for what
	// was missed.
	base context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

var _ tokenstore.Cache = (*Cache)(nil)

// entry is what of a token is sealed; times are microseconds since 1970, 0 for
// none.
type entry struct {
	Access         string `json:"a"`
	Refresh        string `json:"r,omitempty"`
	Fingerprint    []byte `json:"f"`
	Issued         int64  `json:"i,omitempty"`
	Expires        int64  `json:"e,omitempty"`
	RefreshExpires int64  `json:"x,omitempty"`
	// Kept is missing in what older versions wrote.
	Kept map[string]string `json:"k,omitempty"`
}

// Option changes a cache that is being made.
type Option func(*Cache)

// WithFailures has failed called with "redis" for every operation that Redis
// did not do in time. Those that are not tried, because it is known to be
// away, do not count. It must not block.
func WithFailures(failed func(level string)) Option { return func(c *Cache) { c.failed = failed } }

// New makes a cache. One URL is a single server, several are the nodes of a
// cluster, and with ?master_name= they are sentinels; see parseURLs. Nothing
// is connected yet. The keyring must be loaded before the first operation; a
// database's Open does that. Errors never show a URL, which may hold a
// password.
func New(urls []string, keys *tokenstore.Keyring, log *zap.Logger, more ...Option) (*Cache, error) {
	opts, err := parseURLs(urls)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		client: redis.NewUniversalClient(opts), keys: keys, log: log, now: time.Now, budget: opBudget, id: newCacheID(), failed: func(string) {},
	}
	for _, opt := range more {
		opt(c)
	}
	c.breaker = newBreaker(func() time.Time { return c.now() })
	c.base, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Get implements tokenstore.Cache.
func (c *Cache) Get(ctx context.Context, ref realm.Ref) (realm.Token, bool) {
	if c.missed.contains(ref) {
		return realm.Token{}, false // what Redis has is older than what we know
	}
	var fields []any
	reached := c.try(ctx, func(ctx context.Context) (err error) {
		fields, err = c.client.HMGet(ctx, key(ref), "l", "v").Result()
		return err
	})
	if !reached || len(fields) != 2 {
		return realm.Token{}, false
	}
	number, _ := fields[0].(string)
	sealed, ok := fields[1].(string)
	if !ok { // nothing cached, or a tombstone
		return realm.Token{}, false
	}
	t, err := c.open(ref, number, []byte(sealed))
	if err != nil {
		c.log.Debug("cached token cannot be used", zap.Stringer("token", ref), zap.Error(err))
		return realm.Token{}, false
	}
	return t, !t.Expired(c.now())
}

// Put implements tokenstore.Cache. A token that cannot be served leaves a
// tombstone: an older one may still be cached.
func (c *Cache) Put(ctx context.Context, ref realm.Ref, t realm.Token) { c.put(ctx, ref, t, nil) }

// PutAndWake implements tokenstore.Signals.
func (c *Cache) PutAndWake(ctx context.Context, ref realm.Ref, t realm.Token) {
	if !c.put(ctx, ref, t, c.wakeMessage(ref)) {
		c.Wake(ctx, ref)
	}
}

// put stores a token and tells the other nodes message. It reports whether it
// tried both: what cannot be served is not stored.
func (c *Cache) put(ctx context.Context, ref realm.Ref, t realm.Token, message []byte) bool {
	life := int64(0)
	if !t.ExpiresAt.IsZero() {
		life = t.ExpiresAt.Sub(c.now()).Milliseconds()
	}
	if t.Access == "" || life < 0 || life == 0 && !t.ExpiresAt.IsZero() {
		c.Delete(ctx, ref, t.Lineage)
		return false
	}
	sealed, err := c.seal(ref, t)
	if err != nil {
		c.log.Error("token cannot be sealed for the cache", zap.Stringer("token", ref), zap.Error(err))
		return false
	}
	c.change(ctx, ref, t.Lineage, func(ctx context.Context) error {
		return putScript.Run(ctx, c.client, []string{key(ref)}, t.Lineage, sealed, life, message).Err()
	})
	return true
}

// Delete implements tokenstore.Cache.
func (c *Cache) Delete(ctx context.Context, ref realm.Ref, lineage int64) {
	c.change(ctx, ref, lineage, func(ctx context.Context) error { return c.putTombstone(ctx, ref, lineage) })
}

// Health implements tokenstore.HealthReporter.
func (c *Cache) Health(ctx context.Context) []tokenstore.Health {
	ctx, cancel := context.WithTimeout(ctx, healthBudget)
	defer cancel()
	return []tokenstore.Health{tokenstore.HealthOf(level, c.client.Ping(ctx).Err())}
}

// Close implements tokenstore.Cache.
func (c *Cache) Close() error {
	c.stop()
	c.missed.close()
	c.work.Wait()
	return c.client.Close()
}

// change runs an operation that must not be lost. Redis keeps what it had when
// it was not reached, and the other nodes would read that: the reference is
// remembered, and a tombstone put for it as soon as Redis answers.
func (c *Cache) change(ctx context.Context, ref realm.Ref, lineage int64, do func(ctx context.Context) error) {
	if !c.try(ctx, do) && c.missed.add(ref, lineage) {
		c.work.Go(c.catchUpAll)
	}
}

// catchUpAll tries, as often as the breaker allows, until nothing is missed. Each
// try catches up first.
func (c *Cache) catchUpAll() {
	tick := time.NewTicker(catchUpEvery)
	defer tick.Stop()
	for !c.missed.finished() {
		select {
		case <-tick.C:
			c.try(c.base, func(context.Context) error { return nil })
		case <-c.base.Done():
			return
		}
	}
}

// putTombstone puts a tombstone.
func (c *Cache) putTombstone(ctx context.Context, ref realm.Ref, lineage int64) error {
	return deleteScript.Run(ctx, c.client, []string{key(ref)}, lineage, tokenstore.TombstoneTTL.Milliseconds()).Err()
}

// try runs one operation within the budget, unless the breaker is open, and
// reports whether Redis answered. The first one that reaches Redis again first
// makes up for what was missed.
func (c *Cache) try(ctx context.Context, do func(ctx context.Context) error) bool {
	if !c.breaker.allow() {
		return false
	}
	bounded, cancel := context.WithTimeout(ctx, c.budget)
	defer cancel()
	err := c.missed.catchUp(func(ref realm.Ref, lineage int64) error { return c.putTombstone(bounded, ref, lineage) })
	if err == nil {
		err = do(bounded)
	}
	if err != nil && ctx.Err() != nil {
		c.breaker.abstain() // the caller left; that says nothing of Redis
		return false
	}
	if err != nil {
		c.failed(level)
	}
	switch c.breaker.report(err == nil) {
	case wentDown:
		c.log.Warn("redis cannot be used; going on without it", zap.Error(err))
	case cameBack:
		c.log.Info("redis is back")
	case stayed:
	}
	return err == nil
}

// key is the entry's name: the tuple with its lengths, so that no two
// references share one.
func key(ref realm.Ref) string { return string(ref.AppendTo([]byte(prefix))) }

func (c *Cache) seal(ref realm.Ref, t realm.Token) ([]byte, error) {
	plain, err := json.Marshal(entry{
		Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Fingerprint: t.Fingerprint[:],
		Issued: micro(t.IssuedAt), Expires: micro(t.ExpiresAt), RefreshExpires: micro(t.RefreshExpiresAt),
		Kept: t.Kept.Reveal(),
	})
	if err != nil {
		return nil, err
	}
	return c.keys.Seal(associated(ref, t.Lineage), plain)
}

func (c *Cache) open(ref realm.Ref, number string, sealed []byte) (realm.Token, error) {
	lineage, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return realm.Token{}, fmt.Errorf("lineage: %w", tokenstore.ErrDamaged)
	}
	plain, err := c.keys.Open(associated(ref, lineage), sealed)
	if err != nil {
		return realm.Token{}, err
	}
	var e entry
	if json.Unmarshal(plain, &e) != nil {
		return realm.Token{}, tokenstore.ErrDamaged
	}
	t := realm.Token{
		Access: realm.Hidden(e.Access), Refresh: realm.Hidden(e.Refresh), Lineage: lineage,
		IssuedAt: instant(e.Issued), ExpiresAt: instant(e.Expires), RefreshExpiresAt: instant(e.RefreshExpires),
		Kept: realm.KeptOf(e.Kept),
	}
	copy(t.Fingerprint[:], e.Fingerprint)
	return t, nil
}

func associated(ref realm.Ref, lineage int64) tokenstore.AD {
	return tokenstore.AD{Column: "redis.token", Ref: ref, Version: lineage}
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
