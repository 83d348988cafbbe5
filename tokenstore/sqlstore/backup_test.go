package sqlstore_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// database is one that stores are made for.
type database struct {
	store func(keys *tokenstore.Keyring) *sqlstore.Store
	plain func() *sql.DB
}

// databases make new ones of each kind.
var databases = map[string]func(t *testing.T) database{
	"SQLite": func(t *testing.T) database {
		path := filepath.Join(t.TempDir(), "tokens.db")
		return database{
			store: func(keys *tokenstore.Keyring) *sqlstore.Store { return sqlstore.SQLite(path, keys) },
			plain: func() *sql.DB { return plainDB(t, path) },
		}
	},
	"MariaDB": func(t *testing.T) database {
		m := testserver.MariaDB(t)
		return database{
			store: func(keys *tokenstore.Keyring) *sqlstore.Store {
				s, err := sqlstore.MySQL(m.DSN(), keys)
				if err != nil {
					t.Fatal(err)
				}
				return s.Store
			},
			plain: func() *sql.DB { return plainMySQL(t, m) },
		}
	},
}

func (d database) open(t *testing.T, keys *tokenstore.Keyring) *sqlstore.Store {
	t.Helper()
	s := d.store(keys)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// The list of a backup's tables is that of the databases, with every column; a
// table whose rows are sealed takes part in a rotation of the keys. Whoever adds
// a table or a column is told here.
func TestStoredTables(t *testing.T) {
	columns := map[string]string{
		"SQLite": "SELECT m.name, c.name, c.pk FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name LIKE 'tokens%'",
		"MariaDB": "SELECT c.table_name, c.column_name, COALESCE(k.ordinal_position, 0) FROM information_schema.columns c" +
			" LEFT JOIN information_schema.key_column_usage k ON k.table_schema = c.table_schema AND k.table_name = c.table_name" +
			" AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY'" +
			" WHERE c.table_schema = DATABASE() AND c.table_name LIKE 'tokens%'",
	}
	listed, keys := sqlstore.StoredTables()
	want := map[string][]string{}
	for table, cs := range listed {
		for i, c := range cs {
			pk := 0
			if i < keys[table] {
				pk = i + 1
			}
			want[table] = append(want[table], fmt.Sprint(c.Name, " ", pk))
		}
		slices.Sort(want[table])
	}
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			db := fresh(t)
			db.open(t, storetest.Ring(t))
			rows, err := db.plain().QueryContext(t.Context(), columns[name])
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			have, sealed := map[string][]string{}, []string(nil)
			for rows.Next() {
				var table, column string
				var pk int
				if err := rows.Scan(&table, &column, &pk); err != nil {
					t.Fatal(err)
				}
				if have[table] = append(have[table], fmt.Sprint(column, " ", pk)); column == "key_id" {
					sealed = append(sealed, table)
				}
			}
			if rows.Err() != nil {
				t.Fatal(rows.Err())
			}
			for table := range have {
				slices.Sort(have[table])
			}
			for _, table := range []string{"tokens_schema", "tokens_changes", "tokens_sessions"} { // not in a backup
				delete(have, table)
			}
			if diff := gocmp.Diff(want, have); diff != "" {
				t.Errorf("storedTables is not what the database has; name each column, with its type, there (-listed +database):\n%s", diff)
			}
			resealed := sqlstore.ResealedTables()
			slices.Sort(resealed)
			if slices.Sort(sealed); !slices.Equal(sealed, resealed) {
				t.Errorf("tables with key_id are %q, and a rotation of the keys seals %q", sealed, resealed)
			}
		})
	}
}

