package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// ignore takes no notice of the progress.
func ignore(tokenstore.TableProgress) {}

// saveMany saves secrets of a realm, each with its number in it.
func saveMany(t *testing.T, s tokenstore.Store, id string, n int) {
	t.Helper()
	for i := range n {
		saveNumbered(t, s, realm.Ref{Realm: id, Key: fmt.Sprint(i)}, fmt.Sprint(i))
	}
}

func saveNumbered(t *testing.T, s tokenstore.Store, ref realm.Ref, value string) {
	t.Helper()
	_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		old.Fields = map[string]realm.Hidden{"n": realm.Hidden(value)}
		return old, tokenstore.TokenChange{}, nil
	})
	if err != nil {
		t.Error(err) // not Fatal: it may run in a goroutine
	}
}

// wantMany expects what saveMany saved.
func wantMany(t *testing.T, s tokenstore.Store, id string, n int) {
	t.Helper()
	for i := range n {
		secret, err := s.Secret(t.Context(), realm.Ref{Realm: id, Key: fmt.Sprint(i)})
		if err != nil || secret.Fields["n"].Reveal() != fmt.Sprint(i) {
			t.Fatalf("secret %d of %s: %v", i, id, err)
		}
	}
}

// states are the states of the keys in an answer.
func states(r tokenstore.Rotation) (list []string) {
	for _, use := range r.Keys {
		list = append(list, use.State)
	}
	return list
}

