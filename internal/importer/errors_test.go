package importer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/apiclient"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// closed is an address that nobody listens on. One that was free a moment ago
// may be somebody's by now; this one the kernel gives to nobody.
const closed = "127.0.0.1:1"

// Whatever is wrong with the database is said in words, and without its
// password.
func TestDatabaseErrors(t *testing.T) {
	o, i := newOld(t), newInstance(t)
	o.exec("CREATE TABLE a (id INT PRIMARY KEY, taxpayer_id INT, company_name INT); CREATE TABLE b LIKE a; CREATE TABLE keyless (account_type INT, account INT, password INT)")
	dsn := o.DSN()
	for _, c := range []struct {
		dsn     string
		table   string
		is      error
		message string
	}{
		{"", "", ErrDatabase, "the DSN names no database"},
		{canary + "@" + canary, "", ErrDatabase, "the DSN is not of the form user:password@tcp(host:3306)/database"},
		{o.DSNVia(closed), "", ErrDatabase, "nothing answers there: connect: connection refused"},
		{strings.Replace(dsn, testserver.Password, canary, 1), "", ErrDatabase, "it refuses the user or the password"},
		{strings.Replace(dsn, "/test_", "/test_none_", 1), "", ErrDatabase, "it has no database of this name"},
		{strings.Replace(dsn, "/test_", "/other_", 1), "", ErrDatabase, "needs the right to SELECT"},
		{dsn, "", ErrNoTables, "keyless has no primary key"},
		{dsn, "nope", ErrNoTables, "--account-table nope: there is no such table with the columns account_type, account, password"},
	} {
		out := o.run(t.Context(), i, func(opts *Options) { opts.DSN, opts.AccountTable = realm.Hidden(c.dsn), c.table })
		if !errors.Is(out.err, c.is) || !strings.Contains(out.Stopped, c.message) {
			t.Errorf("want %q: got %v", c.message, out.err)
		}
	}
	o.exec("DROP TABLE keyless")
	if out := o.run(t.Context(), i, nil); !errors.Is(out.err, ErrNoTables) || !strings.Contains(out.Stopped, "the tables a, b look alike: say which one with --company-table") {
		t.Errorf("two tables: %v", out.err)
	}
	o.exec("DROP TABLE a, b")
	if out := o.run(t.Context(), i, nil); !errors.Is(out.err, ErrNoTables) || !strings.Contains(out.Stopped, "has neither the tables realm and secret nor one with the columns account_type, account, password or taxpayer_id, company_name") {
		t.Errorf("no tables: %v", out.err)
	}
	o.exec("CREATE TABLE secret (`key` VARCHAR(64), realm VARCHAR(64), token TEXT, expires_at VARCHAR(20), PRIMARY KEY (`key`, realm))")
	if out := o.run(t.Context(), i, nil); out.err == nil || !strings.Contains(out.Stopped, "secret.expires_at: is of the type varchar: a time must be BIGINT (milliseconds or seconds), DATETIME or TIMESTAMP") {
		t.Errorf("expires_at: %v", out.err)
	}
	if i.postCount() != 0 {
		t.Errorf("%d posts", i.postCount())
	}
}

// Whatever is wrong with the API is said in words, before anything is sent to
// it that is confidential.
func TestAPIErrors(t *testing.T) {
	o, i := newCache(t, 1), newInstance(t)
	var status atomic.Int64
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Errorf("%s got a post", r.URL)
		}
		w.Header().Set("Location", i.url+r.URL.Path)
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte(`{"detail": "` + canary + `"}`))
	}))
	t.Cleanup(foreign.Close)
	for _, c := range []struct {
		api     string
		status  int64
		is      error
		message string
	}{
		{"localhost:8081", 0, nil, "the address of the API (--api or TOKENS_API) has no scheme: write http://localhost:8081"},
		{"http://user:" + canary + "@localhost", 0, nil, "no user, no password"},
		{"http://" + closed, 0, apiclient.ErrUnreachable, "start it (caddy run, with token_admin in a site), or name its address with --api"},
		{foreign.URL, 200, apiclient.ErrNotAPI, "status 200"},
		{foreign.URL, 302, apiclient.ErrNotAPI, "status 302"},
		{foreign.URL, 404, apiclient.ErrNotAPI, "status 404"},
		{foreign.URL, 401, apiclient.ErrForbidden, "status 401"},
		{foreign.URL, 403, apiclient.ErrForbidden, "give it token_admin's admin_token in TOKENS_API_TOKEN or --api-token-file"},
	} {
		status.Store(c.status)
		out := o.run(t.Context(), i, func(opts *Options) { opts.API.Base = c.api })
		if out.err == nil || c.is != nil && !errors.Is(out.err, c.is) || !strings.Contains(out.Stopped, c.message) {
			t.Errorf("want %q: got %v", c.message, out.err)
		}
		if u := new(url.Error); errors.As(out.err, &u) {
			t.Errorf("the error holds a *url.Error: %v", u)
		}
	}
}

