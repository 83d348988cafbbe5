package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var (
	// ErrNewerSchema: the database was written by a newer version of the program.
	ErrNewerSchema = errors.New("the database was written by a newer version of this program")
	// ErrTurnedBack: somebody turned back the version of the schema. A migration
	// would trust rows that do not verify any more.
	ErrTurnedBack = errors.New("the version of the database's schema was turned back")
)

// outdatedTime bounds how long a statement that failed waits for the version
// of the schema.
const outdatedTime = 2 * time.Second

//go:embed migrations
var migrationFiles embed.FS

// migrationsOf are the files of one dialect.
func migrationsOf(dialect string) fs.FS {
	sub, err := fs.Sub(migrationFiles, "migrations/"+dialect)
	if err != nil { // the name is a constant
		panic(err)
	}
	return sub
}

// migration is one numbered file, "0001_start.sql", and perhaps a step in Go
// behind it.
//
// MySQL commits each statement of a schema by itself, and a start may be
// interrupted between two. So a migration may run again that did some of its
// work already: its statements and its step find out what is left to do.
type migration struct {
	version    int
	name       string
	statements []statement
	step       migrationStep
}

// migrationStep converts rows. finish, if it is not nil, is run in one
// transaction with the new version of the schema: what marks the migration as
// done is there if, and only if, the version is.
type migrationStep func(ctx context.Context, s *Store, x execer) (finish func(ctx context.Context, x execer) error, err error)

// statement is one of a file's statements, and when it is run: always, or as
// long as there is a table, or is no column, of a name. A file says so in the
// line above it:
//
//	--if table tokens_old
//	--unless column tokens_keys.name
type statement struct {
	text, ifTable, unlessColumn string
}

// steps are the migrations' steps in Go, by number.
var steps = map[int]migrationStep{4: convertToClaims, authenticatedSchema: authenticateRows, boundSchema: bindRows}