// A rotation that is interrupted after any batch goes on when it is called
// again, and what the first call did is not done twice.
func TestRotationGoesOn(t *testing.T) {
	const secrets = 450 // three batches
	path := filepath.Join(t.TempDir(), "tokens.db")
	oldKey, newKey := storetest.Key(t), storetest.Key(t)
	s := openSQLite(t, path, storetest.Ring(t, oldKey))
	saveMany(t, s, "wx", secrets)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openSQLite(t, path, storetest.Ring(t, newKey, oldKey))
	rows, calls, left := int64(0), 0, int64(secrets)
	for ; ; calls++ {
		ctx, cancel := context.WithCancel(t.Context())
		rotation, err := s.RotateKeys(ctx, func(p tokenstore.TableProgress) {
			if p.Table == "tokens_secrets" && p.Total != left {
				t.Errorf("call %d: %d of %d are left", calls, p.Total, left)
			}
			if rows += p.Done; p.Table == "tokens_secrets" {
				left -= p.Done
			}
			cancel() // after the first batch
		})
		cancel()
		if err == nil {
			if got := states(rotation); !slices.Equal(got, []string{tokenstore.KeySealing, tokenstore.KeyRemovable}) {
				t.Errorf("the keys are %+v", rotation.Keys)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if calls < 4 || left != 0 || rows <= secrets {
		t.Fatalf("%d calls were interrupted, %d secrets are left, %d rows were sealed anew", calls, left, rows)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantMany(t, openSQLite(t, path, storetest.Ring(t, newKey)), "wx", secrets)
}

// Two nodes rotate at the same time while both write, and nothing is lost: no
// value of a write, and no row that only the old key opens.
func TestRotationOfTwoNodes(t *testing.T) {
	const secrets = 450
	m := testserver.MariaDB(t)
	oldKey, newKey := storetest.Key(t), storetest.Key(t)
	open := func(keys ...realm.Hidden) *sqlstore.Shared {
		s, err := sqlstore.MySQL(m.DSN(), storetest.Ring(t, keys...))
		if err == nil {
			err = s.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	saveMany(t, open(oldKey), "wx", secrets)

	var work sync.WaitGroup
	for _, s := range []*sqlstore.Shared{open(newKey, oldKey), open(newKey, oldKey)} {
		work.Go(func() {
			if _, err := s.RotateKeys(t.Context(), ignore); err != nil {
				t.Error(err)
			}
		})
		work.Go(func() {
			for i := range secrets { // the same rows, backwards
				i = secrets - 1 - i
				saveNumbered(t, s, realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}, fmt.Sprint(i))
			}
		})
	}
	work.Wait()
	wantMany(t, open(newKey), "wx", secrets)
}

// A node that still has the old key in front seals with it after the rotation.
// That is told, and its rows are sealed anew by the next one.
func TestRotationTellsOfRowsOfAnOlderKey(t *testing.T) {
	m := testserver.MariaDB(t)
	oldKey, newKey := storetest.Key(t), storetest.Key(t)
	open := func(keys ...realm.Hidden) *sqlstore.Shared {
		s, err := sqlstore.MySQL(m.DSN(), storetest.Ring(t, keys...))
		if err == nil {
			err = s.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	late, s := open(oldKey, newKey), open(newKey, oldKey)
	saveMany(t, late, "wx", 3)
	wrote := false
	rotation, err := s.RotateKeys(t.Context(), func(tokenstore.TableProgress) {
		if !wrote {
			wrote = true
			saveNumbered(t, late, realm.Ref{Realm: "wx", Key: "0"}, "0")
		}
	})
	if err != nil || rotation.Keys[1].State != tokenstore.KeyNeeded || rotation.Keys[1].Rows == 0 {
		t.Fatalf("%+v, %v", rotation.Keys, err)
	}
	rotation, err = s.RotateKeys(t.Context(), ignore)
	if err != nil || rotation.Keys[1].State != tokenstore.KeyRemovable || rotation.Keys[1].Rows != 0 {
		t.Fatalf("%+v, %v", rotation.Keys, err)
	}
	wantMany(t, open(newKey), "wx", 3)
}

// A damaged row keeps its key and is counted; all others are sealed anew.
func TestRotationWithADamagedRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	oldKey, newKey := storetest.Key(t), storetest.Key(t)
	saveMany(t, openSQLite(t, path, storetest.Ring(t, oldKey)), "wx", 3)
	execute(t, plainDB(t, path), "UPDATE tokens_secrets SET version = version + 1 WHERE ref_key = ?", []byte("1"))
	s := openSQLite(t, path, storetest.Ring(t, newKey, oldKey))
	rotation, err := s.RotateKeys(t.Context(), ignore)
	if err != nil || rotation.Keys[1].State != tokenstore.KeyNeeded || rotation.Keys[1].Rows != 1 {
		t.Fatalf("%+v, %v", rotation.Keys, err)
	}
	for _, p := range rotation.Tables {
		if p.Table == "tokens_secrets" && (p.Done != 2 || p.Damaged != 1 || p.Total != 3) {
			t.Errorf("got %+v", p)
		}
	}
	if err := s.DeleteSecret(t.Context(), realm.Ref{Realm: "wx", Key: "1"}); err != nil {
		t.Fatal(err)
	}
	if rotation, err = s.RotateKeys(t.Context(), ignore); err != nil || rotation.Keys[1].State != tokenstore.KeyRemovable {
		t.Fatalf("%+v, %v", rotation.Keys, err)
	}
}

// keysIn are the keys in a key file.
func keysIn(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// With a key file, each rotation makes a new key. The old one leaves the file
// when nothing is sealed with it, and the process goes on with both.
func TestRotationOfAKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	file := sqlstore.KeyFileBeside(path)
	s := openSQLite(t, path, tokenstore.KeyFile(file))
	saveMany(t, s, "wx", 5)
	seen := keysIn(t, file)
	for range 2 {
		rotation, err := s.RotateKeys(t.Context(), func(tokenstore.TableProgress) {
			if now := keysIn(t, file); len(now) != 2 || now[1] != seen[len(seen)-1] {
				t.Errorf("during the rotation the file has %d keys", len(now))
			}
		})
		if err != nil || !rotation.Generated || !slices.Equal(states(rotation), []string{tokenstore.KeySealing, tokenstore.KeyRemoved}) {
			t.Fatalf("%+v, %v", rotation, err)
		}
		now := keysIn(t, file)
		if len(now) != 1 || slices.Contains(seen, now[0]) {
			t.Fatalf("the file has %d keys, or an old one", len(now))
		}
		seen = append(seen, now[0])
		wantMany(t, s, "wx", 5)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantMany(t, openSQLite(t, path, tokenstore.KeyFile(file)), "wx", 5)
}

// noticed is a context that tells when somebody begins to wait with it.
type noticed struct {
	context.Context
	waits func()
}

func (c noticed) Done() <-chan struct{} {
	c.waits()
	return c.Context.Done()
}

// Two rotations at once make one new key, not two.
func TestRotationOfAKeyFileTwiceAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path)))
	saveMany(t, s, "wx", 5)
	var second tokenstore.Rotation
	var work sync.WaitGroup
	start := sync.OnceFunc(func() {
		waits := make(chan struct{})
		ctx := noticed{t.Context(), sync.OnceFunc(func() { close(waits) })}
		work.Go(func() {
			var err error
			if second, err = s.RotateKeys(ctx, ignore); err != nil {
				t.Error(err)
			}
		})
		<-waits
	})
	first, err := s.RotateKeys(t.Context(), func(tokenstore.TableProgress) { start() })
	work.Wait()
	if err != nil || !first.Generated || second.Generated {
		t.Fatalf("%+v, then %+v: %v", first, second, err)
	}
	wantMany(t, s, "wx", 5)
}

// While another configuration of the process still has the database open, the
// old key stays in the file: that one seals with it. The next rotation ends the
// first one, and makes no further key.
func TestRotationOfAKeyFileDuringAReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	file := sqlstore.KeyFileBeside(path)
	old := openSQLite(t, path, tokenstore.KeyFile(file))
	saveMany(t, old, "wx", 3)
	s := openSQLite(t, path, tokenstore.KeyFile(file))
	rotation, err := s.RotateKeys(t.Context(), ignore)
	if err != nil || rotation.Keys[1].State != tokenstore.KeyRemovable || len(keysIn(t, file)) != 2 {
		t.Fatalf("%+v, %v", rotation, err)
	}
	saveMany(t, old, "wx", 3)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	wantMany(t, s, "wx", 3)
	rotation, err = s.RotateKeys(t.Context(), ignore)
	if err != nil || rotation.Generated || rotation.Keys[1].State != tokenstore.KeyRemoved || len(keysIn(t, file)) != 1 {
		t.Fatalf("%+v, %v", rotation, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantMany(t, openSQLite(t, path, tokenstore.KeyFile(file)), "wx", 3)
}

// A key file that cannot be written is an error that names it, and nothing has
// happened.
func TestRotationOfAKeyFileThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	file := sqlstore.KeyFileBeside(path)
	s := openSQLite(t, path, tokenstore.KeyFile(file))
	saveMany(t, s, "wx", 3)
	before := keysIn(t, file)
	if err := os.MkdirAll(filepath.Join(file+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateKeys(t.Context(), ignore); err == nil || !strings.Contains(err.Error(), file+".new") {
		t.Fatalf("got %v", err)
	}
	if !slices.Equal(before, keysIn(t, file)) {
		t.Error("the file changed")
	}
	wantMany(t, s, "wx", 3)
}

// A program that is older than the database does not know all tables: it must
// not say that a key is needed no more, nor that a backup has everything.
func TestUpkeepByAnOlderProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	oldKey, newKey := storetest.Key(t), storetest.Key(t)
	saveMany(t, openSQLite(t, path, storetest.Ring(t, oldKey)), "wx", 3)
	s := openSQLite(t, path, storetest.Ring(t, newKey, oldKey))
	execute(t, plainDB(t, path), "INSERT INTO tokens_schema (version) VALUES (99)")
	if r, err := s.RotateKeys(t.Context(), ignore); !errors.Is(err, sqlstore.ErrNewerSchema) || len(r.Keys) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := s.Backup(t.Context(), io.Discard); !errors.Is(err, sqlstore.ErrNewerSchema) {
		t.Errorf("got %v", err)
	}
}