// As many requests as --parallel says are under way at once, and no more.
func TestParallel(t *testing.T) {
	const parallel = 3
	o, i := newCache(t, 40), newInstance(t)
	var under atomic.Int64
	all := make(chan struct{})
	i.meanwhile(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, secretCollection) {
			return false
		}
		n := under.Add(1)
		defer under.Add(-1)
		if n > parallel {
			t.Errorf("%d at once", n)
		}
		if n == parallel {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		select {
		case <-all:
		case <-time.After(time.Minute):
			t.Error("they come one after another")
		}
		return false
	})
	tallied(t, o.must(i, func(opts *Options) { opts.Parallel = parallel }).Secrets, 40, 0, 0, 0)
}

// The admin token goes with every request, and nowhere else.
func TestAdminToken(t *testing.T) {
	o, i := newCache(t, 3), newInstance(t)
	i.meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer "+canary+"-admin" {
			return false
		}
		problem.New(http.StatusForbidden, realm.CodeForbidden, "no").Write(w)
		return true
	})
	if out := o.run(t.Context(), i, nil); !errors.Is(out.err, apiclient.ErrForbidden) {
		t.Errorf("without: %v", out.err)
	}
	tallied(t, o.must(i, func(opts *Options) { opts.API.Token = canary + "-admin" }).Secrets, 3, 0, 0, 0)
}

// So do the user and the password of a basic_auth in front of the API.
func TestBasicAuth(t *testing.T) {
	o, i := newCache(t, 3), newInstance(t)
	i.meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		if user == "操作员" && password == canary+":x" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	basic := func(opts *Options) { opts.API.User, opts.API.Password = "操作员", canary+":x" }
	tallied(t, o.must(i, basic).Secrets, 3, 0, 0, 0)
	for want, change := range map[string]func(*Options){
		"TOKENS_API_USER and TOKENS_API_PASSWORD": func(opts *Options) { opts.API.User, opts.API.Password = "操作员", canary },
		"not both":     func(opts *Options) { basic(opts); opts.API.Token = canary },
		"has no colon": func(opts *Options) { opts.API.User = canary + ":" },
	} {
		if out := o.run(t.Context(), i, change); out.err == nil || !strings.Contains(out.Stopped, want) {
			t.Errorf("want %q: %v", want, out.err)
		}
	}
}

// An API that is away for a moment is waited for as long as it says; one that
// stays away ends the run, which can be repeated.
func TestUnavailable(t *testing.T) {
	o, i := newCache(t, 20), newInstance(t)
	var away atomic.Int64
	i.meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || away.Add(-1) < 0 {
			return false
		}
		d := problem.New(http.StatusServiceUnavailable, realm.CodeUnavailable, "the database cannot be used now")
		d.RetryAfter = 7 * time.Second
		d.Write(w)
		return true
	})
	waits := make(chan time.Duration, 100)
	one := func(opts *Options) {
		opts.Parallel = 1
		opts.wait = func(_ context.Context, d time.Duration) error { waits <- d; return nil }
	}
	away.Store(1000)
	out := o.run(t.Context(), i, one)
	if !errors.Is(out.err, apiclient.ErrUnreachable) || !strings.Contains(out.Stopped, "status 503 after 5 tries") || len(waits) != tries-1 {
		t.Errorf("%d waits: %v", len(waits), out.err)
	}
	away.Store(3)
	out = o.must(i, one)
	tallied(t, out.Realms, 2, 0, 0, 0)
	tallied(t, out.Secrets, 20, 0, 0, 0)
	if len(waits) != tries-1+3 || <-waits != 7*time.Second {
		t.Errorf("%d waits", len(waits))
	}
	if !strings.Contains(out.progress, "the API is not available; next try in 7s") {
		t.Errorf("progress: %s", out.progress)
	}
}

