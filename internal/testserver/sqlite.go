package testserver

import (
	"context"
	"database/sql/driver"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"modernc.org/sqlite"
)

// sqliteLimits are the pages that the databases of this process may have, by
// the beginning of their data source name. Hooks of the driver cannot be taken
// away, so there is one, and it looks here.
var sqliteLimits struct {
	sync.Mutex
	pages map[string]int
	hook  sync.Once
}

// LimitSQLite lets a SQLite file have no more than a number of pages (4096
// bytes each): a write that needs more fails with SQLITE_FULL, as on a full
// disk. It holds for the connections of this process that are opened from now
// on, until the test ends; 0 lifts it. SQLite forgets the limit with the
// connection (https://www.sqlite.org/pragma.html#pragma_max_page_count), hence
// no second connection can impose it.
func LimitSQLite(tb testing.TB, path string, pages int) {
	tb.Helper()
	sqliteLimits.hook.Do(func() { sqlite.RegisterConnectionHook(limitConnection) })
	name := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	set := func(pages int) {
		sqliteLimits.Lock()
		defer sqliteLimits.Unlock()
		if sqliteLimits.pages == nil {
			sqliteLimits.pages = map[string]int{}
		}
		sqliteLimits.pages[name] = pages
	}
	set(pages)
	tb.Cleanup(func() { set(0) })
}

func limitConnection(conn sqlite.ExecQuerierContext, dsn string) error {
	name, _, _ := strings.Cut(dsn, "?")
	sqliteLimits.Lock()
	pages := sqliteLimits.pages[name]
	sqliteLimits.Unlock()
	if pages == 0 {
		return nil
	}
	_, err := conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", pages), []driver.NamedValue{})
	return err
}
