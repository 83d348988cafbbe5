package adminapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// newKeyFileServer is an API over a database with a key file and one realm.
func newKeyFileServer(t *testing.T) (c caller, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens.db")
	pool := broker.New(sqlstore.SQLite(path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path))), zap.NewNop(), nil)
	t.Cleanup(func() {
		if err := pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	view, err := pool.View(broker.ViewConfig{Client: grant.NewClient(nowhere, nil)})
	if err != nil {
		t.Fatal(err)
	}
	c = caller{t, newLocal(view, view.Catalog(), Options{})}
	a := c.json(http.MethodPost, "/api/realm", `{"id": "wx", "config": {"url": "https://token.example.com/t", "token_path": "t", "shared": {"x": "canary-shared"}}}`)
	if a.status != http.StatusOK {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	return c, path
}

// A rotation answers with what each key is still needed for.
func TestRotateKeys(t *testing.T) {
	c, _ := newKeyFileServer(t)
	for range 2 {
		a := c.json(http.MethodPost, "/api/keys/rotate", "")
		var got rotation
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d: %s", a.status, a.body)
		}
		keys := got.Data.Keys
		if !got.Data.Generated || len(keys) != 2 || keys[0].State != tokenstore.KeySealing || keys[0].Rows == 0 || keys[1].State != tokenstore.KeyRemoved {
			t.Errorf("got %s", a.body)
		}
	}
	if a := c.get("/api/realm/wx"); a.status != http.StatusOK {
		t.Errorf("%d: %s", a.status, a.body)
	}
}

// A key file that cannot be written was an internal error, "a fault of the
// product". The answer says what the operator has to mend.
func TestRotateKeysWithoutFile(t *testing.T) {
	c, path := newKeyFileServer(t)
	if err := os.MkdirAll(filepath.Join(sqlstore.KeyFileBeside(path)+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.json(http.MethodPost, "/api/keys/rotate", "").refused(503, "store_unavailable", "")
}

// Told line by line, the progress comes first and the result last.
func TestRotateKeysByLines(t *testing.T) {
	c, _ := newKeyFileServer(t)
	a := c.send(http.MethodPost, "/api/keys/rotate", nil, "Accept", typeLines)
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	var first tokenstore.TableProgress
	var last tokenstore.Rotation
	if len(lines) < 2 || json.Unmarshal([]byte(lines[0]), &first) != nil || json.Unmarshal([]byte(lines[len(lines)-1]), &last) != nil {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	if first.Done != 1 || first.Total != 1 || !last.Generated || len(last.Keys) != 2 {
		t.Errorf("got %s", a.body)
	}
}

// The backup is whole, and shows no secret and no key.
func TestBackup(t *testing.T) {
	c, path := newKeyFileServer(t)
	a := c.get("/api/backup")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != typeLines {
		t.Fatalf("%d: %s", a.status, a.body)
	}
	restored := sqlstore.SQLite(filepath.Join(t.TempDir(), "tokens.db"), tokenstore.KeyFile(sqlstore.KeyFileBeside(path)))
	done, err := restored.Restore(t.Context(), strings.NewReader(a.body), true)
	if err != nil || done.Verified == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	key, err := os.ReadFile(sqlstore.KeyFileBeside(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"canary-shared", strings.TrimSpace(string(key))} {
		if strings.Contains(a.body, secret) {
			t.Errorf("%q is in the backup", secret)
		}
	}
	if a := c.send(http.MethodHead, "/api/backup", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %d", a.status)
	}
}

// What fails before the first line is a refusal; what fails behind it cuts the
// answer off, so that nobody takes it for the whole.
func TestBackupFails(t *testing.T) {
	p, c := newPuppet(t)
	p.backup = func(io.Writer) error { return p.err }
	p.err = errors.New("no backup")
	if a := c.get("/api/backup"); a.status != http.StatusInternalServerError || a.header.Get("Content-Type") == typeLines {
		t.Errorf("%d: %s", a.status, a.body)
	}
	p.backup = func(w io.Writer) error {
		_, err := io.WriteString(w, "{}\n")
		return errors.Join(err, p.err)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // a panic's value
			t.Errorf("got %v", v)
		}
	}()
	c.get("/api/backup")
}

// writeHook is called before each write of an answer.
type writeHook struct {
	*httptest.ResponseRecorder
	hook func()
}

func (w writeHook) Write(p []byte) (int, error) {
	w.hook()
	return w.ResponseRecorder.Write(p)
}

// A second backup at the same time is a conflict, and does the first no harm.
func TestBackupTwiceAtOnce(t *testing.T) {
	c, _ := newKeyFileServer(t)
	var second answer
	first := writeHook{httptest.NewRecorder(), sync.OnceFunc(func() { second = c.get("/api/backup") })}
	c.h.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/api/backup", nil))
	if second.status != http.StatusConflict || second.document()["code"] != "conflict" {
		t.Errorf("%d: %s", second.status, second.body)
	}
	_, err := tokenstore.ReadBackup(first.Body, func(tokenstore.BackupHeader) error { return nil }, func(tokenstore.BackupRow) error { return nil })
	if err != nil {
		t.Error(err)
	}
}
