package storetest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// The environment of a child: which database, where, with which key, and the
// number of the round.
const (
	childDriver = "STORETEST_CHILD_DRIVER"
	childDSN    = "STORETEST_CHILD_DSN"
	childKey    = "STORETEST_CHILD_KEY"
	childRound  = "STORETEST_CHILD_ROUND"
)

// crashRounds is how often a writer is killed; soak runs raise it.
var crashRounds = 20

func init() {
	if n, err := strconv.Atoi(os.Getenv("STORETEST_CRASH_ROUNDS")); err == nil {
		crashRounds = n
	}
}

// TestCrashWriter is the child of the crash tests: it writes for ever, and
// prints what was acknowledged.
func TestCrashWriter(t *testing.T) {
	if os.Getenv(childDriver) == "" {
		return
	}
	s := childStore(t, os.Getenv(childDriver), os.Getenv(childDSN), realm.Hidden(os.Getenv(childKey)))
	round := os.Getenv(childRound)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("READY")
	for n := 1; ; n++ {
		ref := realm.Ref{Realm: "crash", Key: fmt.Sprint(round, "-", n%5)}
		value := fmt.Sprint(round, "-", n)
		_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			old.Fields = map[string]realm.Hidden{"n": realm.Hidden(value)}
			return old, tokenstore.TokenChange{}, nil
		})
		if err != nil {
			return // the server was killed; the parent knows what was acknowledged
		}
		fmt.Println("SECRET", ref.Key, n)
		saved, err := s.SaveToken(t.Context(), ref, realm.Token{Access: realm.Hidden(value), IssuedAt: time.Now()}, int64((n-1)/5))
		if err != nil {
			return
		}
		fmt.Println("TOKEN", ref.Key, saved.Lineage)
	}
}

func childStore(t *testing.T, driver, dsn string, key realm.Hidden) tokenstore.Store {
	t.Helper()
	ring := storetest.Ring(t, key)
	if driver == "sqlite" {
		return sqlstore.SQLite(dsn, ring)
	}
	s, err := sqlstore.MySQL(dsn, ring)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSQLiteSurvivesKill(t *testing.T) {
	crash(t, "sqlite", filepath.Join(t.TempDir(), "tokens.db"), func(int) {})
}

// TestMariaDBSurvivesKill kills the server, too, in every fourth round.
func TestMariaDBSurvivesKill(t *testing.T) {
	m := testserver.MariaDB(t)
	crash(t, "mysql", m.DSN(), func(round int) {
		if round%4 == 3 {
			m.Kill(t)
			m.Restart(t)
		}
	})
}

// crash kills a writer at random, again and again. Whatever it was told is
// written must be there.
func crash(t *testing.T, driver, dsn string, alsoKill func(round int)) {
	key := storetest.Key(t)
	secrets, lineages := map[string]int{}, map[string]int64{}
	for round := range crashRounds {
		out, kill := startWriter(t, driver, dsn, key, round)
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(60); left > 0 && lines.Scan(); left-- {
			acknowledge(lines.Text(), secrets, lineages)
		}
		kill()
		alsoKill(round)
		for lines.Scan() { // what it wrote between our decision and its end
			acknowledge(lines.Text(), secrets, lineages)
		}
		verify(t, childStore(t, driver, dsn, key), secrets, lineages)
	}
	if len(secrets) == 0 || len(lineages) == 0 {
		t.Fatal("the children acknowledged nothing: the test proves nothing")
	}
}

func startWriter(t *testing.T, driver, dsn string, key realm.Hidden, round int) (io.Reader, func()) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestCrashWriter$")
	cmd.Env = append(os.Environ(), childDriver+"="+driver, childDSN+"="+dsn, childKey+"="+key.Reveal(), fmt.Sprint(childRound, "=", round))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the child's end is the only one now
	t.Cleanup(func() { _ = r.Close() })
	return r, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// acknowledge notes a whole line; the last one may be cut.
func acknowledge(line string, secrets map[string]int, lineages map[string]int64) {
	f := strings.Fields(line)
	if len(f) != 3 {
		return
	}
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return
	}
	switch f[0] {
	case "SECRET":
		secrets[f[1]] = n
	case "TOKEN":
		lineages[f[1]] = int64(n)
	}
}

// verify: what was acknowledged is there, or what was written after it and
// not acknowledged any more.
func verify(t *testing.T, s tokenstore.Store, secrets map[string]int, lineages map[string]int64) {
	t.Helper()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for key, n := range secrets {
		secret, err := s.Secret(t.Context(), realm.Ref{Realm: "crash", Key: key})
		if err != nil {
			t.Fatalf("secret %s: %v", key, err)
		}
		_, number, _ := strings.Cut(secret.Fields["n"].Reveal(), "-")
		if got, err := strconv.Atoi(number); err != nil || got != n && got != n+5 {
			t.Fatalf("secret %s: write %d was acknowledged, write %q is there", key, n, number)
		}
	}
	for key, lineage := range lineages {
		token, _, err := s.Token(t.Context(), realm.Ref{Realm: "crash", Key: key})
		if err != nil {
			t.Fatalf("token %s: %v", key, err)
		}
		if token.Lineage != lineage && token.Lineage != lineage+1 {
			t.Fatalf("token %s: lineage %d was acknowledged, %d is there", key, lineage, token.Lineage)
		}
	}
}
