package tokenstore

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TombstoneTTL is how long a cache remembers that a token was deleted. A token
// read from the database longer ago than this is not put into the cache any
// more, so that a node that was stopped in between cannot bring it back.
const TombstoneTTL = 30 * time.Second

// Cache is a shared level in front of a database. It is never the truth: none
// of its operations fails, a fault is a miss. Lineage decides what is newer.
type Cache interface {
	HealthReporter
	// Get returns the cached token.
	Get(ctx context.Context, ref realm.Ref) (realm.Token, bool)
	// Put offers a token; an older one than is cached or was deleted within
	// TombstoneTTL is ignored.
	Put(ctx context.Context, ref realm.Ref, t realm.Token)
	// Delete removes the token, and refuses those up to the lineage for
	// TombstoneTTL.
	Delete(ctx context.Context, ref realm.Ref, lineage int64)
	// Close releases everything.
	Close() error
}

// Lineages is implemented by databases: they know how far each token has
// counted, deleted ones too.
type Lineages interface {
	// Lineages returns the lineage of the reference's token or, with an empty
	// key, of all of the realm's.
	Lineages(ctx context.Context, ref realm.Ref) (map[realm.Ref]int64, error)
}

// Rereader is implemented by stores that have a cache in front.
type Rereader interface {
	// Reread is Token without the cache, which then has what the database
	// has: the change of another node may be known before it reaches the
	// cache, or may never have reached it.
	Reread(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error)
}

// Database is a store that a cache can stand in front of.
type Database interface {
	Store
	SessionStore
	Lineages
	HealthReporter
	WriteProber
	DamageReporter
	KeyRotator
	BackupSource
}

// Levels puts a cache in front of a database. Tokens are read from the cache
// first and filled upwards; everything is written to the database first. The
// store that it returns has the database's ChangeFeed, if there is one, and is
// a Waker and a Leaser if the cache has Signals.
func Levels(db Database, cache Cache) Store {
	l := &levels{Database: db, cache: cache}
	feed, feeds := db.(ChangeFeed)
	signals, talks := cache.(Signals)
	switch {
	case feeds && talks:
		return &signalFeedLevels{levels: l, ChangeFeed: feed, Waker: signals, Leaser: signals}
	case feeds:
		return &feedLevels{levels: l, ChangeFeed: feed}
	case talks:
		return &signalLevels{levels: l, Waker: signals, Leaser: signals}
	}
	return l
}

// levels passes on what only the database has: realms, reading secrets,
// authorizations, companies and clients.
type levels struct {
	Database
	cache Cache
}

type feedLevels struct {
	*levels
	ChangeFeed
}

var (
	_ Store          = (*levels)(nil)
	_ HealthReporter = (*levels)(nil)
	_ Rereader       = (*levels)(nil)
	_ ChangeFeed     = (*feedLevels)(nil)
)

// Health tells of the database and of the cache.
func (l *levels) Health(ctx context.Context) []Health {
	return append(l.Database.Health(ctx), l.cache.Health(ctx)...)
}

// Close closes both.
func (l *levels) Close() error { return errors.Join(l.cache.Close(), l.Database.Close()) }

// Token asks the cache, then the database.
func (l *levels) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	if t, ok := l.cache.Get(ctx, ref); ok {
		return t, realm.FromRedis, nil
	}
	return l.fill(ctx, ref)
}

// Reread implements Rereader.
func (l *levels) Reread(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	t, source, err := l.fill(ctx, ref)
	if errors.Is(err, ErrTokenNotFound) {
		l.forget(ctx, ref)
	}
	return t, source, err
}

// fill asks the database and offers the cache what it has.
func (l *levels) fill(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	start := time.Now() // monotonic: a process that was stopped notices it
	t, source, err := l.Database.Token(ctx, ref)
	if err == nil && time.Since(start) < TombstoneTTL/2 {
		l.cache.Put(ctx, ref, t)
	}
	return t, source, err
}

// Coordinate offers the cache what the database has: the token that was saved,
// or the one that another node saved and that may not have reached the cache.
// After an error the cache keeps what it has. If something was saved despite the
// error, the database's feed says so; if the database is away, the cached token
// may be the last one there is.
func (l *levels) Coordinate(ctx context.Context, ref realm.Ref, decide func(*State) error) (State, error) {
	start := time.Now() // monotonic: a process that was stopped notices it
	news := false
	st, err := l.Database.Coordinate(ctx, ref, func(st *State) error {
		open := st.Claim.Phase != PhaseNone
		err := decide(st)
		news = st.Save != nil || open && st.Claim.Phase == PhaseNone
		return err
	})
	if err != nil {
		return st, err
	}
	ctx = context.WithoutCancel(ctx)
	isForCache := st.Token.Lineage > 0 && time.Since(start) < TombstoneTTL/2
	nodes, talks := l.cache.(Signals)
	switch isNews := news && talks; {
	case isForCache && isNews:
		nodes.PutAndWake(ctx, ref, st.Token)
	case isForCache:
		l.cache.Put(ctx, ref, st.Token)
	case isNews:
		nodes.Wake(ctx, ref)
	}
	return st, nil
}

// UpdateSecret clears the cache when the token was touched.
func (l *levels) UpdateSecret(ctx context.Context, ref realm.Ref, change func(realm.Secret, bool) (realm.Secret, TokenChange, error)) (realm.Secret, error) {
	touched := false
	s, err := l.Database.UpdateSecret(ctx, ref, func(s realm.Secret, found bool) (realm.Secret, TokenChange, error) {
		changed, tc, err := change(s, found)
		touched = tc != TokenChange{}
		return changed, tc, err
	})
	if touched {
		l.forget(ctx, ref)
	}
	return s, err
}

// DeleteSecret deletes the secret and its token.
func (l *levels) DeleteSecret(ctx context.Context, ref realm.Ref) error {
	err := l.Database.DeleteSecret(ctx, ref)
	l.forget(ctx, ref)
	return err
}

// DeleteRealm clears the cache of the realm's tokens.
func (l *levels) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	err := l.Database.DeleteRealm(ctx, id, cascade)
	if cascade {
		l.forget(ctx, realm.Ref{Realm: id})
	}
	return err
}

// forget clears the cache of what the database just changed. The caller may
// be gone by now; the cache must be cleared nevertheless.
func (l *levels) forget(ctx context.Context, ref realm.Ref) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	lineages, err := l.Database.Lineages(ctx, ref)
	if err != nil && ref.Key != "" {
		// Not known: forget whatever is cached. A token saved meanwhile is
		// read from the database until the tombstone is gone.
		lineages = map[realm.Ref]int64{ref: maxLineage}
	}
	for r, lineage := range lineages {
		l.cache.Delete(ctx, r, lineage)
	}
}

// forgetTimeout bounds what a caller waits for the cache to be cleared.
const forgetTimeout = 5 * time.Second

// maxLineage is the largest lineage that a cache's script compares exactly
// (Lua numbers are doubles).
const maxLineage = 1<<53 - 1