// fill writes rows into every table, and deletes some.
func fill(t *testing.T, s tokenstore.Store) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := realm.Realm{ID: "wx", Comment: "公众号 é \u0000 %", LogicCode: ""}
	r.Config.Shared = map[string]realm.Hidden{"app_key": "shared"}
	_, err := storetest.SaveRealm(t.Context(), s, r)
	check(err)
	saveMany(t, s, "ab", 150)
	saveMany(t, s, "wx", 250) // together more than are read at a time
	check(s.DeleteSecret(t.Context(), realm.Ref{Realm: "wx", Key: "249"}))
	ref := realm.Ref{Realm: "wx", Key: "1"}
	at := time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)
	_, err = storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: "access", Refresh: "refresh", IssuedAt: at, ExpiresAt: at.AddDate(10, 0, 0)}, 0)
	check(err)
	_, err = s.Push(t.Context(), ref, "ticket", "ticket", time.Hour)
	check(err)
	_, err = s.Push(t.Context(), realm.Ref{Realm: "file", Key: "main"}, "ticket", "ticket", 0)
	check(err)
	dropped := realm.Ref{Realm: "wx", Key: "2"}
	_, err = storetest.SaveToken(t.Context(), s, dropped, realm.Token{Access: "gone", IssuedAt: at}, 0)
	check(err)
	check(storetest.DropToken(t.Context(), s, dropped))
	_, err = s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
		st.Claim.Purpose, st.Claim.Rejected.Digest = "renew", realm.Digest{1, 2}
		st.Budget.Failure.Digest = realm.Digest{3, 4}
		return nil
	})
	check(err)
	a := tokenstore.Authorization{State: tokenstore.HashState("under way"), Ref: ref, Verifier: "verifier", CallbackURL: "https://gw/cb"}
	check(s.BeginAuthorization(t.Context(), a, time.Hour))
	for _, id := range []string{"91110000", "91110001", "91110002"} {
		_, err = s.UpdateCompany(t.Context(), id, func(c tokenstore.Company, _ bool) (tokenstore.Company, error) {
			c.Name, c.Accounts = "公司 "+id, map[string]string{"jd": "main"}
			return c, nil
		})
		check(err)
	}
	check(s.DeleteCompany(t.Context(), "91110001"))
	for _, id := range []string{"billing", "former"} {
		_, err = s.UpdateClient(t.Context(), id, func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
			c.Users, c.Keys = []string{id}, []tokenstore.ClientKey{{Digest: tokenstore.KeyDigest{byte(len(id))}}}
			c.Rules = []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"wx"}}}
			return c, nil
		})
		check(err)
	}
	check(s.DeleteClient(t.Context(), "former"))
	check(s.AppendAudit(t.Context(), &tokenstore.AuditEntry{Act: "login", ActorKind: "admin", Result: "ok", Detail: "é \u0000"}))
	first, err := s.Once(t.Context(), "cron wx", time.Now()) // old ones are forgotten
	if check(err); !first {
		t.Fatal("the run was there")
	}
}

// backup is a backup of a store.
func backup(t *testing.T, s *sqlstore.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rowsOf are the lines of a backup that have rows, in order of the text: two
// databases may order text in different ways.
func rowsOf(text []byte) []string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	lines = lines[1 : len(lines)-1]
	slices.SortFunc(lines, cmp.Compare[string])
	return lines
}

// A backup of either database fills a new one of either kind: byte for byte the
// same rows, which the new one takes for its own, the newest versions included.
func TestBackupAndRestore(t *testing.T) {
	for from, freshSource := range databases {
		for to, freshTarget := range databases {
			t.Run(from+" to "+to, func(t *testing.T) {
				source, key := freshSource(t), storetest.Key(t)
				s := source.open(t, storetest.Ring(t, key))
				fill(t, s)
				text := backup(t, s)
				target := freshTarget(t)
				done, err := target.store(storetest.Ring(t, key)).Restore(t.Context(), bytes.NewReader(text), true)
				rows := int64(len(rowsOf(text)))
				if err != nil || done.Rows != rows || done.Verified == 0 || !slices.Equal(done.Keys, []string{storetest.Ring(t, key).IDs()[0].String()}) {
					t.Fatalf("%+v of %d rows, %v", done, rows, err)
				}
				restored := target.open(t, storetest.Ring(t, key))
				if diff := gocmp.Diff(rowsOf(text), rowsOf(backup(t, restored))); diff != "" {
					t.Errorf("the rows (-before +after):\n%s", diff)
				}
				wantMany(t, restored, "wx", 249)
				if bad, err := restored.Damaged(t.Context()); err != nil || len(bad) > 0 {
					t.Errorf("damaged: %v, %v", bad, err)
				}
				saveMany(t, restored, "wx", 3) // it goes on
				clients, required, err := restored.Clients(t.Context())
				if err != nil || len(clients) != 1 || clients[0].ID != "billing" || len(clients[0].Keys) != 1 || !required {
					t.Errorf("clients: %+v, %v, %v", clients, required, err)
				}
				chains := 0
				err = restored.VerifyAudit(t.Context(), func(c tokenstore.AuditChain) {
					if chains++; c.Reason != "" {
						t.Errorf("the audit breaks: %+v", c)
					}
				})
				if err != nil || chains == 0 {
					t.Errorf("%d chains of the audit, %v", chains, err)
				}
				if _, err := restored.TakeAuthorization(t.Context(), tokenstore.HashState("under way")); err != nil {
					t.Error(err)
				}
				// What was put back from before the backup is noticed.
				execute(t, target.plain(), "UPDATE tokens_realms SET version = version - 1")
				if _, err := restored.Realm(t.Context(), "wx"); !errors.Is(err, tokenstore.ErrDamaged) {
					t.Errorf("an altered row: %v", err)
				}
			})
		}
	}
}

