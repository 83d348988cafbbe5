package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

var ref = realm.Ref{Realm: "wx", Key: "main"}

func keyring(tb testing.TB) *tokenstore.Keyring {
	tb.Helper()
	k, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func openSQLite(tb testing.TB, path string, keys *tokenstore.Keyring, opts ...sqlstore.Option) *sqlstore.Store {
	tb.Helper()
	s := sqlstore.SQLite(path, keys, opts...)
	tb.Cleanup(func() { _ = s.Close() })
	if err := s.Open(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func saveSecret(tb testing.TB, s tokenstore.Store, fields map[string]realm.Hidden) {
	tb.Helper()
	_, err := s.UpdateSecret(context.Background(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		old.Fields = fields
		return old, tokenstore.TokenChange{}, nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// plainDB opens the file with the driver alone.
func plainDB(tb testing.TB, path string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(tb testing.TB, db *sql.DB, query string, args ...any) {
	tb.Helper()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

// TestFilesAreTheOwnersOnly, with a path that a URI would read otherwise.
func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&e")
	path := filepath.Join(dir, "tokens.db")
	s := openSQLite(t, path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path)))
	saveSecret(t, s, nil)
	want := map[string]fs.FileMode{".": 0o700, "tokens.db": 0o600, "tokens.db-wal": 0o600, "tokens.db-shm": 0o600, "tokens.db.lock": 0o600, "tokens.key": 0o600}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(want)-1 {
		t.Errorf("files: %v, %v", entries, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a proper stop the log is still there: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openSQLite(t, path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path)))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a file that others could read stays so: %v, %v", info.Mode(), err)
	}
}

// TestKeyFileIsNotReplaced: a lost key file is a refusal, not a new key.
func TestKeyFileIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	key := sqlstore.KeyFileBeside(path)
	s := openSQLite(t, path, tokenstore.KeyFile(key))
	saveSecret(t, s, map[string]realm.Hidden{"x": "y"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(key, key+".lost"); err != nil {
		t.Fatal(err)
	}
	err := sqlstore.SQLite(path, tokenstore.KeyFile(key)).Open(t.Context())
	if !errors.Is(err, tokenstore.ErrKey) || !strings.Contains(err.Error(), key) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a new key file was made")
	}
	if err := os.Rename(key+".lost", key); err != nil {
		t.Fatal(err)
	}
	openSQLite(t, path, tokenstore.KeyFile(key))
}

// crashed is a copy of an open database: what a power failure leaves behind.
func crashed(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "tokens.db")
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil || len(text) == 0 {
			t.Fatalf("%s%s: %d bytes, %v", path, suffix, len(text), err)
		}
		if err := os.WriteFile(to+suffix, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// wantDamaged opens the file and wants a refusal that leaves it as it is.
func wantDamaged(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sqlstore.SQLite(path, keyring(t))
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); !errors.Is(err, tokenstore.ErrDamaged) || !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || len(after) < len(before) {
		t.Fatalf("%d bytes became %d, %v", len(before), len(after), err)
	}
}

// filled is a database of some hundred pages, still open.
func filled(t *testing.T) (path string, s *sqlstore.Store) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens.db")
	s = openSQLite(t, path, keyring(t))
	for i := range 60 {
		if _, err := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: fmt.Sprint(i), Comment: strings.Repeat("c", 5000)}); err != nil {
			t.Fatal(err)
		}
	}
	return path, s
}

func TestUncleanStopIsChecked(t *testing.T) {
	path, _ := filled(t)
	whole := crashed(t, path)
	s := openSQLite(t, whole, keyring(t))
	if _, total, err := s.Realms(t.Context(), tokenstore.Page{Number: 1, Size: 1}, tokenstore.RealmFilter{}); err != nil || total != 60 {
		t.Fatalf("after a crash: %d realms, %v", total, err)
	}

	// Damage in the file itself, and a log that a crash left.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) / 3; i < len(text)/2; i++ {
		text[i] ^= 0x5a
	}
	if err := errors.Join(os.WriteFile(whole, text, 0o600), os.WriteFile(whole+"-wal", []byte("cut"), 0o600)); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, whole)
}

func TestForeignFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("this is a letter to my aunt\n"), 400), 0o600); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, path)
	// The error did not say which file it was about.
	if err := sqlstore.SQLite(path, keyring(t)).Open(t.Context()); !strings.Contains(err.Error(), path) {
		t.Errorf("the error does not name the file: %v", err)
	}
}

// TestOnlyAFileIsOpened: the mode of whatever the path led to was changed
// before SQLite refused it, that of a device such as /dev/null too.
func TestOnlyAFileIsOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	err := sqlstore.SQLite(path, keyring(t)).Open(t.Context())
	if !errors.Is(err, tokenstore.ErrUnavailable) || !strings.Contains(err.Error(), path+": is not a regular file") {
		t.Fatalf("got %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the mode was changed: %v, %v", info.Mode(), err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, plainDB(t, path), "INSERT INTO tokens_schema (version) VALUES (99)")
	err := sqlstore.SQLite(path, keyring(t)).Open(t.Context())
	if !errors.Is(err, sqlstore.ErrNewerSchema) || !strings.Contains(err.Error(), "99") {
		t.Fatalf("got %v", err)
	}
}

