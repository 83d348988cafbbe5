package test

import (
	"crypto/rand"
	"encoding/base64"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// store is where a node keeps things: what its Caddyfile says, and the
// environment that this refers to.
type store struct {
	config string
	env    []string
}

// sqlite is the default: a file of its own for each node.
func sqlite(*testing.T) store { return store{} }

func mariaDBAndRedis(t *testing.T) store {
	t.Helper()
	return mariaDBWith(t, testserver.Redis(t))
}

// mariaDBWith is a fresh schema on a real MariaDB and an empty real Redis.
// Several nodes may use it.
func mariaDBWith(t *testing.T, redis *testserver.RedisDB) store {
	t.Helper()
	return storeAt(testserver.MariaDB(t).DSN(), redis.URL(), newKey())
}

// storeAt is a MariaDB and a Redis; the nodes that share them have one key.
func storeAt(dsn, redisURL, key string) store {
	return store{
		config: "storage mysql {env.TOKENS_DSN}\ncache redis {env.TOKENS_REDIS}\nencryption_key {env.TOKENS_KEY}\n",
		env:    []string{"TOKENS_DSN=" + dsn, "TOKENS_REDIS=" + redisURL, "TOKENS_KEY=" + key},
	}
}

func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails, see crypto/rand
	return base64.StdEncoding.EncodeToString(key)
}

// launchOn launches a node with a gateway on a store. Its realms may be on
// loopback.
func launchOn(t *testing.T, s store) *node {
	t.Helper()
	return launch(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway}.caddyfile, s.env...)
}
