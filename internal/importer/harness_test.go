package importer

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	rights "github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// canary begins every confidential value of the old tables.
const canary = "canary-0815"

// instance is this product's API over a real broker with SQLite.
type instance struct {
	t     *testing.T
	url   string
	view  *broker.View
	api   http.Handler
	store tokenstore.Store
	clock *clock

	mu    sync.Mutex
	posts []string // paths, in order
	// before is called ahead of every request; true: it answered.
	before func(w http.ResponseWriter, r *http.Request) bool
}

// clock goes ahead of the real one by as much as tests say.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// newInstance is an instance that reaches no provider.
func newInstance(t *testing.T) *instance {
	t.Helper()
	return instanceWith(t, func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody is there") })
}

func instanceWith(t *testing.T, dial netguard.Dialer) *instance {
	t.Helper()
	keys, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{t: t, clock: &clock{}}
	i.store = sqlstore.SQLite(filepath.Join(t.TempDir(), "tokens.db"), keys, sqlstore.WithClock(i.clock.now))
	pool := broker.New(i.store, zap.NewNop(), i.clock.now)
	t.Cleanup(func() {
		if err := pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	if i.view, err = pool.View(broker.ViewConfig{Client: grant.NewClient(dial, i.clock.now)}); err != nil {
		t.Fatal(err)
	}
	clients, err := rights.NewRegistry(rights.RegistryConfig{}).View(rights.ViewConfig{})
	if err != nil {
		t.Fatal(err)
	}
	api := adminapi.New(i.view, i.view.Catalog(), adminapi.Options{Now: i.clock.now, Clients: clients})
	i.api = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(w, r.WithContext(adminapi.WithCaller(r.Context(), adminapi.Caller{Kind: adminapi.KindAdmin})))
	})
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	before := i.before
	if r.Method == http.MethodPost {
		i.posts = append(i.posts, r.URL.Path)
	}
	i.mu.Unlock()
	if before == nil || !before(w, r) {
		i.api.ServeHTTP(w, r)
	}
}

// meanwhile has something happen before each request from now on; true for one
// that has been answered. Requests of a run that was interrupted may still come.
func (i *instance) meanwhile(before func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.before = before
}

// must posts what has to be accepted.
func (i *instance) must(method, path, body string) {
	i.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if i.api.ServeHTTP(w, r); w.Code != http.StatusOK {
		i.t.Fatalf("%s %s: %s", method, path, w.Body)
	}
}

func (i *instance) postCount() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.posts)
}

// get reads a path of the API as JSON.
func (i *instance) get(path string) (int, map[string]any) {
	i.t.Helper()
	resp, err := http.Get(i.url + path)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, doc
}

// stored are the fields of a secret, as they lie in the store.
func (i *instance) stored(realmID, key string) map[string]string {
	i.t.Helper()
	info, err := i.view.Catalog().SecretInfo(i.t.Context(), realm.Ref{Realm: realmID, Key: key})
	if err != nil {
		i.t.Fatalf("%s/%s: %v", realmID, key, err)
	}
	fields := map[string]string{}
	for name, value := range info.Fields {
		fields[name] = value.Reveal()
	}
	return fields
}

// imported are the tokens of a secret, as they lie in the store, and their ends.
type imported struct {
	access, refresh       string
	accessEnd, refreshEnd int64 // milliseconds; 0 for none
}

func (i *instance) imported(realmID, key string) imported {
	i.t.Helper()
	token, _, err := i.store.Token(i.t.Context(), realm.Ref{Realm: realmID, Key: key})
	if err != nil && !errors.Is(err, tokenstore.ErrTokenNotFound) {
		i.t.Fatalf("%s/%s: %v", realmID, key, err)
	}
	return imported{token.Access.Reveal(), token.Refresh.Reveal(), millisOf(token.ExpiresAt), millisOf(token.RefreshExpiresAt)}
}

