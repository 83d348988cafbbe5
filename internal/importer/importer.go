// Package importer copies what the two earlier services kept in MySQL into
// this product: the token cache service's realms and secrets, the account
// service's accounts and companies.
//
// It only reads the old tables, in one snapshot, and writes through the HTTP
// API, so that everything is validated, sealed and made known to every node
// like what anybody else posts. What exists already is left alone: the product
// has renewed tokens since, and somebody may have edited a realm. So a run can
// be repeated, and one that was interrupted goes on where it ended.
package importer

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Options of a run.
type Options struct {
	// DSN of the database with the old tables, as the MySQL driver writes it:
	// user:password@tcp(host:3306)/schema.
	DSN realm.Hidden
	// API is where the instance is, and what its API is shown.
	API apiclient.Options
	// CompanyTable and AccountTable name the account service's tables. Empty:
	// they are found by their columns.
	CompanyTable string
	AccountTable string
	// Zone is what DATETIME columns are in. Nil: UTC.
	Zone *time.Location
	// Presets are the presets of the realms that are made for account types
	// which have none: {"jd": "jd_vop"}.
	Presets map[string]string
	// Overwrite writes realms, fields of secrets and companies that exist
	// already once more, where they may differ. Realms of account types are
	// never overwritten.
	Overwrite bool
	// OverwriteTokens also writes the tokens of secrets that exist already. The
	// tokens that the product has got since are lost.
	OverwriteTokens bool
	// DryRun writes nothing.
	DryRun bool
	// Parallel is how many requests are sent to the API at once; 4 by default.
	Parallel int
	// Progress gets a line now and then. Nil: none.
	Progress io.Writer

	// For tests: rows that are read at once, and the clock.
	pageSize int
	now      func() time.Time
	wait     func(ctx context.Context, d time.Duration) error
}

func (o *Options) setDefaults() {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Parallel < 1 {
		o.Parallel = 4
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.pageSize == 0 {
		o.pageSize = 500
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.wait == nil {
		o.wait = sleep
	}
}

// run is one run.
type run struct {
	Options
	api    *api
	source *source
	tables tables
	report *Report
	ledger ledger

	// noRealm says why the accounts of a realm cannot be imported.
	noRealm map[string]error
	// known are the realms that exist, or would after a dry run.
	known sync.Map
	// seen are the subjects of tables in which one may stand twice.
	seen sync.Map
}

// Run imports. The report is there even with an error, and says what was done
// before it. Rows that cannot be imported are no error but failures in the
// report; an error means that the run could not begin or go on. Nothing
// confidential is in either.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.setDefaults()
	r := &run{Options: o, report: &Report{DryRun: o.DryRun}, noRealm: map[string]error{}}
	r.ledger = ledger{out: o.Progress, now: o.now, report: r.report}
	err := r.all(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w; run it again to go on", context.Cause(ctx))
	}
	if err != nil {
		r.report.Stopped = err.Error()
	}
	return r.report, err
}

func (r *run) all(ctx context.Context) (err error) {
	if r.api, err = newAPI(r.Options); err != nil {
		return err
	}
	defer r.api.close()
	if r.source, err = openSource(ctx, r.DSN); err != nil {
		return err
	}
	defer r.source.close()
	if r.tables, err = r.source.find(ctx, r.CompanyTable, r.AccountTable); err != nil {
		return err
	}
	if err := r.api.probe(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.realms, r.secrets, r.accounts, r.companies} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%w (what was imported stays; run it again to go on)", err)
		}
	}
	return nil
}

// item is one thing to import.
type item struct {
	subject Subject
	// path is where the API shows it, and collection where it is posted to.
	path, collection string
	create           document
	// tokens go with create, and with update where updateTokens says so.
	tokens document
	// update is posted where it exists already; nil: it is left alone.
	update       document
	updateTokens bool
	// differs compares what the API shows with the old table; nil: that
	// cannot be told, because what is shown is masked.
	differs func(shown []byte) bool
}

// importItem imports one item. It returns what became of it, and how many
// access tokens came along.
func (r *run) importItem(ctx context.Context, it item) (tokens int, what outcome, err error) {
	shown, found, err := r.api.get(ctx, it.path)
	if err != nil {
		return 0, failed, err
	}
	switch {
	case !found:
		tokens, err = r.write(ctx, it, it.create, it.path)
		return tokens, created, err
	case it.differs != nil && !it.differs(shown):
		return 0, unchanged, nil
	case it.update != nil && it.updateTokens:
		tokens, err = r.write(ctx, it, it.update, "")
		return tokens, updated, err
	case it.update != nil:
		return 0, updated, r.post(ctx, it.collection, it.update, "")
	case it.differs != nil:
		r.ledger.note(it.subject, "exists already and differs from the old table; it was left alone")
	}
	return 0, unchanged, nil
}

// post is api.post, but for a dry run.
func (r *run) post(ctx context.Context, collection string, d document, created string) error {
	if r.DryRun {
		return nil
	}
	return r.api.post(ctx, collection, d, created)
}

// sleep waits, or returns the error of a context that ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
