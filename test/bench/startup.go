package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// databaseKey seals the databases that are filled beforehand.
var databaseKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

// startups measures P7: the time from exec to the first 200, with a database
// of many secrets and without the app.
func (b *bench) startups(ctx context.Context, r *report) error {
	path := filepath.Join(b.dir, "many.db")
	if err := fillDatabase(ctx, path, databaseKey, func(ctx context.Context, store tokenstore.Store) error {
		return manySecrets(ctx, store, b.secrets)
	}); err != nil {
		return err
	}
	without := caddyfile("", "respond /ok ok")
	with := caddyfile(fmt.Sprintf("tokens {\n\t\tstorage sqlite %s\n\t\tencryption_key %s\n\t}", path, databaseKey), "respond /ok ok\n\ttoken_admin")
	configs := []string{without, with}
	times := make([][]float64, 2)
	for round := -1; round < max(b.rounds, 8); round++ {
		for _, i := range rand.Perm(2) {
			p, took, err := b.start(ctx, configs[i], "/ok", "")
			if err != nil {
				return err
			}
			p.stop()
			if round >= 0 {
				times[i] = append(times[i], float64(took.Microseconds())/1000)
			}
		}
	}
	r.sections = append(r.sections, fmt.Sprintf(
		"### P7 start to the first 200, SQLite with %d secrets\n\nTarget: at most 1.3x the same binary without the app.\n\n"+
			"| variant | ms | range |\n|---|---|---|\n| without the app | %.0f | %.0f to %.0f |\n| with it | %.0f | %.0f to %.0f |\n\nRatio: %.2f (median of %d pairs).\n",
		b.secrets, median(times[0]), slices.Min(times[0]), slices.Max(times[0]),
		median(times[1]), slices.Min(times[1]), slices.Max(times[1]), median(ratios(times[1], times[0])), len(times[0])))
	return nil
}

// fillDatabase makes a SQLite file. It is written where a sync costs nothing,
// if there is such a place, then moved.
func fillDatabase(ctx context.Context, path, key string, fill func(context.Context, tokenstore.Store) error) error {
	keys, err := tokenstore.NewKeyring(realm.Hidden(key))
	if err != nil {
		return err
	}
	fast, err := os.MkdirTemp(memoryDir(), "seed")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fast)
	store := sqlstore.SQLite(filepath.Join(fast, "tokens.db"), keys)
	if err := store.Open(ctx); err != nil {
		return err
	}
	if err := errors.Join(fill(ctx, store), store.Close()); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(fast, "tokens.db"))
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// manySecrets fills a store with secrets of one realm.
func manySecrets(ctx context.Context, store tokenstore.Store, n int) error {
	config := realm.Config{Recipe: realm.Recipe{URL: "https://api.example.com/token", TokenPath: "access_token"}}
	if _, err := store.UpdateRealm(ctx, "many", func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config = config
		return r, nil
	}); err != nil {
		return err
	}
	for i := range n {
		ref := realm.Ref{Realm: "many", Key: fmt.Sprintf("key-%06d", i)}
		if _, err := store.UpdateSecret(ctx, ref, func(s realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			s.Fields = map[string]realm.Hidden{"key_1": realm.Hidden(ref.Key), "key_2": "0123456789abcdef0123456789abcdef"}
			return s, tokenstore.TokenChange{}, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func memoryDir() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}
