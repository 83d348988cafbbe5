package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

func openMySQL(t *testing.T, dsn string) *sqlstore.Shared {
	t.Helper()
	s, err := sqlstore.MySQL(dsn, keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func plainMySQL(t *testing.T, m *testserver.MySQL) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", m.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestBadDSNIsNotQuoted(t *testing.T) {
	for _, dsn := range []string{
		"", testserver.Password, "u:" + testserver.Password + "@tcp(h", "u:" + testserver.Password + "@tcp(h:1)/",
		"u:" + testserver.Password + "@tcp(h:1)/db?x=%zz", "u:" + testserver.Password + "@tcp(h:1)/db?tls=unknown",
	} {
		_, err := sqlstore.MySQL(dsn, keyring(t))
		if err == nil || strings.Contains(err.Error(), testserver.Password) {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

// TestPasswordStaysInside: whatever goes wrong with a connection, the error
// does not show the DSN.
func TestPasswordStaysInside(t *testing.T) {
	m := testserver.MariaDB(t)
	for name, dsn := range map[string]string{
		"refused":        strings.Replace(m.DSN(), m.Addr(), "127.0.0.1:1", 1),
		"wrong user":     "no" + m.DSN(),
		"no such schema": m.DSN() + "_absent",
	} {
		s, err := sqlstore.MySQL(dsn, keyring(t))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Open(t.Context())
		if !errors.Is(err, tokenstore.ErrUnavailable) || strings.Contains(err.Error(), testserver.Password) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestForcedSettings: a DSN that asks for the opposite of what correctness
// needs changes nothing.
func TestForcedSettings(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN()+"?parseTime=false&loc=Asia%2FShanghai&sql_mode=%27%27&time_zone=%27%2B08:00%27&collation=latin1_swedish_ci&clientFoundRows=false&interpolateParams=false")
	issued := time.Date(2031, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	if _, err := storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: "a", IssuedAt: issued}, 0); err != nil {
		t.Fatal(err)
	}
	got, _, err := openMySQL(t, m.DSN()).Token(t.Context(), ref)
	if err != nil || !got.IssuedAt.Equal(issued) {
		t.Fatalf("issued %v, %v", got.IssuedAt, err)
	}
	if _, err := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: "r", Comment: "微信 😀"}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Realm(t.Context(), "r"); err != nil || r.Comment != "微信 😀" {
		t.Fatalf("comment %q, %v", r.Comment, err)
	}
	// Cut to the column's length it would be another secret's id.
	long := realm.Ref{Realm: "wx", Key: strings.Repeat("k", 256)}
	if _, err := storetest.SaveToken(t.Context(), s, long, realm.Token{Access: "a"}, 0); err == nil {
		t.Fatal("an id that does not fit was saved")
	}
}

// TestEarlierTablesAreNotTouched: the earlier service's tables lie in the same
// schema.
func TestEarlierTablesAreNotTouched(t *testing.T) {
	m := testserver.MariaDB(t)
	db := plainMySQL(t, m)
	execute(t, db, "CREATE TABLE realm (id VARCHAR(50) PRIMARY KEY, config JSON)")
	execute(t, db, "CREATE TABLE secret (`key` VARCHAR(50), realm VARCHAR(50), key_1 VARCHAR(200), PRIMARY KEY (`key`, realm))")
	execute(t, db, "INSERT INTO realm VALUES ('wx', '{}')")
	execute(t, db, "INSERT INTO secret VALUES ('k', 'wx', 'v')")
	checksum := func() (sums [2]int64) {
		for i, table := range []string{"realm", "secret"} {
			var name string
			if err := db.QueryRowContext(t.Context(), "CHECKSUM TABLE "+table).Scan(&name, &sums[i]); err != nil {
				t.Fatal(err)
			}
		}
		return sums
	}
	before := checksum()
	s := openMySQL(t, m.DSN())
	saveSecret(t, s, map[string]realm.Hidden{"x": "y"})
	if _, err := storetest.SaveRealm(t.Context(), s, realm.Realm{ID: "wx"}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRealm(t.Context(), "wx", true); err != nil {
		t.Fatal(err)
	}
	if after := checksum(); after != before {
		t.Fatal("the earlier tables changed")
	}
}

// TestDeadlockIsTriedAgain: a transaction that the server gives up is run once
// more, callback included.
func TestDeadlockIsTriedAgain(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN())
	const id = "other"
	for _, key := range []string{"a", "b"} {
		r := realm.Ref{Realm: id, Key: key}
		if _, err := storetest.SaveToken(t.Context(), s, r, realm.Token{Access: "x"}, 0); err != nil {
			t.Fatal(err)
		}
	}
	var runs atomic.Int32
	var both sync.WaitGroup // both hold their first row before they ask for the second
	both.Add(2)
	var wg sync.WaitGroup
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			first := true
			err := s.LockRows(t.Context(), id, order, func() {
				runs.Add(1)
				if first {
					first = false
					both.Done()
					both.Wait()
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs.Load() != 3 {
		t.Fatalf("%d runs: two and the one again were expected", runs.Load())
	}
}

// proxy stands between the store and the server, and loses things.
type proxy struct {
	net.Listener
	target string
	// lose: 0 nothing, 1 the answer to a COMMIT, 2 the COMMIT itself.
	lose atomic.Int32
	lost atomic.Int32
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: target}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(client net.Conn) {
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	var muted atomic.Bool
	closeBoth := func() { _ = client.Close(); _ = server.Close() }
	go func() {
		defer closeBoth()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || muted.Load() { // the server has done it
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	defer closeBoth()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.HasSuffix(buf[:n], []byte("COMMIT")) {
			switch p.lose.Swap(0) {
			case 1:
				muted.Store(true)
				p.lost.Add(1)
			case 2:
				p.lost.Add(1)
				return
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if muted.Load() {
			_, _ = io.Copy(io.Discard, client) // until the other side closes both
			return
		}
	}
}

// TestUnknownCommit: the connection breaks between a COMMIT and its answer.
// Whether it was done or not, the caller gets a right answer and the write is
// there once.
func TestUnknownCommit(t *testing.T) {
	m := testserver.MariaDB(t)
	p := newProxy(t, m.Addr())
	s := openMySQL(t, strings.Replace(m.DSN(), m.Addr(), p.Addr().String(), 1))
	for parent, lose := range []int32{1, 2, 1, 2} {
		p.lose.Store(lose)
		saved, err := storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: realm.Hidden(fmt.Sprint(parent))}, int64(parent))
		if err != nil || saved.Lineage != int64(parent)+1 {
			t.Fatalf("lost %d: lineage %d, %v", lose, saved.Lineage, err)
		}
		got, _, err := s.Token(t.Context(), ref)
		if err != nil || got != saved {
			t.Fatalf("lost %d: lineage %d is there, %v", lose, got.Lineage, err)
		}
	}
	saveSecret(t, s, nil)
	p.lose.Store(1)
	if err := s.DeleteSecret(t.Context(), ref); err != nil {
		t.Fatalf("a delete whose answer was lost: %v", err)
	}
	if p.lost.Load() != 5 {
		t.Fatalf("the proxy lost %d: the test proves nothing", p.lost.Load())
	}
}

// TestUnknownCommitOfAClaim: a claim whose COMMIT was not answered is taken
// once, and only by the one who asked; so is a run.
func TestUnknownCommitOfAClaim(t *testing.T) {
	m := testserver.MariaDB(t)
	p := newProxy(t, m.Addr())
	s, other := openMySQL(t, strings.Replace(m.DSN(), m.Addr(), p.Addr().String(), 1)), openMySQL(t, m.DSN())
	for n, lose := range []int32{1, 2, 1, 2} {
		p.lose.Store(lose)
		id := tokenstore.NewCallID()
		st, err := s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
			st.Claim.ID = id
			st.Budget.Failure.Count++
			return nil
		})
		if err != nil || st.Claim.ID != id || st.Budget.Failure.Count != n+1 {
			t.Fatalf("lost %d: %+v, %v", lose, st, err)
		}
		if got, err := other.Peek(t.Context(), ref); err != nil || got.Claim.ID != id || got.Budget.Failure.Count != n+1 {
			t.Fatalf("lost %d: %+v is there, %v", lose, got, err)
		}
		p.lose.Store(lose)
		at := time.Now().Add(time.Duration(n) * time.Minute)
		if mine, err := s.Once(t.Context(), "nightly", at); err != nil || !mine {
			t.Fatalf("lost %d: the run is another one's, %v", lose, err)
		}
		if mine, err := other.Once(t.Context(), "nightly", at); err != nil || mine {
			t.Fatalf("lost %d: the run is done twice, %v", lose, err)
		}
	}
	if p.lost.Load() != 8 {
		t.Fatalf("the proxy lost %d: the test proves nothing", p.lost.Load())
	}
}

// TestUnknownCommitOfATake: an authorization whose COMMIT was not answered is
// given to the one who asked, and to nobody else.
func TestUnknownCommitOfATake(t *testing.T) {
	m := testserver.MariaDB(t)
	p := newProxy(t, m.Addr())
	s, other := openMySQL(t, strings.Replace(m.DSN(), m.Addr(), p.Addr().String(), 1)), openMySQL(t, m.DSN())
	for _, lose := range []int32{1, 2, 1, 2} {
		p.lose.Store(lose)
		want := authorization(t.Name())
		if err := s.BeginAuthorization(t.Context(), want, time.Minute); err != nil {
			t.Fatalf("lost %d: %v", lose, err)
		}
		p.lose.Store(lose)
		if got, err := s.TakeAuthorization(t.Context(), want.State); err != nil || got.Verifier != want.Verifier {
			t.Fatalf("lost %d: %v, %v", lose, got, err)
		}
		if got, err := other.TakeAuthorization(t.Context(), want.State); !errors.Is(err, tokenstore.ErrAuthorizationNotFound) {
			t.Fatalf("lost %d: taken twice: %v, %v", lose, got, err)
		}
	}
	if p.lost.Load() != 8 {
		t.Fatalf("the proxy lost %d: the test proves nothing", p.lost.Load())
	}
}

// TestServerGoes: while the server is away everything is ErrUnavailable; when
// it is back, so is the store.
func TestServerGoes(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN())
	saveSecret(t, s, map[string]realm.Hidden{"x": "y"})
	m.Kill(t)
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("a read: %v", err)
	}
	if _, err := storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: "a"}, 0); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("a write: %v", err)
	}
	if h := s.Health(t.Context()); len(h) != 1 || h[0].Name != "mysql" || h[0].OK {
		t.Fatalf("health: %v", h)
	}
	m.Restart(t)
	if _, err := s.Secret(t.Context(), ref); err != nil {
		t.Fatalf("after the restart: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLateCommitIsHeard: ids of changes are given before their transactions
// end, so that a smaller one may appear after a larger one.
func TestLateCommitIsHeard(t *testing.T) {
	m := testserver.MariaDB(t)
	s, db := openMySQL(t, m.DSN()), plainMySQL(t, m)
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	late, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const insert = "INSERT INTO tokens_changes (write_id, realm, ref_key, client, at) VALUES (?, ?, ?, '', UTC_TIMESTAMP(6))"
	if _, err := late.ExecContext(t.Context(), insert, []byte("0123456789abcdef"), "late", ""); err != nil {
		t.Fatal(err)
	}
	saveSecret(t, s, nil)
	hear := func(want string) {
		t.Helper()
		changes, next, err := s.Changes(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		cursor = next
		var got []string
		for _, c := range changes {
			got = append(got, c.Ref.String())
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("heard %v, want %q", got, want)
		}
	}
	hear("wx/main")
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	hear("late/")
	hear("")
	// Settled rows are behind the cursor, and stay there when they are deleted.
	execute(t, db, "UPDATE tokens_changes SET at = at - INTERVAL 10 MINUTE")
	hear("")
	saveSecret(t, s, nil)
	execute(t, db, "DELETE FROM tokens_changes WHERE at < UTC_TIMESTAMP(6) - INTERVAL 5 MINUTE")
	hear("wx/main")
	hear("")
}

// TestOldCursorIsAGap: a node that did not read for an hour has missed what
// was deleted since.
func TestOldCursorIsAGap(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN())
	saveSecret(t, s, nil)
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Changes(t.Context(), sqlstore.AgeCursor(cursor)); !errors.Is(err, tokenstore.ErrGap) {
		t.Fatalf("got %v", err)
	}
	execute(t, plainMySQL(t, m), "UPDATE tokens_changes SET at = at - INTERVAL 10 MINUTE")
	_, cursor, err = s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, plainMySQL(t, m), "DELETE FROM tokens_changes") // restored from an older copy
	if _, _, err := s.Changes(t.Context(), cursor); !errors.Is(err, tokenstore.ErrGap) {
		t.Fatalf("got %v", err)
	}
}
