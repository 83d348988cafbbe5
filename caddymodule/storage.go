package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/redisstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// The types of storage and cache.
const (
	storageSQLite = "sqlite"
	storageMySQL  = "mysql"
	storageEdge   = "edge"
	cacheRedis    = "redis"
)

// defaultDatabase is the file of the SQLite storage.
const defaultDatabase = "tokens.db"

// Storage says where realms, secrets and tokens are kept.
type Storage struct {
	// The kind of database: sqlite or mysql (MariaDB too); or edge: none, and all
	// tokens come from another instance. Default: sqlite.
	Type string `json:"type,omitempty"`

	// The file of the SQLite database. A relative path is relative to Caddy's
	// data directory. Default: tokens.db.
	Path string `json:"path,omitempty"`

	// The data source name of MySQL, as user:password@tcp(host:3306)/database.
	// Default: made of the environment variables MYSQL_HOST, MYSQL_PORT,
	// MYSQL_USERNAME, MYSQL_PASSWORD and MYSQL_DATABASE.
	DSN string `json:"dsn,omitempty"`

	// The most connections to MySQL that this process has at a time, 1 to 1000.
	// A change counts from the next start on. Default: 32.
	Connections int `json:"connections,omitempty"`

	// The address of the token_admin of the instance that an edge takes its tokens
	// from, without /api, such as https://tokens.internal. What is not https goes to
	// no public address.
	URL string `json:"url,omitempty"`

	// The key of a client of that instance, as {env.NAME} or {file./absolute/path}.
	Key string `json:"key,omitempty"`
}

// Cache is shared by several nodes, in front of the storage.
type Cache struct {
	// The kind of cache: redis.
	Type string `json:"type"`

	// The addresses, as redis://user:password@host:6379/0. Several make a
	// cluster, or sentinels.
	URLs []string `json:"urls"`
}

// pools holds what outlives a configuration, by the store it is about.
var pools = caddy.NewUsagePool()

// storeID identifies a store: which database it is, and with a digest the
// credentials, keys and cache that it is used with. Two configurations with
// the same one share everything that is known in memory; all else that a
// configuration says may change without losing it.
type storeID struct {
	database string
	settings [sha256.Size]byte
}

// lasting is what outlives a configuration: all that is known in memory of one
// store.
type lasting struct {
	pool      *broker.Pool
	clients   *access.Registry
	audit     *audit.Recorder
	adminFile *adminFile
	// started counts the configurations that have finished their start and were
	// not stopped.
	started  atomic.Int32
	apiFile  *apiFile
	sessions *session.Sessions
}

// Destruct ends it with the last configuration that has the store.
func (l *lasting) Destruct() error {
	l.apiFile.remove()
	l.clients.Close() // while the store is open
	if l.audit != nil {
		l.audit.Close()
	}
	return l.pool.Destruct()
}

// storeSettings is what a store is made of, with the environment filled in.
type storeSettings struct {
	path   string // of the SQLite database, absolute
	dsn    string // of MySQL, instead
	server string // of MySQL, without credentials
	conns  int    // at most, to MySQL; 0 for the default
	keys   []realm.Hidden
	cache  []string
	edge   *edgeSettings // nil for all but an edge
}

// acquirePool takes hold of the pool of the configured store: the one of the
// configuration before, where that has the same store.
func (a *App) acquirePool() error {
	s, err := a.storeSettings()
	if err != nil {
		return err
	}
	a.remote = s.dsn != "" || s.edge != nil
	s.edge.warnIfClear(a.log)
	id := s.id()
	held, _, err := pools.LoadOrNew(id, func() (caddy.Destructor, error) {
		l := &lasting{adminFile: newAdminFile(s.adminPath()), apiFile: newAPIFile()}
		if s.edge != nil {
			s.edge.lasting(l)
			return l, nil
		}
		store, keys, err := s.store(poolLog)
		if err != nil {
			return nil, err
		}
		l.pool = broker.New(store, poolLog, nil, s.spool(id, keys)...)
		l.sessions = session.New(session.Config{Store: store.(tokenstore.SessionStore), Keys: keys, Open: l.pool.Open})
		l.pool.Observe(observer{})
		l.clients = access.NewRegistry(access.RegistryConfig{Store: store, Open: l.pool.Open, Deaf: l.pool.Deaf, Log: poolLog})
		l.pool.OnClientChange(l.clients.Changed)
		l.audit = audit.New(audit.Config{Store: store, Open: l.pool.Open, Log: poolLog, Dropped: func(n int64) { counters.droppedEntries.Add(float64(n)) }})
		return l, nil
	})
	if err != nil {
		return err
	}
	l := held.(*lasting)
	a.id, a.pool, a.registry, a.recorder, a.adminFile, a.apiFile, a.started, a.sessions = &id, l.pool, l.clients, l.audit, l.adminFile, l.apiFile, &l.started, l.sessions
	return nil
}

func (a *App) storeSettings() (s storeSettings, err error) {
	if err = s.storage(a.Storage); err != nil {
		return s, fmt.Errorf("storage: %w", err)
	}
	for i, text := range a.EncryptionKeys {
		key, err := resolveHidden(text)
		if err != nil {
			return s, fmt.Errorf("encryption_key %d: %w", i+1, err)
		}
		s.keys = append(s.keys, key)
	}
	if s.dsn != "" && len(s.keys) == 0 {
		return s, errors.New("encryption_key is required with mysql: 32 bytes in base64, the same on all nodes")
	}
	if a.Cache != nil {
		if a.Cache.Type != cacheRedis {
			return s, fmt.Errorf("cache: unknown type %q; there is redis", a.Cache.Type)
		}
		if s.cache, err = resolveAll(a.Cache.URLs); err != nil {
			return s, fmt.Errorf("cache: %w", err)
		}
	}
	return s, nil
}

