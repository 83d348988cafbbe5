package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/caddy-tokens/caddy-tokens/internal/executable"
	"github.com/caddy-tokens/caddy-tokens/internal/importer"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "tokens",
		Usage: "COMMAND [flags]",
		Short: "Works with the realms, secrets, tokens and clients of a running instance",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Long = tokensLong
			cmd.AddCommand(
				statusCommand(), realmCommand(), secretCommand(), getCommand(), refreshCommand(), refreshAllCommand(), renewDueCommand(), authorizeCommand(),
				testCommand(), explainCommand(), clientCommand(), auditCommand(), presetsCommand(), consoleCommand(),
				keysCommand(), backupCommand(), restoreCommand(), exportAllCommand(), importCommand(new(importFlags)), completionCommand(), serveCommand(), versionCommand(),
			)
			nameProgram(cmd)
			explainUse(cmd)
		},
	})
}

// nameProgram puts the commands of the program that runs into the help of all
// verbs, which is written for Caddy.
func nameProgram(cmd *cobra.Command) {
	const written = "caddy tokens "
	cmd.Long = strings.ReplaceAll(cmd.Long, written, executable.Command(""))
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, written, executable.Command("")) })
	for _, verb := range cmd.Commands() {
		nameProgram(verb)
	}
}

const tokensLong = `
Works with a running instance, by its HTTP API: with the one on this machine unless
--api or TOKENS_API names another one.

A terminal gets tables and text, anything else JSON, and --json a terminal, too.
NO_COLOR and TERM=dumb switch colors off. Results go to standard output, questions,
warnings and errors to standard error.

Exit status: 0 if it went well, 1 for an error; what else there is, each command
says.

Environment: TOKENS_API, TOKENS_API_TOKEN, TOKENS_API_USER, TOKENS_API_PASSWORD,
NO_COLOR, TERM, XDG_DATA_HOME (where Caddy has its data).

Files, in Caddy's data directory: tokens.api (where the API of the running instance
is), tokens.admin (the admin token).`

const importLong = `
Reads the tables of the earlier token cache service (realm, secret) and of the
account service (companies and third-party accounts) from a MySQL database, and
posts what is in them to the API of a running instance. The old tables are only
read. What exists already is left alone, so the import can be repeated.

The database is, in this order: what the file of --dsn-file holds, what
TOKENS_IMPORT_DSN holds (both user:password@tcp(host:3306)/database), or what
MYSQL_HOST, MYSQL_PORT, MYSQL_USERNAME, MYSQL_PASSWORD and MYSQL_DATABASE say.

With --file, the document that caddy tokens export wrote is imported instead: what
is not there is created, what differs is updated, and what is the same is left alone.
Secrets have no values in it: the report lists those that need some.

A report goes to standard output.

Exit status: 0 if all rows were imported; 1 if one could not be, or if the import
could not be finished.
` + apiLong

// importFlags are the flags of tokens import.
type importFlags struct {
	importer.Options
	api     apiFlags
	dsnFile string
	zone    string
	presets map[string]string
	out     outputFlags
	// file is a document of tokens export, which is imported instead.
	file string
}

// defaultPresets are the account service's types. --preset adds to them.
var defaultPresets = map[string]string{"jd": "jd_vop", "sn": "suning"}

func importCommand(f *importFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Imports an export, or the databases of the earlier services",
		Long:  importLong,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	f.api.AddFlags(flags)
	flags.StringVar(&f.dsnFile, "dsn-file", "", "a file that holds the DSN of the old database (default: see above)")
	flags.StringVar(&f.CompanyTable, "company-table", "", "the table of companies (default: found by its columns)")
	flags.StringVar(&f.AccountTable, "account-table", "", "the table of third-party accounts (default: found by its columns)")
	flags.StringVar(&f.zone, "time-zone", "Asia/Shanghai", "the zone that DATETIME columns are in")
	flags.StringToStringVar(&f.presets, "preset", defaultPresets, "the presets of account types whose realms do not exist; adds to the default")
	flags.BoolVar(&f.Overwrite, "overwrite", false, "write what exists already once more, but for tokens")
	flags.BoolVar(&f.OverwriteTokens, "overwrite-tokens", false, "write tokens of secrets that exist already; newer ones are lost")
	flags.BoolVar(&f.DryRun, "dry-run", false, "read and check, and write nothing")
	flags.IntVar(&f.Parallel, "parallel", 4, "how many requests are sent at once, 1 to 32")
	flags.StringVar(&f.file, "file", "", "a document of caddy tokens export, in place of a database; - for standard input")
	f.out.AddFlags(flags)
	cmd.MarkFlagsMutuallyExclusive("file", "dsn-file")
	return cmd
}

func (f *importFlags) run(cmd *cobra.Command) error {
	if f.file != "" {
		return f.importFile(cmd)
	}
	if err := f.complete(cmd.ErrOrStderr()); err != nil {
		return err
	}
	f.Progress = cmd.ErrOrStderr()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, failed := importer.Run(ctx, f.Options)
	write := report.WriteText
	if f.out.of(cmd).json {
		write = report.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if n := report.Failed(); failed == nil && n > 0 {
		return fmt.Errorf("%d rows were not imported; the report says why", n)
	}
	return failed
}

// complete reads what is not on the command line.
func (f *importFlags) complete(warnings io.Writer) (err error) {
	if f.Parallel < 1 || f.Parallel > 32 {
		return errors.New("--parallel must be 1 to 32")
	}
	if f.Zone, err = time.LoadLocation(f.zone); err != nil {
		return fmt.Errorf("--time-zone: %q is not known", f.zone)
	}
	f.Presets = maps.Clone(defaultPresets)
	maps.Copy(f.Presets, f.presets)
	if err = f.api.complete(warnings); err != nil {
		return err
	}
	f.API = f.api.options
	if f.DSN, err = fromFile(f.dsnFile, "TOKENS_IMPORT_DSN"); err != nil {
		return fmt.Errorf("--dsn-file: %w", err)
	}
	if f.DSN != "" {
		return nil
	}
	config, err := mysqlFromEnvironment()
	if err != nil {
		return fmt.Errorf("no database to import from: give --dsn-file, TOKENS_IMPORT_DSN or MYSQL_*: %w", err)
	}
	f.DSN = realm.Hidden(config.FormatDSN())
	return nil
}