// migrate applies the files that the database has not seen. The caller holds
// the lock.
func (s *Store) migrate(ctx context.Context, x execer) error {
	files, err := readMigrations(s.dialect.migrations())
	if err != nil {
		return err
	}
	have, err := s.schemaVersion(ctx, x)
	if err != nil {
		return err
	}
	if have > len(files) {
		return finalError{newerSchema(have, len(files))}
	}
	if err := s.refuseTurnedBack(ctx, x, have); err != nil {
		return err
	}
	for _, m := range files[min(have, len(files)):] {
		if err := s.apply(ctx, x, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		s.log.Info("database schema migrated", zap.String("store", s.dialect.name()), zap.String("migration", m.name))
	}
	return nil
}

// createSchema makes the empty tables of a version of the schema, for rows that
// come from a backup. The steps in Go, which convert rows, have nothing to do.
func (s *Store) createSchema(ctx context.Context, x execer, version int) error {
	files, err := readMigrations(s.dialect.migrations())
	if err != nil {
		return err
	}
	if version > len(files) || version < 1 {
		return finalError{newerSchema(version, len(files))}
	}
	have, err := s.schemaVersion(ctx, x)
	if err != nil {
		return err
	}
	if have > version {
		return finalError{fmt.Errorf("%w: it has the tables of schema %d, and the backup those of schema %d", ErrNotEmpty, have, version)}
	}
	for _, m := range files[have:version] {
		m.step = nil
		if err := s.apply(ctx, x, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// checkSchema refuses to work on all tables if a newer program has migrated the
// database since this one opened it: there may be tables that this one does not
// know.
func (s *Store) checkSchema(ctx context.Context, x execer) (have int, err error) {
	if have, err = s.schemaVersion(ctx, x); err != nil {
		return 0, err
	}
	known, err := s.knownSchema()
	if err == nil && have > known {
		err = finalError{fmt.Errorf("%w: %s: %w; upgrade this node", tokenstore.ErrUnavailable, s.dialect.name(), newerSchema(have, known))}
	}
	return have, err
}

// knownSchema is the version of the schema that this program works with.
func (s *Store) knownSchema() (int, error) {
	files, err := readMigrations(s.dialect.migrations())
	return len(files), err
}

// tableNames are the names of this program's tables in the database.
func (s *Store) tableNames(ctx context.Context, x execer) ([]string, error) {
	rows, err := x.QueryContext(ctx, s.dialect.tables())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if isName.MatchString(name) { // it goes into statements
			names = append(names, name)
		}
	}
	return names, rows.Err()
}

func newerSchema(have, known int) error {
	return fmt.Errorf("%w: its schema is %d, this one knows %d", ErrNewerSchema, have, known)
}

// outdated returns ErrNewerSchema if a newer program has migrated the database
// since this one opened it. It is asked after a statement that the database
// turned down: "no such table" would tell nobody that this node is too old.
func (s *Store) outdated(ctx context.Context, failed error) error {
	db := s.db.Load()
	if db == nil || !s.dialect.isRejected(failed) {
		return nil
	}
	files, err := readMigrations(s.dialect.migrations())
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outdatedTime)
	defer cancel()
	var have int
	if err := db.read.QueryRowContext(ctx, "SELECT MAX(version) FROM tokens_schema").Scan(&have); err != nil || have <= len(files) {
		return nil // what failed first tells more
	}
	return newerSchema(have, len(files))
}

// schemaVersion is the number of the newest migration that was applied; 0 for
// an empty database.
func (s *Store) schemaVersion(ctx context.Context, x execer) (int, error) {
	var n int
	if err := x.QueryRowContext(ctx, s.dialect.hasTable(), "tokens_schema").Scan(&n); err != nil {
		return 0, err
	}
	if n == 0 {
		_, err := x.ExecContext(ctx, "CREATE TABLE tokens_schema (version INTEGER NOT NULL PRIMARY KEY)")
		return 0, err
	}
	err := x.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM tokens_schema").Scan(&n)
	return n, err
}

func (s *Store) apply(ctx context.Context, x execer, m migration) error {
	for _, statement := range m.statements {
		due, err := s.due(ctx, x, statement)
		if err == nil && due {
			_, err = x.ExecContext(ctx, statement.text)
		}
		if err != nil {
			return err
		}
	}
	var finish func(ctx context.Context, x execer) error
	if m.step != nil {
		var err error
		if finish, err = m.step(ctx, s, x); err != nil {
			return err
		}
	}
	return batch(ctx, x, func(x execer) error {
		if finish != nil {
			if err := finish(ctx, x); err != nil {
				return err
			}
		}
		_, err := x.ExecContext(ctx, "INSERT INTO tokens_schema (version) VALUES (?)", m.version)
		return err
	})
}

// due reports whether a statement still has something to do.
func (s *Store) due(ctx context.Context, x execer, st statement) (bool, error) {
	var n int
	switch {
	case st.ifTable != "":
		err := x.QueryRowContext(ctx, s.dialect.hasTable(), st.ifTable).Scan(&n)
		return n > 0, err
	case st.unlessColumn != "":
		table, column, _ := strings.Cut(st.unlessColumn, ".")
		err := x.QueryRowContext(ctx, s.dialect.hasColumn(), table, column).Scan(&n)
		return n == 0, err
	}
	return true, nil
}

// readMigrations reads the files in order; they are numbered 1, 2, 3 without
// a gap.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	list := make([]migration, 0, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list = append(list, migration{version: version, name: name, statements: split(string(text)), step: steps[version]})
	}
	return list, nil
}

// split cuts a file into statements: each ends with a semicolon at the end of
// a line. Comment lines go, but for the conditions.
func split(text string) []statement {
	var statements []statement
	var next statement
	for line := range strings.Lines(text) {
		switch condition, ok := strings.CutPrefix(line, "--if table "); {
		case ok:
			next.ifTable = strings.TrimSpace(condition)
			continue
		case strings.HasPrefix(line, "--unless column "):
			next.unlessColumn = strings.TrimSpace(strings.TrimPrefix(line, "--unless column "))
			continue
		case strings.HasPrefix(line, "--"):
			continue
		}
		next.text += line
		if whole, ok := strings.CutSuffix(next.text, ";\n"); ok {
			next.text = strings.TrimSpace(whole)
			statements, next = append(statements, next), statement{}
		}
	}
	return statements
}
