package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

const backupLong = `
Writes a backup of a running instance's database to a new file: all rows as they
are sealed, at one moment. The encryption key is not in it; keep the key, and keep
it elsewhere: whoever has both has all secrets and tokens.

The file appears when the backup is whole.

Exit status: 0 if it is, else 1.
` + apiLong

// backupCommand is `caddy tokens backup`.
func backupCommand() *cobra.Command {
	var api apiFlags
	var file string
	cmd := &cobra.Command{
		Use:   "backup --file FILE",
		Short: "Writes a backup of the database, without the encryption key",
		Long:  backupLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("--file is missing: name a new file")
			}
			api.needs = "admin for all realms"
			return withAPI(cmd, &api, func(ctx context.Context, c *apiclient.Client) error {
				return backUp(ctx, c, file, cmd.OutOrStdout())
			})
		},
	}
	api.AddFlags(cmd.Flags())
	cmd.Flags().StringVar(&file, "file", "", "the new file")
	return cmd
}

// backUp writes the file while it checks that nothing is missing in it.
func backUp(ctx context.Context, c *apiclient.Client, file string, report io.Writer) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--file: %s is there already", file)
	}
	body, err := c.Lines(ctx, http.MethodGet, "/api/backup")
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	var header tokenstore.BackupHeader
	var rows int64
	err = tokenstore.WritePrivateFile(file, func(w io.Writer) (err error) {
		rows, err = tokenstore.ReadBackup(io.TeeReader(body, w),
			func(h tokenstore.BackupHeader) error { header = h; return nil },
			func(tokenstore.BackupRow) error { return nil })
		return errors.Join(ctx.Err(), err)
	})
	if err != nil {
		return fmt.Errorf("no backup was written: %w", err)
	}
	_, err = fmt.Fprintf(report, "%d rows of schema %d are in %s; %s\n", rows, header.Schema, file, opensWith(header.Keys))
	return err
}

// opensWith names the keys that a backup needs.
func opensWith(fingerprints []string) string {
	if len(fingerprints) == 0 {
		return "nothing in it is sealed"
	}
	return "it opens with the encryption key " + strings.Join(fingerprints, ", ")
}

const restoreLong = `
Fills an empty database with a backup: all of it, or nothing. No instance may run
on it. A backup of SQLite can be restored into MySQL, and the other way round. A
backup of an older version is migrated by the next start.

The database is what --storage says, in the words of the Caddyfile: sqlite, with a
path unless it is Caddy's own tokens.db; or mysql, with {env.NAME} or
{file./path} unless MYSQL_HOST, MYSQL_PORT, MYSQL_USERNAME, MYSQL_PASSWORD and
MYSQL_DATABASE say it.

With --encryption-key-file, every row is opened once, and a wrong key or a
damaged row is named; nothing is restored then. Without, the first start finds
them. The key itself is not restored: put tokens.key beside the SQLite database,
or the key into encryption_key.

Exit status: 0 if all of it was restored, 1 if nothing was.`

// restoreFlags are the flags of tokens restore.
type restoreFlags struct {
	file, storage, keyFile string
}

// restoreCommand is `caddy tokens restore`.
func restoreCommand() *cobra.Command {
	f := new(restoreFlags)
	cmd := &cobra.Command{
		Use:   "restore --file FILE",
		Short: "Fills an empty database with a backup",
		Long:  restoreLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "the backup")
	flags.StringVar(&f.storage, "storage", storageSQLite, "the database, as in the Caddyfile: 'sqlite <path>' or 'mysql {file./path}'")
	flags.StringVar(&f.keyFile, "encryption-key-file", "", "a file that holds the encryption keys, to verify each row with")
	return cmd
}

func (f *restoreFlags) run(cmd *cobra.Command) error {
	if f.file == "" {
		return errors.New("--file is missing: name a backup")
	}
	keys, err := f.keys()
	if err != nil {
		return fmt.Errorf("--encryption-key-file: %w", err)
	}
	store, err := f.store(keys)
	if err != nil {
		return fmt.Errorf("--storage: %w", err)
	}
	file, err := os.Open(f.file)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer func() { _ = file.Close() }()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done, err := store.Restore(ctx, file, keys != nil)
	if err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	verified := "none was opened"
	if done.Verified > 0 {
		verified = fmt.Sprintf("all %d with a seal were opened", done.Verified)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d rows of schema %d were restored, %s; %s\n", done.Rows, done.Schema, verified, opensWith(done.Keys))
	return err
}

// keys are those of the file, one a line; nil where none is named.
func (f *restoreFlags) keys() (*tokenstore.Keyring, error) {
	if f.keyFile == "" {
		return nil, nil
	}
	path, err := filepath.Abs(f.keyFile)
	if err != nil {
		return nil, err
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var keys []realm.Hidden
	for word := range strings.FieldsSeq(text) {
		keys = append(keys, realm.Hidden(word))
	}
	return tokenstore.NewKeyring(keys...)
}

// store is the database that --storage names.
func (f *restoreFlags) store(keys *tokenstore.Keyring) (*sqlstore.Store, error) {
	kind, where, _ := strings.Cut(strings.TrimSpace(f.storage), " ")
	where = strings.TrimSpace(where)
	if kind == storageEdge {
		return nil, errors.New("an edge has no database; back up and restore that of the instance that it takes its tokens from")
	}
	c := &Storage{Type: kind, Path: where}
	if kind == storageMySQL {
		c = &Storage{Type: kind, DSN: where}
		if where != "" && isLiteral(where) {
			return nil, errors.New("other users of the machine can read a dsn in the command line: write mysql {file./path}, or mysql {env.NAME}")
		}
	}
	var s storeSettings
	if err := s.storage(c); err != nil {
		return nil, err
	}
	if s.dsn == "" {
		return sqlstore.SQLite(s.path, keys), nil
	}
	shared, err := sqlstore.MySQL(s.dsn, keys, sqlstore.WithLogger(zap.NewNop()))
	if err != nil {
		return nil, err
	}
	return shared.Store, nil
}
