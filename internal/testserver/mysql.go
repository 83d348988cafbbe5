package testserver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// Password is the database user's: tests look for it where it must not be.
const Password = "mariadb-canary-4711"

const user = "tokens"

// MySQL is one fresh schema on the shared MariaDB server.
type MySQL struct {
	*Server
	schema string
}

var mariadb struct {
	sync.Once
	server  *Server
	err     error
	schemas atomic.Int64
}

// MariaDB returns a fresh, empty schema. The server is started by the first
// call. The schema goes when the test ends.
func MariaDB(tb testing.TB) *MySQL {
	tb.Helper()
	install, program := find(tb, "mariadb-install-db"), find(tb, "mariadbd")
	mariadb.Do(func() { mariadb.server, mariadb.err = startMariaDB(install, program) })
	if mariadb.err != nil {
		tb.Fatal(mariadb.err)
	}
	m := &MySQL{Server: mariadb.server, schema: fmt.Sprintf("test_%d", mariadb.schemas.Add(1))}
	m.Exec(tb, "CREATE DATABASE "+m.schema)
	tb.Cleanup(func() {
		m.Restart(tb)
		m.Exec(tb, "DROP DATABASE "+m.schema)
	})
	return m
}

// OwnMariaDB starts a MariaDB server for this test alone, with further options; it
// ends with the test.
func OwnMariaDB(tb testing.TB, options ...string) *MySQL {
	tb.Helper()
	s, err := startMariaDB(find(tb, "mariadb-install-db"), find(tb, "mariadbd"), options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = s.alive.Close() // the watchdog ends the server
		<-s.exited()
	})
	m := &MySQL{Server: s, schema: "test_1"}
	m.Exec(tb, "CREATE DATABASE "+m.schema)
	return m
}

// DSN is the data source name of the schema, over TCP and with a password.
func (m *MySQL) DSN() string { return m.DSNVia(m.addr) }

// DSNVia is DSN by another address: that of a proxy before the server.
func (m *MySQL) DSNVia(addr string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", user, Password, addr, m.schema)
}

// Schema is the schema's name; its files lie in a directory of that name in
// Dir.
func (m *MySQL) Schema() string { return m.schema }

// Exec runs a statement as root.
func (m *MySQL) Exec(tb testing.TB, query string, args ...any) {
	tb.Helper()
	db := sql.OpenDB(rootConnector(m.Server))
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(context.Background(), query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

func startMariaDB(install, program string, options ...string) (*Server, error) {
	dir, alive, err := newDir("mariadb")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "mariadbd", dir: dir, alive: alive, ready: pingMariaDB}
	asUser := fmt.Sprintf("--user=%s", userName())
	cmd := exec.CommandContext(context.Background(), install, "--no-defaults", "--datadir="+s.Dir(), // #nosec G204 -- fixed programs
		"--auth-root-authentication-method=normal", "--skip-test-db", asUser)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir) // others may install at the same time
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	err = s.firstStart(func(addr, port string) {
		s.addr = addr
		s.args = append([]string{
			program, "--no-defaults", asUser, "--datadir=" + s.Dir(), "--socket=" + s.socket(), "--tmpdir=" + dir,
			"--bind-address=127.0.0.1", "--port=" + port, "--skip-name-resolve",
			"--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=8M",
			"--max-connections=500",
		}, options...)
	})
	if err != nil {
		return nil, err
	}
	return s, s.createUser()
}

func (s *Server) createUser() error {
	db := sql.OpenDB(rootConnector(s))
	defer func() { _ = db.Close() }()
	for _, query := range []string{
		"CREATE USER " + user + "@'127.0.0.1' IDENTIFIED BY '" + Password + "'",
		"GRANT ALL ON `test\\_%`.* TO " + user + "@'127.0.0.1'",
	} {
		if _, err := db.ExecContext(context.Background(), query); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) socket() string { return filepath.Join(s.dir, "sock") }

// rootConnector connects over the socket: root has no password and no TCP.
func rootConnector(s *Server) driver.Connector {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = "root", "unix", s.socket(), &mysql.NopLogger{}
	c, err := mysql.NewConnector(cfg)
	if err != nil { // the configuration above is a constant
		panic(err)
	}
	return c
}

func pingMariaDB(ctx context.Context, s *Server) error {
	db := sql.OpenDB(rootConnector(s))
	defer func() { _ = db.Close() }()
	return db.PingContext(ctx)
}

// userName is the account to run as: mariadbd asks root to say so.
func userName() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}
