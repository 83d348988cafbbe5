package sqlstore

import (
	"context"
	"iter"
	"slices"
	"strings"
)

// statementBytes bounds the rows of one statement unless it has only one. Servers take
// 4 MiB or more in a packet (max_allowed_packet), and bytes that are escaped need
// twice as many.
const statementBytes = 1 << 20

// rowTable is a table of which several rows are written at a time. The columns
// of its primary key are the first ones.
type rowTable struct {
	name    string
	keys    int
	columns []string
}

var (
	budgetTable = rowTable{"tokens_budgets", 1, []string{"realm", "state", "seal", "key_id", "version"}}
	claimTable  = rowTable{"tokens_claims", 2, []string{"realm", "ref_key", "state", "deadline", "seal", "key_id", "version"}}
	tokenTable  = rowTable{"tokens_tokens", 2, []string{"realm", "ref_key", "lineage", "seal", "key_id", "issued_at", "expires_at", "refresh_expires_at"}}
)

// put writes rows in the order of the table's columns. Either all are new, or the
// transaction holds all of them.
func (t rowTable) put(ctx context.Context, x execer, d dialect, areNew bool, rows [][]any) error {
	for part := range statements(rows, d.rowsAtOnce()) {
		query := "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ") VALUES " + rowMarks(len(part), len(t.columns))
		if !areNew {
			query += d.overwrite(t.columns[:t.keys], t.columns[t.keys:])
		}
		if _, err := x.ExecContext(ctx, query, slices.Concat(part...)...); err != nil {
			return err
		}
	}
	return nil
}

// statements are rows in parts that one statement each can take.
func statements(rows [][]any, most int) iter.Seq[[][]any] {
	return func(yield func([][]any) bool) {
		for len(rows) > 0 {
			n, size := 1, rowBytes(rows[0])
			for n < min(most, len(rows)) && size+rowBytes(rows[n]) <= statementBytes {
				size += rowBytes(rows[n])
				n++
			}
			if !yield(rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

// rowBytes is about how many bytes a row has: those of its texts.
func rowBytes(row []any) (n int) {
	for _, cell := range row {
		switch v := cell.(type) {
		case []byte:
			n += len(v)
		case string:
			n += len(v)
		}
	}
	return n
}

// rowMarks are the placeholders of rows.
func rowMarks(rows, columns int) string {
	return strings.TrimSuffix(strings.Repeat("("+marks(columns)+"), ", rows), ", ")
}