// TestOpenAgain: a store whose Open failed opens when the reason is gone.
func TestOpenAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file in the directory's place
		t.Fatal(err)
	}
	s := sqlstore.SQLite(filepath.Join(dir, "tokens.db"), keyring(t))
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestWriterWaitsForAnotherProcess: a write waits for a lock that somebody
// else holds for a while, and readers do not.
func TestWriterWaitsForAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	saveSecret(t, s, map[string]realm.Hidden{"n": "1"})
	other, err := plainDB(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	began, done := make(chan struct{}), make(chan error)
	go func() {
		close(began)
		_, err := storetest.SaveToken(context.Background(), s, ref, realm.Token{Access: "a"}, 0)
		done <- err
	}()
	<-began
	if got, err := s.Secret(t.Context(), ref); err != nil || got.Fields["n"].Reveal() != "1" {
		t.Fatalf("a reader: %v", err)
	}
	if _, err := other.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestDatabaseIsFull: a write that finds no room fails as a whole, and works
// when there is room again.
func TestDatabaseIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	var failures []string
	s := openSQLite(t, path, keyring(t), sqlstore.WithFailures(func(level string) { failures = append(failures, level) }))
	saveSecret(t, s, map[string]realm.Hidden{"n": "1"})
	if err := s.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	big := map[string]realm.Hidden{"n": realm.Hidden(strings.Repeat("x", 1<<20))}
	_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		old.Fields = big
		return old, tokenstore.TokenChange{}, nil
	})
	if !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if got, err := s.Secret(t.Context(), ref); err != nil || got.Fields["n"].Reveal() != "1" {
		t.Fatalf("what was there before: %v", err)
	}
	if err := s.LimitPages(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	saveSecret(t, s, big)

	// The failure counts; that there is no such thing is none, nor is a caller
	// who leaves.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Secret(gone, ref); err == nil {
		t.Error("a hit")
	}
	if _, err := s.Realm(t.Context(), "nobody"); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Error(err)
	}
	if len(failures) != 1 || failures[0] != "sqlite" {
		t.Errorf("failures %v", failures)
	}
}

// TestClockDatesRows: the clock that is handed in, to the microsecond.
func TestClockDatesRows(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 123_456_789, time.FixedZone("", 3600))
	s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t), sqlstore.WithClock(func() time.Time { return now }))
	r, err := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: "r"})
	if err != nil || !r.CreatedAt.Equal(now.Truncate(time.Microsecond)) {
		t.Fatalf("created at %v, %v", r.CreatedAt, err)
	}
}

// BenchmarkSQLiteToken reads one of 10,000 tokens.
func BenchmarkSQLiteToken(b *testing.B) {
	const tokens = 10_000
	s := openSQLite(b, filepath.Join(b.TempDir(), "tokens.db"), keyring(b))
	refs := make([]realm.Ref, tokens)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}
		if _, err := storetest.SaveToken(context.Background(), s, refs[i], realm.Token{Access: realm.Hidden(strings.Repeat("a", 512))}, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, _, err := s.Token(context.Background(), refs[i%tokens]); err != nil {
			b.Fatal(err)
		}
		i += 7
	}
}

// TestEntriesOfWhoLeftAreNotWritten: what waited for a database that was locked
// was written when the lock had gone, though its caller had answered that
// nothing was done, or had tried again: an audit had flushes that never were,
// and one refusal five times.
func TestEntriesOfWhoLeftAreNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	entry := func(act string) *tokenstore.AuditEntry {
		return &tokenstore.AuditEntry{Act: act, Result: tokenstore.AuditOK}
	}
	if err := s.AppendAudit(t.Context(), entry("before")); err != nil {
		t.Fatal(err)
	}
	other, err := plainDB(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 { // the first one's transaction begins; the others wait for its end
		if err := s.AppendAudit(gone, entry("gone")); !errors.Is(err, tokenstore.ErrAudit) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := other.ExecContext(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendAudit(t.Context(), entry("after")); err != nil {
		t.Fatal(err)
	}
	list, _, err := s.Audit(t.Context(), tokenstore.AuditFilter{}, tokenstore.Page{Number: 1, Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	var acts []string
	for _, e := range list {
		acts = append(acts, e.Act)
	}
	if want := []string{"after", "before"}; !slices.Equal(acts, want) {
		t.Errorf("the audit has %q, not %q", acts, want)
	}
}

// TestMissingKeyOfTheAudit: where somebody deleted the key, the next start made
// another one and said nothing.
func TestMissingKeyOfTheAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	core, logs := observer.New(zap.ErrorLevel)
	s := openSQLite(t, path, keyring(t), sqlstore.WithLogger(zap.New(core)))
	if err := s.AppendAudit(t.Context(), &tokenstore.AuditEntry{Act: "login", Result: tokenstore.AuditOK}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if logs.Len() > 0 {
		t.Errorf("a new database: %v", logs.All())
	}
	if _, err := plainDB(t, path).ExecContext(t.Context(), "DELETE FROM tokens_audit_heads WHERE kind = ?", []byte("key")); err != nil {
		t.Fatal(err)
	}
	openSQLite(t, path, keyring(t), sqlstore.WithLogger(zap.New(core)))
	if logs.FilterMessageSnippet("the key of the audit is missing").Len() != 1 {
		t.Errorf("the log has %v", logs.All())
	}
}

// TestOpenedAtOnce: stores of one process that open, and close, a new file at
// the same moment do not turn each other away. SQLite does not wait for a lock
// where it turns a file to WAL (sqlite3BtreeSetVersion in btree.c begins as a
// reader), nor where the last connection takes the log away.
func TestOpenedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for i := range 200 {
		path := filepath.Join(dir, fmt.Sprint(i, ".db"))
		start := make(chan struct{})
		var stores sync.WaitGroup
		for range 8 {
			stores.Go(func() {
				<-start
				if err := sqlstore.ConnectAndClose(t.Context(), path); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		stores.Wait()
		if t.Failed() {
			return
		}
	}
}
