package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ErrDatabase: the old database cannot be used.
var ErrDatabase = errors.New("the old database cannot be read")

// The server's error numbers that an operator can do something about
// (https://mariadb.com/kb/en/mariadb-error-code-reference/).
const (
	erDatabaseDenied = 1044
	erAccessDenied   = 1045
	erNoDatabase     = 1049
	erTableDenied    = 1142
	erColumnDenied   = 1143
)

// source is the old schema, in one snapshot.
type source struct {
	db   *sql.DB
	conn *sql.Conn
	name string // server and schema, without credentials
}

// sessionStatements make the session one that cannot write and sees one moment
// only. The server drops a session that is silent while the API is slow, so
// it is told to be patient; TIMESTAMP columns are read in UTC.
var sessionStatements = []string{
	"SET SESSION wait_timeout = 28800",
	"SET SESSION time_zone = '+00:00'",
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	"SET SESSION TRANSACTION READ ONLY",
	"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}

// openSource connects and begins the snapshot.
func openSource(ctx context.Context, dsn realm.Hidden) (*source, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("%w: the DSN is not usable", ErrDatabase)
	}
	s := &source{db: sql.OpenDB(connector), name: fmt.Sprintf("%s(%s)/%s", config.Net, config.Addr, config.DBName)}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return nil, errors.Join(s.failed("connect", err), s.db.Close())
	}
	for _, statement := range sessionStatements {
		if _, err := s.conn.ExecContext(ctx, statement); err != nil {
			s.close()
			return nil, s.failed("begin a read-only snapshot", err)
		}
	}
	return s, nil
}

// parseDSN reads the DSN. The driver's errors are not passed on: some quote
// the part that they stumbled over.
func parseDSN(dsn realm.Hidden) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%w: the DSN is not of the form user:password@tcp(host:3306)/database", ErrDatabase)
	}
	if c.DBName == "" {
		return nil, fmt.Errorf("%w: the DSN names no database", ErrDatabase)
	}
	if err := c.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	// Times stay text: which zone they are in depends on the column.
	c.ParseTime = false
	// Parameters keep their types: a key of 19 digits, compared as text, would
	// be compared as a floating-point number.
	c.InterpolateParams = false
	c.MultiStatements, c.AllowAllFiles = false, false
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 5*time.Second, time.Minute, time.Minute
	c.Logger = &mysql.NopLogger{}
	return c, nil
}

func (s *source) close() {
	// The session ends, and with it the snapshot, which changed nothing.
	_ = s.conn.Close()
	_ = s.db.Close()
}

// failed says in an operator's words why the database did not do something.
func (s *source) failed(doing string, err error) error {
	reason := doing + ": " + err.Error()
	var server *mysql.MySQLError
	var network *net.OpError
	switch {
	case errors.As(err, &server) && server.Number == erAccessDenied:
		reason = "it refuses the user or the password"
	case errors.As(err, &server) && server.Number == erNoDatabase:
		reason = "it has no database of this name"
	case errors.As(err, &server) && (server.Number == erDatabaseDenied || server.Number == erTableDenied || server.Number == erColumnDenied):
		reason = "the user needs the right to SELECT from the old tables"
	case errors.As(err, &server):
		reason = fmt.Sprintf("%s: error %d: %s", doing, server.Number, strconv.QuoteToGraphic(server.Message)) // it goes to a terminal
	case errors.As(err, &network) && network.Op == "dial":
		reason = "nothing answers there: " + network.Err.Error()
	}
	return fmt.Errorf("%w: %s: %s", ErrDatabase, s.name, reason)
}
