package broker

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestOldTokenPutBack: the seal of an old token is as good as that of a new
// one. A node that has seen the newer lineage notices that the row was put back.
func TestOldTokenPutBack(t *testing.T) {
	path, c := filepath.Join(t.TempDir(), "tokens.db"), newClock()
	n := nodeOn(t, newStore(t, path, c), newProvider(t), c)
	core, logs := observer.New(zap.ErrorLevel)
	n.pool.log = zap.New(core)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	if _, err := n.Token(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	execute := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	execute("CREATE TABLE copied AS SELECT * FROM tokens_tokens")
	if _, err := n.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	if logs.Len() != 0 {
		t.Fatalf("before: %v", logs.All())
	}
	execute("REPLACE INTO tokens_tokens SELECT * FROM copied")
	if _, err := n.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	lines := logs.FilterMessageSnippet("an old row was put back").All()
	if len(lines) == 0 || lines[0].ContextMap()["lineage"] != int64(2) || lines[0].ContextMap()["stored"] != int64(1) {
		t.Errorf("the log says %v", logs.All())
	}
}