// Requests and answers that are lost on the way are sent and asked for again.
func TestBrokenConnections(t *testing.T) {
	o, i := newCache(t, 20), newInstance(t)
	var n atomic.Int64
	i.meanwhile(func(_ http.ResponseWriter, r *http.Request) bool {
		switch n.Add(1) % 6 {
		case 3: // before it was done
			panic(http.ErrAbortHandler)
		case 5: // after it was done
			i.api.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		return false
	})
	o.must(i, nil)
	i.meanwhile(nil)
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 2, 0)
	tallied(t, out.Secrets, 0, 0, 20, 0)
}

// Where the answer to a secret is lost, its tokens may be in use by the time
// that it is asked again: they are not sent twice.
func TestLostAnswer(t *testing.T) {
	o, i := newAccounts(t, 2), newInstance(t)
	complete(t, i)
	renewed := realm.Hidden("renewed")
	i.meanwhile(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.URL.Path != secretCollection {
			return false
		}
		i.meanwhile(nil)
		i.api.ServeHTTP(httptest.NewRecorder(), r)
		if _, err := i.view.Catalog().SaveSecret(r.Context(), catalog.SecretUpdate{Ref: realm.Ref{Realm: "jd", Key: "acc1"}, RefreshToken: &renewed}); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	out := o.must(i, func(opts *Options) { opts.Parallel = 1 })
	tallied(t, out.Accounts, 2, 0, 0, 0)
	if got := i.imported("jd", "acc1"); got.refresh != "renewed" || out.Accounts.Tokens != 2 {
		t.Errorf("%d tokens; %v", out.Accounts.Tokens, got)
	}
}

// A database that goes away ends the run, and the next one goes on.
func TestDatabaseGoesAway(t *testing.T) {
	o, i := newCache(t, 300), newInstance(t)
	i.meanwhile(func(http.ResponseWriter, *http.Request) bool {
		if i.postCount() == 50 {
			rows := "SELECT GROUP_CONCAT('KILL ', id SEPARATOR ';') FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()"
			var kill string
			if o.db.QueryRow(rows, o.Schema()).Scan(&kill) == nil {
				_, _ = o.db.Exec(kill)
			}
		}
		return false
	})
	if out := o.run(t.Context(), i, nil); !errors.Is(out.err, ErrDatabase) || !strings.Contains(out.Stopped, "run it again to go on") {
		t.Errorf("without its database: %v", out.err)
	}
	i.meanwhile(nil)
	o.must(i, nil)
	tallied(t, o.must(i, nil).Secrets, 0, 0, 300, 0)
}

// A failure of one row is told with the API's own words, and the others go on.
func TestRefusedRows(t *testing.T) {
	o, i := newCache(t, 4), newInstance(t)
	var n atomic.Int64
	i.meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != secretCollection {
			return false
		}
		switch n.Add(1) {
		case 1:
			problem.New(http.StatusConflict, realm.CodeReadOnly, "defined in the Caddyfile").Write(w)
		case 2:
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(canary))
		default:
			return false
		}
		return true
	})
	out := o.must(i, func(opts *Options) { opts.Parallel = 1 })
	tallied(t, out.Secrets, 2, 0, 0, 2)
	for _, want := range []string{
		`failed: secret "wxgzh" "k1": defined in the Caddyfile`, `failed: secret "__proto__" "k1": the API answered with status 502 and no reason`,
	} {
		if !strings.Contains(out.printed, want) {
			t.Errorf("the report does not say %q: %s", want, out.printed)
		}
	}
	if out.Failed() != 2 {
		t.Errorf("%d failed", out.Failed())
	}
}