// Every table has a row in what the test above restores.
func TestFillFillsEveryTable(t *testing.T) {
	s := databases["SQLite"](t).open(t, storetest.Ring(t))
	fill(t, s)
	text := backup(t, s)
	tables, _ := sqlstore.StoredTables()
	for table := range tables {
		if !bytes.Contains(text, []byte(`{"table":"`+table+`","row":`)) {
			t.Errorf("%s has no row", table)
		}
	}
}

// A backup shows the state of one moment, while others write.
func TestBackupIsASnapshot(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			db, key := fresh(t), storetest.Key(t)
			s := db.open(t, storetest.Ring(t, key))
			saveMany(t, s, "wx", 700)
			var text bytes.Buffer
			write := sync.OnceFunc(func() { // when the first rows have gone out
				for i := range 5 {
					saveNumbered(t, s, realm.Ref{Realm: "wx", Key: fmt.Sprint(695 + i)}, "later")
				}
				if err := s.DeleteSecret(t.Context(), realm.Ref{Realm: "wx", Key: "694"}); err != nil {
					t.Error(err)
				}
			})
			err := s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) {
				write()
				return text.Write(p)
			}))
			if err != nil {
				t.Fatal(err)
			}
			// One in which rows and registers are of different moments does not
			// verify.
			target := fresh(t)
			if _, err := target.store(storetest.Ring(t, key)).Restore(t.Context(), &text, true); err != nil {
				t.Fatal(err)
			}
			wantMany(t, target.open(t, storetest.Ring(t, key)), "wx", 700)
		})
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A reader that goes away ends the backup, and the next one can begin; two at a
// time are refused.
func TestBackupEndsWithItsReader(t *testing.T) {
	s := databases["SQLite"](t).open(t, storetest.Ring(t))
	saveMany(t, s, "wx", 700)
	gone := errors.New("the reader has gone")
	var second error
	err := s.Backup(t.Context(), writerFunc(func([]byte) (int, error) {
		second = s.Backup(t.Context(), &bytes.Buffer{})
		return 0, gone
	}))
	if !errors.Is(err, gone) || !errors.Is(second, tokenstore.ErrBackupRuns) {
		t.Fatalf("%v, and beside it %v", err, second)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	backup(t, s)
}

// refused expects that a backup is not restored, and that nothing of it stays.
func refused(t *testing.T, db database, keys *tokenstore.Keyring, text []byte, words ...string) {
	t.Helper()
	_, err := db.store(keys).Restore(t.Context(), bytes.NewReader(text), keys != nil)
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("want %q, got %v", word, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "unavailable") {
		t.Errorf("got %v", err)
	}
}

// What is wrong with a file is named with its line, nothing of it stays in the
// store, and the right one can be restored into it afterwards.
func TestRestoreOfADamagedFile(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			key := storetest.Key(t)
			s := databases["SQLite"](t).open(t, storetest.Ring(t, key))
			saveMany(t, s, "wx", 5)
			text := backup(t, s)
			lines := bytes.SplitAfter(text, []byte("\n"))
			n := len(lines) - 2 // of the last line; an empty one comes behind
			join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
			with := func(i int, old, new string) []byte {
				changed := slices.Clone(lines)
				changed[i] = bytes.Replace(changed[i], []byte(old), []byte(new), 1)
				if bytes.Equal(changed[i], lines[i]) {
					t.Fatalf("%q is not in line %d: %s", old, i+1, lines[i])
				}
				return join(changed...)
			}
			secret := slices.IndexFunc(lines, func(l []byte) bool { return bytes.Contains(l, []byte("tokens_secrets\",\"row")) })
			line := func(i int) string { return fmt.Sprintf("line %d: ", i+1) }
			target := fresh(t)
			for _, c := range []struct {
				text  []byte
				words []string
			}{
				{nil, []string{"line 1: ", "cut"}},
				{[]byte("{}\n"), []string{"line 1: ", "header"}},
				{join(lines[:n]...), []string{line(n), "cut"}},
				{text[:len(text)-1], []string{line(n), "cut"}},
				{text[:len(text)-len(lines[n])-10], []string{line(n - 1), "cut"}},
				{with(secret, `"row":["`, `"row":["AA`), []string{line(secret), "checksum"}},
				{with(secret, `{`, `[`), []string{line(secret), "damaged"}},
				{join(join(lines[:secret]...), join(lines[secret+1:]...)), []string{line(n - 1), "rows of"}},
				{with(n, `"rows":`, `"rows":1`), []string{line(n), "rows of"}},
				{with(n, `"sha256":"`, `"sha256":"00`), []string{line(n), "altered"}},
				{join(text, lines[secret]), []string{line(n), "behind the last line"}},
				{with(0, `"format":1`, `"format":2`), []string{"line 1: ", "format 2", "newer"}},
				{with(0, `"schema":`, `"schema":1`), []string{"newer version of this program"}},
				{with(0, `"tokens_runs"`, `"tokens_schema"`), []string{"line 1: ", "tokens_schema"}},
				{with(0, `"tokens_runs"`, `"mysql.user"`), []string{"line 1: ", "mysql.user"}},
				{with(0, `"ref_key"`, `"ref_key, x"`), []string{"line 1: ", "ref_key, x"}},
			} {
				refused(t, target, nil, c.text, c.words...)
			}
			if _, err := target.store(nil).Restore(t.Context(), bytes.NewReader(text), false); err != nil {
				t.Fatal(err)
			}
			wantMany(t, target.open(t, storetest.Ring(t, key)), "wx", 5)
		})
	}
}

