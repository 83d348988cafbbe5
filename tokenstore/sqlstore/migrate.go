package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// ErrNewerSchema: the database was written by a newer version of the program.
var ErrNewerSchema = errors.New("the database was written by a newer version of this program")

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

// migration is one numbered file: "0001_start.sql".
type migration struct {
	version    int
	name       string
	statements []string
}

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
	if newest := files[len(files)-1].version; have > newest {
		return finalError{fmt.Errorf("%w: its schema is %d, this one knows %d", ErrNewerSchema, have, newest)}
	}
	for _, m := range files[min(have, len(files)):] {
		if err := s.apply(ctx, x, m); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		s.log.Info("database schema migrated", zap.String("store", s.dialect.name()), zap.String("migration", m.name))
	}
	return nil
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
		if _, err := x.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	_, err := x.ExecContext(ctx, "INSERT INTO tokens_schema (version) VALUES (?)", m.version)
	return err
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
		list = append(list, migration{version: version, name: name, statements: split(string(text))})
	}
	return list, nil
}

// split cuts a file into statements: each ends with a semicolon at the end of
// a line. Comment lines go.
func split(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	var statements []string
	for s := range strings.SplitSeq(strings.Join(lines, ""), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	return statements
}
