package testserver_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// table opens a fresh schema with a table t of one row.
func table(t *testing.T) (*testserver.MySQL, *sql.DB) {
	t.Helper()
	m := testserver.MariaDB(t)
	db := open(t, "mysql", m.DSN())
	for _, query := range []string{"CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 1)"} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	return m, db
}

func update(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id = 1")
	return err
}

func wantNumber(t *testing.T, err error, number uint16) {
	t.Helper()
	var e *mysql.MySQLError
	if !errors.As(err, &e) || e.Number != number {
		t.Fatalf("got %v, want error %d", err, number)
	}
}

func TestMariaDBReadOnly(t *testing.T) {
	m, db := table(t)
	t.Run("inner", func(t *testing.T) {
		m.ReadOnly(t, true)
		wantNumber(t, update(t.Context(), db), 1290)
		m.ReadOnly(t, false)
		if err := update(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		m.ReadOnly(t, true)
	})
	if err := update(t.Context(), db); err != nil {
		t.Fatalf("after the test: %v", err)
	}
}

func TestMariaDBKillConnections(t *testing.T) {
	m, db := table(t)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := m.KillConnections(t); n != 1 {
		t.Errorf("%d connections were killed, want 1", n)
	}
	if err := conn.PingContext(t.Context()); err == nil {
		t.Error("the connection lives")
	}
	if err := update(t.Context(), db); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

func TestMariaDBHold(t *testing.T) {
	for name, statements := range map[string][]string{
		"table": {"LOCK TABLES t WRITE"},
		"row":   {"BEGIN", "SELECT * FROM t WHERE id = 1 FOR UPDATE"},
	} {
		t.Run(name, func(t *testing.T) {
			m, db := table(t)
			release := m.Hold(t, statements...)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if err := update(ctx, db); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("while it is held: %v", err)
			}
			release()
			if err := update(t.Context(), db); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMariaDBLockWaitTimeout(t *testing.T) {
	m, db := table(t)
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET innodb_lock_wait_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	m.Hold(t, "BEGIN", "SELECT * FROM t WHERE id = 1 FOR UPDATE")
	wantNumber(t, update(t.Context(), db), 1205)
}

// The answer to a COMMIT gets lost; what it committed is there.
func TestMariaDBThroughAFaultyNetwork(t *testing.T) {
	m, direct := table(t)
	proxy := faultproxy.New(t, m.Addr())
	db := open(t, "mysql", m.DSNVia(proxy.Addr()))
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "UPDATE t SET n = 5"); err != nil {
		t.Fatal(err)
	}
	proxy.Set(faultproxy.Faults{Down: faultproxy.Way{Reset: true, After: 3}})
	if err := tx.Commit(); err == nil {
		t.Fatal("the answer to COMMIT was lost, and there is no error")
	}
	var n int
	if err := direct.QueryRowContext(t.Context(), "SELECT n FROM t").Scan(&n); err != nil || n != 5 {
		t.Fatalf("n = %d, %v", n, err)
	}
}

func TestRedisFlushAll(t *testing.T) {
	r, other := testserver.Redis(t), testserver.Redis(t)
	c := other.Client(t)
	if err := c.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.FlushAll(t)
	if n := c.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func TestRedisPause(t *testing.T) {
	r := testserver.Redis(t)
	c := r.Client(t)
	began := time.Now()
	r.Pause(t, 300*time.Millisecond)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 250*time.Millisecond { // its clock is not ours
		t.Errorf("answered after %v", took)
	}
}

func TestRedisRefusesWrites(t *testing.T) {
	r := testserver.Redis(t)
	c := r.Client(t)
	if err := c.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	t.Run("inner", func(t *testing.T) {
		allow := r.RefuseWrites(t)
		if err := c.Set(t.Context(), "a", "c", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOREPLICAS") {
			t.Errorf("a write: %v", err)
		}
		if got := c.Get(t.Context(), "a").Val(); got != "b" {
			t.Errorf("read %q", got)
		}
		allow()
		if err := c.Set(t.Context(), "a", "c", 0).Err(); err != nil {
			t.Error(err)
		}
		r.RefuseWrites(t)
	})
	if err := c.Set(t.Context(), "a", "d", 0).Err(); err != nil {
		t.Errorf("after the test: %v", err)
	}
}

func TestRedisKillConnections(t *testing.T) {
	r := testserver.Redis(t)
	c := r.Client(t)
	sub := c.Subscribe(t.Context(), "news")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.KillConnections(t); n < 1 {
		t.Errorf("%d connections were killed", n)
	}
	if _, err := sub.ReceiveTimeout(t.Context(), 10*time.Second); err == nil {
		t.Error("the subscription lives")
	}
}

func TestRedisThroughAFaultyNetwork(t *testing.T) {
	r := testserver.Redis(t)
	proxy := faultproxy.New(t, r.Addr())
	if want := "redis://" + proxy.Addr() + "/"; !strings.HasPrefix(r.URLVia(proxy.Addr()), want) {
		t.Errorf("URLVia is %s, want %s...", r.URLVia(proxy.Addr()), want)
	}
	if suffix := strings.TrimPrefix(r.URL(), "redis://"+r.Addr()); !strings.HasSuffix(r.URLVia("x:1"), suffix) {
		t.Errorf("%s is another database than %s", r.URLVia("x:1"), r.URL())
	}
}

// A primary is cut off, and its replica is promoted with what it has got.
func TestRedisFailover(t *testing.T) {
	primary, replica := testserver.OwnRedis(t), testserver.OwnRedis(t)
	network := faultproxy.New(t, primary.Addr())
	replica.Follow(t, network.Addr())
	c, r := primary.Client(t), replica.Client(t)
	set := func(value string) {
		t.Helper()
		if err := c.Set(t.Context(), "a", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("old")
	eventually(t, "it is replicated", func() bool { return r.Get(t.Context(), "a").Val() == "old" })
	if err := r.Set(t.Context(), "a", "x", 0).Err(); err == nil {
		t.Error("the replica writes")
	}
	network.Set(faultproxy.Faults{Cut: true})
	set("new") // and lost
	replica.Promote(t)
	if got := r.Get(t.Context(), "a").Val(); got != "old" {
		t.Errorf("the new primary has %q", got)
	}
	if err := r.Set(t.Context(), "a", "x", 0).Err(); err != nil {
		t.Error(err)
	}
}

func TestOwnRedisEndsWithItsTest(t *testing.T) {
	pid := 0
	t.Run("inner", func(t *testing.T) { pid = testserver.OwnRedis(t).PID() })
	if !gone(pid) {
		t.Error("it runs")
	}
}

// The limit of another process, while it runs.
func TestLimitFilesOfAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `trap "" XFSZ; read -r _; head -c 10000 /dev/zero >"$0"`, path) // #nosec G204 -- our own script
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testserver.LimitFiles(t, cmd.Process.Pid, 5000)
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it wrote everything")
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 5000 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestLimitFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func() error { return os.WriteFile(path, make([]byte, 10_000), 0o600) }
	lift := testserver.LimitFiles(t, 0, 5000)
	if err := write(); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("while limited: %v", err)
	}
	lift()
	if err := write(); err != nil {
		t.Error(err)
	}
}

// What the two limits are to SQLite, and that it recovers.
func TestSQLiteOnAFullDisk(t *testing.T) {
	const insert = "INSERT INTO t VALUES (randomblob(100000))"
	wantCode := func(err error, code int) {
		t.Helper()
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code() != code {
			t.Errorf("got %v, want code %d", err, code)
		}
	}
	path := filepath.Join(t.TempDir(), "a b.db")
	dsn := "file:" + strings.ReplaceAll(path, " ", "%20") + "?_pragma=journal_mode(WAL)"
	free := open(t, "sqlite", dsn)
	if _, err := free.ExecContext(t.Context(), "CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	testserver.LimitSQLite(t, path, 10)
	full := open(t, "sqlite", dsn)
	_, err := full.ExecContext(t.Context(), insert)
	wantCode(err, sqlite3.SQLITE_FULL)

	lift := testserver.LimitFiles(t, 0, 50_000)
	_, err = free.ExecContext(t.Context(), insert)
	wantCode(err, sqlite3.SQLITE_IOERR_WRITE)
	lift()
	if _, err := free.ExecContext(t.Context(), insert); err != nil {
		t.Error(err)
	}
	testserver.LimitSQLite(t, path, 0)
	if _, err := open(t, "sqlite", dsn).ExecContext(t.Context(), insert); err != nil {
		t.Error(err)
	}
}