// forged is a backup in which one row was replaced, with the checksums that
// belong to it.
func forged(t *testing.T, text []byte, table string, forge func(cells []any)) []byte {
	t.Helper()
	var out bytes.Buffer
	var w *tokenstore.BackupWriter
	_, err := tokenstore.ReadBackup(bytes.NewReader(text), func(h tokenstore.BackupHeader) (err error) {
		w, err = tokenstore.NewBackupWriter(&out, h)
		return err
	}, func(row tokenstore.BackupRow) error {
		cells := make([]any, len(row.Cells))
		for i, c := range row.Cells {
			cells[i] = c
		}
		if row.Table.Name == table && forge != nil {
			forge(cells)
			forge = nil
		}
		return w.Row(row.Table.Name, cells)
	})
	if err == nil {
		err = w.Close()
	}
	if err != nil || forge != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// With the key, a row that was altered by somebody without it is named, whatever
// the checksums say; and so is a key that is not the right one.
func TestRestoreWithTheKey(t *testing.T) {
	key := storetest.Key(t)
	s := databases["SQLite"](t).open(t, storetest.Ring(t, key))
	saveMany(t, s, "wx", 5)
	before := backup(t, s)
	saveMany(t, s, "wx", 5) // a newer version of each
	text := backup(t, s)
	target := databases["SQLite"](t)
	refused(t, target, storetest.Ring(t), text, storetest.Ring(t, key).IDs()[0].String(), "encryption key")
	version := slices.IndexFunc(sealedColumns(t), func(c tokenstore.BackupColumn) bool { return c.Name == "version" })
	altered := forged(t, text, "tokens_secrets", func(cells []any) { cells[version] = json.RawMessage("77") })
	refused(t, target, storetest.Ring(t, key), altered, "secret wx/0", "damaged")
	// An old row is genuine, and not the newest one.
	var old []json.RawMessage
	_, err := tokenstore.ReadBackup(bytes.NewReader(before), func(tokenstore.BackupHeader) error { return nil }, func(row tokenstore.BackupRow) error {
		if row.Table.Name == "tokens_secrets" && old == nil {
			old = row.Cells
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	replayed := forged(t, text, "tokens_secrets", func(cells []any) {
		for i := range cells {
			cells[i] = old[i]
		}
	})
	refused(t, target, storetest.Ring(t, key), replayed, "secret wx/0", "damaged")
	if done, err := target.store(storetest.Ring(t, key)).Restore(t.Context(), bytes.NewReader(text), true); err != nil || done.Verified == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}

// sealedColumns are the columns of the secrets.
func sealedColumns(t *testing.T) []tokenstore.BackupColumn {
	t.Helper()
	tables, _ := sqlstore.StoredTables()
	return tables["tokens_secrets"]
}

// A store in which there is anything is refused, and stays as it is.
func TestRestoreIntoAStoreThatIsNotEmpty(t *testing.T) {
	key := storetest.Key(t)
	source := databases["SQLite"](t)
	s := source.open(t, storetest.Ring(t, key))
	saveMany(t, s, "wx", 5)
	text := backup(t, s)
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			target, own := fresh(t), storetest.Ring(t)
			other := target.open(t, own)
			saveMany(t, other, "other", 2)
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := target.store(nil).Restore(t.Context(), bytes.NewReader(text), false)
			if !errors.Is(err, sqlstore.ErrNotEmpty) || !regexp.MustCompile(`tokens_\w+`).MatchString(err.Error()) {
				t.Fatalf("got %v", err)
			}
			other = target.open(t, own)
			wantMany(t, other, "other", 2)
			if _, err := other.Secret(t.Context(), realm.Ref{Realm: "wx", Key: "0"}); !errors.Is(err, tokenstore.ErrSecretNotFound) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// schema4Backup is a backup as the program of schema 4 would have written it.
func schema4Backup(t *testing.T) (text []byte, keys *tokenstore.Keyring) {
	t.Helper()
	path, keys := copySQLite(t, "schema4.db")
	if err := keys.Load(false); err != nil {
		t.Fatal(err)
	}
	db := plainDB(t, path)
	h := tokenstore.BackupHeader{Schema: 4, Keys: []string{keys.IDs()[0].String()}}
	rows, err := db.QueryContext(t.Context(), "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c"+
		" WHERE m.type = 'table' AND m.name LIKE 'tokens%' AND m.name <> 'tokens_schema' ORDER BY m.name, c.cid")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table, column, kind string
		if err := rows.Scan(&table, &column, &kind); err != nil {
			t.Fatal(err)
		}
		c := tokenstore.BackupColumn{Name: column, Type: map[string]string{
			"BLOB": tokenstore.ColumnBytes, "TEXT": tokenstore.ColumnText, "INTEGER": tokenstore.ColumnInt,
		}[kind]}
		if strings.HasSuffix(column, "_at") || column == "deadline" || column == "at" {
			c.Type = tokenstore.ColumnTime
		}
		if n := len(h.Tables); n == 0 || h.Tables[n-1].Name != table {
			h.Tables = append(h.Tables, tokenstore.BackupTable{Name: table})
		}
		h.Tables[len(h.Tables)-1].Columns = append(h.Tables[len(h.Tables)-1].Columns, c)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	var out bytes.Buffer
	w, err := tokenstore.NewBackupWriter(&out, h)
	for _, table := range h.Tables {
		if err == nil {
			err = copyRows(t.Context(), db, table, w)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), keys
}

func copyRows(ctx context.Context, db *sql.DB, table tokenstore.BackupTable, w *tokenstore.BackupWriter) error {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+table.Name)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		cells, dest := make([]any, len(table.Columns)), make([]any, len(table.Columns))
		for i := range cells {
			dest[i] = &cells[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, c := range table.Columns {
			if text, ok := cells[i].(string); ok && c.Type == tokenstore.ColumnText {
				cells[i] = []byte(text)
			}
		}
		if err := w.Row(table.Name, cells); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A backup of an older version is restored as that version's database, which the
// next start migrates.
func TestRestoreOfAnOlderVersion(t *testing.T) {
	text, keys := schema4Backup(t)
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			target := fresh(t)
			done, err := target.store(keys).Restore(t.Context(), bytes.NewReader(text), true)
			if err != nil || done.Schema != 4 || done.Rows == 0 || done.Verified != 0 {
				t.Fatalf("%+v, %v", done, err)
			}
			s := target.open(t, keys)
			checkWrittenBy(t, s, 4)
			if found, err := s.Damaged(t.Context()); err != nil || len(found) != 0 {
				t.Errorf("damaged after the migration: %v, %v", found, err)
			}
		})
	}
}
