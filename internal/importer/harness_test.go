package importer

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// canary begins every confidential value of the old tables.
const canary = "canary-0815"

// instance is this product's API over a real broker with SQLite. It keeps
// what was posted.
type instance struct {
	t    *testing.T
	url  string
	view *broker.View
	api  http.Handler

	mu        sync.Mutex
	posts     []string // paths, in order
	companies map[string]json.RawMessage
	refresh   map[realm.Ref]postedToken
	tokens    map[realm.Ref]postedToken // of preset realms
	// before is called ahead of every request; true: it answered.
	before func(w http.ResponseWriter, r *http.Request) bool
}

// postedToken is a token as it was posted.
type postedToken struct {
	token string
	end   int64
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	keys, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	pool := broker.New(sqlstore.SQLite(filepath.Join(t.TempDir(), "tokens.db"), keys), zap.NewNop(), nil)
	t.Cleanup(func() {
		if err := pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	nowhere := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody is there") }
	view, err := pool.View(broker.ViewConfig{Client: grant.NewClient(nowhere, nil)})
	if err != nil {
		t.Fatal(err)
	}
	i := &instance{
		t: t, view: view, api: adminapi.New(view, adminapi.Options{}),
		companies: map[string]json.RawMessage{}, refresh: map[realm.Ref]postedToken{}, tokens: map[realm.Ref]postedToken{},
	}
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
	if before != nil && before(w, r) {
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, companyCollection):
		i.company(w, r)
	case r.Method == http.MethodPost && r.URL.Path == secretCollection:
		i.secret(w, r)
	default:
		i.api.ServeHTTP(w, r)
	}
}

// secret takes off a secret what needs the presets: the tokens of their realms
// and refresh tokens. It holds them against the description of the API, and
// hands on the rest.
func (i *instance) secret(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		i.t.Error(err)
	}
	var shape struct {
		Realm, Key       string
		Token            string
		ExpiresAt        int64  `json:"expires_at"`
		RefreshToken     string `json:"refresh_token"`
		RefreshExpiresAt int64  `json:"refresh_expires_at"`
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &shape) != nil || json.Unmarshal(body, &all) != nil {
		i.t.Errorf("not the shape of a secret")
	}
	for _, pair := range [][2]string{{"token", "expires_at"}, {"refresh_token", "refresh_expires_at"}} {
		if all[pair[0]] == nil && all[pair[1]] != nil || string(all[pair[0]]) == `""` {
			i.t.Errorf("%s/%s: %s without %s", shape.Realm, shape.Key, pair[1], pair[0])
		}
	}
	ref := realm.Ref{Realm: shape.Realm, Key: shape.Key}
	i.mu.Lock()
	if shape.RefreshToken != "" {
		i.refresh[ref] = postedToken{shape.RefreshToken, shape.RefreshExpiresAt}
	}
	delete(all, "refresh_token")
	delete(all, "refresh_expires_at")
	if ref.Realm == "jd" || ref.Realm == "sn" {
		i.tokens[ref] = postedToken{shape.Token, shape.ExpiresAt}
		delete(all, "token")
		delete(all, "expires_at")
	}
	i.mu.Unlock()
	body, _ = json.Marshal(all)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	i.api.ServeHTTP(w, r)
}

// company keeps companies as the description of the API says.
func (i *instance) company(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if r.Method == http.MethodGet {
		id, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), companyCollection+"/"))
		if shown, ok := i.companies[id]; ok {
			_, _ = w.Write(shown)
			return
		}
		problem.New(http.StatusNotFound, "company_not_found", "company 不存在").Write(w)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var c struct {
		TaxpayerID string            `json:"taxpayer_id"`
		Name       string            `json:"company_name"`
		Phone      string            `json:"company_phone,omitempty"`
		Address    string            `json:"company_registered_address,omitempty"`
		Bank       string            `json:"bank_name,omitempty"`
		Account    string            `json:"bank_account,omitempty"`
		Accounts   map[string]string `json:"accounts,omitempty"`
	}
	if err := realm.Decode(body, "", &c); err != nil {
		problem.From(err).Write(w)
		return
	}
	i.companies[c.TaxpayerID], _ = json.Marshal(c)
	_, _ = w.Write(i.companies[c.TaxpayerID])
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
	info, err := i.view.Secret(i.t.Context(), realm.Ref{Realm: realmID, Key: key})
	if err != nil {
		i.t.Fatalf("%s/%s: %v", realmID, key, err)
	}
	fields := map[string]string{}
	for name, value := range info.Fields {
		fields[name] = value.Reveal()
	}
	return fields
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
		DSN: realm.Hidden(o.DSN()), API: i.url, Zone: zone, Progress: &progress, pageSize: 99, // odd, so that pages end between secrets of one key

		Presets: map[string]string{"jd": "jd_vop", "sn": "suning"},
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
	_, err := i.view.SaveRealm(i.t.Context(), id, func(r realm.Realm, _ bool) (realm.Realm, error) {
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
	_, err := i.view.SaveSecret(i.t.Context(), broker.SecretUpdate{
		Ref: realm.Ref{Realm: realmID, Key: key}, Fields: map[string]*realm.Hidden{field: &value},
	})
	if err != nil {
		i.t.Fatal(err)
	}
}