// What a database holds may come back in the words of the API. It does nothing
// to the terminal that the report is read on, nor adds lines to it.
func TestReportOnATerminal(t *testing.T) {
	o, i := newOld(t, cacheTables), newInstance(t)
	o.exec("INSERT INTO realm (id, config) VALUES ('wxgzh', ?)", strings.Replace(wxgzh, "$key_1", `{secret.\u001b[2J\nfailed: \u202e}`, 1))
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 0, 1)
	out.says(t, `failed: realm "wxgzh": config.arguments[0].value: {secret.\x1b[2J\nfailed: \u202e} does not name a field`+"\n")
	var text strings.Builder
	r := Report{
		Notes:   []Note{{Subject{Kind: "account", Realm: "jd", ID: "京东 a"}, "\x1b]0;x\a京东\u009b"}},
		Stopped: "\x1b[31m\r\nno\xff",
	}
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `note: account "jd" "京东 a": \x1b]0;x\a京东\u009b` + "\n" + `stopped: \x1b[31m\r\nno�` + "\n"
	if text.String() != want {
		t.Errorf("got %q", text.String())
	}
}

// Only the API itself can say that something does not exist yet: a 404 of what
// stands in front of it does not.
func TestForeignNotFound(t *testing.T) {
	o, i := newCache(t, 1), newInstance(t)
	i.meanwhile(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && r.URL.Path != "/api/status" {
			http.NotFound(w, r)
			return true
		}
		return false
	})
	out := o.must(i, nil)
	tallied(t, out.Realms, 0, 0, 0, 2)
	tallied(t, out.Secrets, 0, 0, 0, 1)
	out.says(t, "the API answered with status 404 and no reason")
	if i.postCount() != 0 {
		t.Errorf("%d posts", i.postCount())
	}
}

// While rows are slow, progress is told by the clock.
func TestProgress(t *testing.T) {
	o, i := newCache(t, 3), newInstance(t)
	now := time.Now()
	out := o.must(i, func(opts *Options) {
		opts.Parallel = 1
		opts.now = func() time.Time { now = now.Add(600 * time.Millisecond); return now }
	})
	for _, want := range []string{"secrets: 1 created, 0 unchanged", "secrets: 3 created, 0 unchanged"} {
		if !strings.Contains(out.progress, want) {
			t.Errorf("progress lacks %q: %s", want, out.progress)
		}
	}
}

// The snapshot cannot be written to, and does not see what comes later.
func TestSnapshot(t *testing.T) {
	o := newCache(t, 2)
	s, err := openSource(t.Context(), realm.Hidden(o.DSN()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.conn.ExecContext(t.Context(), "DELETE FROM secret"); err == nil || !strings.Contains(err.Error(), "READ ONLY") {
		t.Errorf("a write: %v", err)
	}
	o.exec("DELETE FROM secret")
	found, err := s.find(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := s.page(t.Context(), selection{table: found.secret, columns: []string{"key"}}, nil, 10)
	if err != nil || len(rows) != 2 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestInstant(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind, text string
		want       time.Time
		wrong      bool
	}{
		{"bigint", "1700000000123", time.UnixMilli(1700000000123), false},
		{"bigint", "1700000000", time.Unix(1700000000, 0), false}, // read as milliseconds it would be 1970, and the token lost
		{"int", "1700000000", time.Unix(1700000000, 0), false},
		{"bigint", "99999999999", time.Unix(99999999999, 0), false},
		{"bigint", "100000000000", time.UnixMilli(100000000000), false},
		{"decimal", "1700000000123", time.UnixMilli(1700000000123), false},
		{"bigint", "-1", time.Unix(-1, 0), false},
		{"bigint", "0", time.Time{}, false},
		{"bigint", "", time.Time{}, false},
		{"bigint", "1.5", time.Time{}, true},
		{"datetime", "2026-11-22 20:00:00", time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), false},
		{"datetime", "2026-11-22 20:00:00.250000", time.Date(2026, 11, 22, 12, 0, 0, 250e6, time.UTC), false},
		{"timestamp", "2026-11-22 12:00:00", time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), false},
		{"datetime", "0000-00-00 00:00:00", time.Time{}, false},
		{"datetime", "soon", time.Time{}, true},
		{"varchar", "", time.Time{}, true},
	} {
		got, err := column{kind: c.kind}.instant(c.text, shanghai)
		if !got.Equal(c.want) || (err != nil) != c.wrong {
			t.Errorf("%s %q: %v, %v", c.kind, c.text, got, err)
		}
	}
}
