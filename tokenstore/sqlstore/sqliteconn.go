package sqlstore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
)

// preparedMost is how many statements a connection keeps. Those of the way to a
// token are about twenty; lists make a few more for each of their filters.
const preparedMost = 100

// preparing makes connections to SQLite that keep what they prepared: to prepare
// a statement takes longer than to run it.
type preparing struct{ driver.Connector }

// Connect implements driver.Connector.
func (c preparing) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	whole, ok := conn.(sqliteConn)
	if !ok { // the driver that go.mod names has all of it
		_ = conn.Close()
		return nil, fmt.Errorf("a connection of the type %T", conn)
	}
	return &preparedConn{sqliteConn: whole, kept: map[string]*preparedStmt{}}, nil
}

// sqliteConn is what database/sql uses of a connection to SQLite.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparedConn is a connection with the statements that it prepared. SQLite
// prepares them again by itself when the schema has changed.
type preparedConn struct {
	sqliteConn
	kept map[string]*preparedStmt
}

// preparedStmt is a statement that is kept.
type preparedStmt struct {
	sqliteStmt
	isBusy bool // its rows are being read
}

// sqliteStmt is what is used of a prepared statement.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// ExecContext implements driver.ExecerContext.
func (c *preparedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	stmt, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case stmt == nil:
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return stmt.ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *preparedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case stmt == nil:
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	stmt.isBusy = true
	return &preparedRows{Rows: rows, of: stmt}, nil
}

// Close implements driver.Conn.
func (c *preparedConn) Close() error {
	c.forget()
	return c.sqliteConn.Close()
}

// statement returns the prepared statement of a query; nil for one that is not
// kept, or is in use. A PRAGMA may act when it is prepared, and what changes the
// schema runs once: neither is kept.
func (c *preparedConn) statement(ctx context.Context, query string) (*preparedStmt, error) {
	if stmt, ok := c.kept[query]; ok {
		if stmt.isBusy {
			return nil, nil //nolint:nilnil // it is prepared once more, for this time
		}
		return stmt, nil
	}
	switch verb, _, _ := strings.Cut(query, " "); verb {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
	default:
		return nil, nil //nolint:nilnil // nothing is kept
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	whole, ok := prepared.(sqliteStmt)
	if !ok { // the driver that go.mod names has all of it
		_ = prepared.Close()
		return nil, fmt.Errorf("a statement of the type %T", prepared)
	}
	if len(c.kept) >= preparedMost {
		c.forget()
	}
	stmt := &preparedStmt{sqliteStmt: whole}
	c.kept[query] = stmt
	return stmt, nil
}

// forget closes the statements that nobody uses.
func (c *preparedConn) forget() {
	for query, stmt := range c.kept {
		if !stmt.isBusy {
			_ = stmt.Close()
			delete(c.kept, query)
		}
	}
}

// preparedRows give their statement back when they are closed.
type preparedRows struct {
	driver.Rows
	of *preparedStmt
}

// Close implements driver.Rows.
func (r *preparedRows) Close() error {
	err := r.Rows.Close()
	r.of.isBusy = false
	return err
}