// storage reads which database it is.
func (s *storeSettings) storage(c *Storage) (err error) {
	if c == nil {
		c = &Storage{}
	}
	if c.Type != storageEdge && (c.URL != "" || c.Key != "") {
		return errors.New("url and key are settings of edge")
	}
	switch c.Type {
	case storageEdge:
		s.edge, err = c.edgeStorage()
		return err
	case "", storageSQLite:
		if c.DSN != "" {
			return errors.New("sqlite has a path and no dsn")
		}
		if c.Connections != 0 {
			return errors.New("connections is a setting of mysql; sqlite has none")
		}
		s.path, err = databasePath(c.Path)
		return err
	case storageMySQL:
		if c.Path != "" {
			return errors.New("mysql has a dsn and no path")
		}
		if c.Connections != 0 {
			if s.conns, err = checkConnections(c.Connections); err != nil {
				return fmt.Errorf("connections: %w", err)
			}
		}
		s.dsn, s.server, err = mysqlDSN(c.DSN)
		return err
	}
	return fmt.Errorf("unknown type %q; there are sqlite, mysql and edge", c.Type)
}

// id identifies the store. The digest covers what is confidential; it stays
// in the memory of this process.
func (s storeSettings) id() storeID {
	h := sha256.New()
	for _, key := range s.keys {
		fmt.Fprintf(h, "key %d:%s", len(key), key.Reveal())
	}
	for _, part := range append([]string{s.dsn}, s.cache...) {
		fmt.Fprintf(h, "part %d:%s", len(part), part)
	}
	id := storeID{database: storageSQLite + ":" + s.path}
	switch {
	case s.edge != nil:
		id.database = storageEdge + ":" + s.edge.url.String()
		fmt.Fprintf(h, "edge %d:%s", len(s.edge.key), s.edge.key.Reveal())
	case s.dsn != "":
		id.database = storageMySQL + ":" + s.server
	}
	h.Sum(id.settings[:0])
	return id
}

// store makes the store, with its keys; it opens nothing.
func (s storeSettings) store(log *zap.Logger) (tokenstore.Store, *tokenstore.Keyring, error) {
	keys := tokenstore.KeyFile(keyPath(s.path))
	if len(s.keys) > 0 {
		var err error
		if keys, err = tokenstore.NewKeyring(s.keys...); err != nil {
			return nil, nil, err
		}
	}
	db, err := s.database(keys, log)
	if err != nil || len(s.cache) == 0 {
		return db, keys, err
	}
	cache, err := redisstore.New(s.cache, keys, log, redisstore.WithFailures(storeFailed))
	if err != nil {
		return nil, nil, fmt.Errorf("cache: %w", err)
	}
	return tokenstore.Levels(db, cache), keys, nil
}

// spool is where refresh tokens are kept on their way to a database on another
// machine; a directory for each, in Caddy's data directory.
func (s storeSettings) spool(id storeID, keys *tokenstore.Keyring) []broker.Option {
	if s.dsn == "" {
		return nil
	}
	name := sha256.Sum256([]byte(id.database))
	dir := filepath.Join(caddy.AppDataDir(), "tokens-spool", hex.EncodeToString(name[:8]))
	return []broker.Option{broker.WithSpool(tokenstore.NewSpool(dir, keys))}
}

// database makes the handle of the database.
func (s storeSettings) database(keys *tokenstore.Keyring, log *zap.Logger) (tokenstore.Database, error) {
	if s.dsn == "" {
		return sqlstore.SQLite(s.path, keys, sqlstore.WithLogger(log), sqlstore.WithFailures(storeFailed), sqlstore.WithHosts(catalog.HostsOf)), nil
	}
	db, err := sqlstore.MySQL(s.dsn, keys, sqlstore.WithConnections(s.conns), sqlstore.WithLogger(log), sqlstore.WithFailures(storeFailed), sqlstore.WithHosts(catalog.HostsOf))
	if err != nil {
		return nil, err
	}
	return db, nil
}

// maxConnections is the largest number of connections to the database.
const maxConnections = 1000

func checkConnections(n int) (int, error) {
	if n < 1 || n > maxConnections {
		return 0, fmt.Errorf("must be 1 to %d", maxConnections)
	}
	return n, nil
}

func parseConnections(s string) (int, error) {
	n, err := number(s)
	if err != nil {
		return 0, err
	}
	return checkConnections(n)
}

// databasePath is the absolute path of the SQLite database.
func databasePath(text string) (string, error) {
	path, err := resolve(text, nil)
	if err != nil {
		return "", err
	}
	if path == "" {
		path = defaultDatabase
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(caddy.AppDataDir(), path)
	}
	return filepath.Clean(path), nil
}

// keyPath is the key file beside a database: tokens.key for tokens.db.
func keyPath(database string) string {
	return strings.TrimSuffix(database, filepath.Ext(database)) + ".key"
}

// adminPath is the file of the admin token: beside the key file where there is
// one, else in Caddy's data directory, which is this node's own.
func (s storeSettings) adminPath() string {
	if s.path != "" && len(s.keys) == 0 {
		return filepath.Join(filepath.Dir(s.path), adminFileName)
	}
	return defaultAdminPath()
}
