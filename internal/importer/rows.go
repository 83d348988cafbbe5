package importer

import (
	"context"
	"database/sql"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// selection says what is read of a table.
type selection struct {
	table   *table
	columns []string
	// found are values that are looked up elsewhere for each row.
	found []lookup
}

// lookup is a subquery; the row of the outer table is called t in it.
type lookup struct {
	as   string
	sql  string
	args []any
}

// row is one row. What was NULL is absent.
type row struct {
	key    []any
	values map[string]realm.Hidden
}

// hidden is a confidential value, "" for NULL.
func (r row) hidden(name string) realm.Hidden { return r.values[name] }

// text is a value that is not confidential, "" for NULL.
func (r row) text(name string) string { return r.values[name].Reveal() }

func rowText(name string) func(row) string { return func(r row) string { return r.text(name) } }

// maxValue bounds what is read of one column, in bytes: what a field may hold.
const maxValue = 64 << 10

// check finds a value that could not be stored as it is.
func (r row) check(exempt ...string) error {
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		switch value := r.values[name]; {
		case !utf8.ValidString(value.Reveal()):
			return realm.Fieldf(name, "is not UTF-8 text")
		case len(value) > maxValue && !slices.Contains(exempt, name):
			return realm.Fieldf(name, "is longer than 64 KiB")
		}
	}
	return nil
}

// query is the statement for the rows behind a key; nil: from the start.
func (s selection) query(after []any, limit int) (string, []any) {
	var args []any
	list := make([]string, 0, len(s.columns)+len(s.found)+len(s.table.key))
	for _, c := range s.columns {
		list = append(list, "t."+quote(c))
	}
	for _, l := range s.found {
		list, args = append(list, "("+l.sql+")"), append(args, l.args...)
	}
	for _, k := range s.table.key {
		list = append(list, "t."+quote(k))
	}
	keys := list[len(s.columns)+len(s.found):]
	q := "SELECT " + strings.Join(list, ", ") + " FROM " + quote(s.table.name) + " t"
	if after != nil {
		where, more := afterKey(keys, after)
		q, args = q+" WHERE "+where, append(args, more...)
	}
	return q + " ORDER BY " + strings.Join(keys, ", ") + " LIMIT ?", append(args, limit)
}

// afterKey is the condition of a key that comes after another one. Spelled out,
// it is read from the index; (a, b) > (?, ?) is not.
func afterKey(keys []string, after []any) (string, []any) {
	cond, args := keys[0]+" > ?", []any{after[0]}
	if len(keys) == 1 {
		return cond, args
	}
	rest, more := afterKey(keys[1:], after[1:])
	return "(" + cond + " OR (" + keys[0] + " = ? AND " + rest + "))", append(append(args, after[0]), more...)
}

// page reads the rows behind a key.
func (s *source) page(ctx context.Context, sel selection, after []any, limit int) (page []row, err error) {
	query, args := sel.query(after, limit)
	names := append(slices.Clone(sel.columns), make([]string, 0, len(sel.found))...)
	for _, l := range sel.found {
		names = append(names, l.as)
	}
	err = s.query(ctx, "read "+sel.table.name, query, func(scan func(...any) error) error {
		values, key := make([]sql.NullString, len(names)), make([]any, len(sel.table.key))
		dest := make([]any, 0, len(values)+len(key))
		for i := range values {
			dest = append(dest, &values[i])
		}
		for i := range key {
			dest = append(dest, &key[i])
		}
		if err := scan(dest...); err != nil {
			return err
		}
		page = append(page, newRow(names, values, key))
		return nil
	}, args...)
	return page, err
}

func newRow(names []string, values []sql.NullString, key []any) row {
	r := row{key: key, values: map[string]realm.Hidden{}}
	for i, name := range names {
		if values[i].Valid {
			r.values[name] = realm.Hidden(values[i].String)
		}
	}
	for i, part := range key {
		if text, ok := part.([]byte); ok {
			r.key[i] = string(text)
		}
	}
	return r
}

// each hands every row of a table to do, several at once. Rows of one id are
// handed out one after another, in the table's order. It ends with the first
// error that do returns.
func (r *run) each(ctx context.Context, sel selection, id func(row) string, do func(context.Context, row) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var after []any
	for {
		page, err := r.source.page(ctx, sel, after, r.pageSize)
		if err != nil {
			return err
		}
		shards := make([][]row, r.Parallel)
		for _, line := range page {
			n := shard(id(line), r.Parallel)
			shards[n] = append(shards[n], line)
		}
		var wg sync.WaitGroup
		for _, lines := range shards {
			wg.Go(func() {
				for _, line := range lines {
					if ctx.Err() != nil {
						return
					}
					if err := do(ctx, line); err != nil {
						cancel(err)
					}
				}
			})
		}
		wg.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if len(page) < r.pageSize {
			return nil
		}
		after = page[len(page)-1].key
	}
}

func shard(id string, of int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(of))
}

// quote writes an identifier.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// same compares a value with a column as the column itself compares: most old
// tables do not tell letters in lower case from those in upper case. exact
// orders those first that are equal to the byte.
func (c column) same(col, value string) (cond, exact string) {
	if c.charset == "" {
		return col + " = " + value, "1"
	}
	value = "CONVERT(" + value + " USING " + c.charset + ")"
	return col + " = " + value + " COLLATE " + c.collation, "CAST(" + col + " AS BINARY) = CAST(" + value + " AS BINARY) DESC"
}