func millisOf(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

// old is a database of the earlier services.
type old struct {
	*testserver.MySQL
	t  *testing.T
	db *sql.DB
}

func newOld(t *testing.T, statements ...string) *old {
	t.Helper()
	o := &old{MySQL: testserver.MariaDB(t), t: t}
	var err error
	if o.db, err = sql.Open("mysql", o.DSN()+"?multiStatements=true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.db.Close() })
	for _, s := range statements {
		o.exec(s)
	}
	return o
}

func (o *old) exec(statement string, args ...any) {
	o.t.Helper()
	if _, err := o.db.ExecContext(o.t.Context(), statement, args...); err != nil {
		o.t.Fatalf("%s: %v", statement, err)
	}
}

// checksums are the server's own, of every table.
func (o *old) checksums(tables ...string) string {
	o.t.Helper()
	var all strings.Builder
	for _, name := range tables {
		var table, sum string
		if err := o.db.QueryRowContext(o.t.Context(), "CHECKSUM TABLE "+name+" EXTENDED").Scan(&table, &sum); err != nil {
			o.t.Fatal(err)
		}
		fmt.Fprintln(&all, table, sum)
	}
	return all.String()
}

// outcomes are a run's report and all that it printed.
type outcomes struct {
	*Report
	err      error
	progress string
	printed  string
}

// run imports, and searches all that was printed for the canaries.
func (o *old) run(ctx context.Context, i *instance, change func(*Options)) outcomes {
	o.t.Helper()
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		o.t.Fatal(err)
	}
	var progress bytes.Buffer
	opts := Options{
		DSN: realm.Hidden(o.DSN()), API: apiclient.Options{Base: i.url}, Zone: zone, Progress: &progress, pageSize: 99, // odd, so that pages end between secrets of one key

		Presets: map[string]string{"jd": "jd_vop", "sn": "suning"},
		now:     i.clock.now,
		wait:    func(context.Context, time.Duration) error { return nil },
	}
	if change != nil {
		change(&opts)
	}
	report, err := Run(ctx, opts)
	var text bytes.Buffer
	if e := errors.Join(report.WriteText(&text), report.WriteJSON(&text)); e != nil {
		o.t.Fatal(e)
	}
	printed := text.String() + progress.String() + fmt.Sprintf("%v %+v %#v", err, err, report)
	for _, secret := range []string{canary, testserver.Password} {
		if at := strings.Index(printed, secret); at >= 0 {
			o.t.Errorf("a secret was printed: %s", printed[max(0, at-200):at+20])
		}
	}
	return outcomes{report, err, progress.String(), text.String()}
}

// must is run, for one that has to go through.
func (o *old) must(i *instance, change func(*Options)) outcomes {
	o.t.Helper()
	out := o.run(o.t.Context(), i, change)
	if out.err != nil {
		o.t.Fatal(out.err)
	}
	return out
}

// says asserts that a report has these texts.
func (o outcomes) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(o.printed, want) {
			t.Errorf("the report does not say %q:\n%s", want, o.printed)
		}
	}
}

// tallied compares what a report counts.
func tallied(t *testing.T, got *Tally, created, updated, unchanged, failed int) {
	t.Helper()
	if got == nil || got.Created != created || got.Updated != updated || got.Unchanged != unchanged || got.Failed != failed {
		t.Errorf("want %d created, %d updated, %d unchanged, %d failed: got %+v", created, updated, unchanged, failed, got)
	}
}

var pageOne = tokenstore.Page{Number: 1, Size: 1}

// comment changes a realm as somebody would by hand.
func (i *instance) comment(id, text string) {
	i.t.Helper()
	_, err := i.view.Catalog().SaveRealm(i.t.Context(), id, func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Comment = text
		return r, nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// set changes a field of a secret as somebody would by hand.
func (i *instance) set(realmID, key, field string, value realm.Hidden) {
	i.t.Helper()
	_, err := i.view.Catalog().SaveSecret(i.t.Context(), catalog.SecretUpdate{
		Ref: realm.Ref{Realm: realmID, Key: key}, Fields: map[string]*realm.Hidden{field: &value},
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// remove deletes a secret as somebody would by hand.
func (i *instance) remove(realmID, key string) {
	i.t.Helper()
	if err := i.view.Catalog().DeleteSecret(i.t.Context(), realm.Ref{Realm: realmID, Key: key}); err != nil {
		i.t.Fatal(err)
	}
}
