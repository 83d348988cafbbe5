package storetest_test

import (
	"bufio"
	"context"
	"errors"
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
		ctx := tokenstore.WithAudit(t.Context(), tokenstore.AuditEntry{Act: "secret.update", Result: tokenstore.AuditOK, Detail: value})
		_, err := s.UpdateSecret(ctx, ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			old.Fields = map[string]realm.Hidden{"n": realm.Hidden(value)}
			return old, tokenstore.TokenChange{}, nil
		})
		if err != nil {
			return // the server was killed; the parent knows what was acknowledged
		}
		fmt.Println("SECRET", ref.Key, n)
		saved, err := storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: realm.Hidden(value), IssuedAt: time.Now()}, int64((n-1)/5))
		if err != nil {
			return
		}
		fmt.Println("TOKEN", ref.Key, saved.Lineage)
		a := tokenstore.Authorization{State: tokenstore.HashState(realm.Hidden(value)), Ref: ref, Call: tokenstore.NewCallID()}
		if err := s.BeginAuthorization(t.Context(), a, time.Hour); err != nil {
			return
		}
		fmt.Println("STATE", value, n)
		if n%2 == 0 {
			continue
		}
		if _, err := s.TakeAuthorization(t.Context(), a.State); err != nil {
			return
		}
		fmt.Println("TAKEN", value, n)
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
	told := acknowledged{secrets: map[string]int{}, audited: map[string]bool{}, lineages: map[string]int64{}, states: map[string]bool{}}
	states := 0
	for round := range crashRounds {
		out, kill := startWriter(t, driver, dsn, key, round)
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(60); left > 0 && lines.Scan(); left-- {
			told.note(lines.Text())
		}
		kill()
		alsoKill(round)
		for lines.Scan() { // what it wrote between our decision and its end
			told.note(lines.Text())
		}
		states += len(told.states)
		told.verify(t, childStore(t, driver, dsn, key))
	}
	if len(told.secrets) == 0 || len(told.lineages) == 0 || states == 0 {
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

// acknowledged is what the children were told is written: the last write of
// each secret and the values of all, which the audit has, the lineage of each token, and the authorizations since the last
// kill, true for one that was taken.
type acknowledged struct {
	secrets  map[string]int
	audited  map[string]bool
	lineages map[string]int64
	states   map[string]bool
}

// note notes a whole line; the last one may be cut.
func (a acknowledged) note(line string) {
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
		a.secrets[f[1]] = n
		round, _, _ := strings.Cut(f[1], "-")
		a.audited[fmt.Sprint(round, "-", n)] = true
	case "TOKEN":
		a.lineages[f[1]] = int64(n)
	case "STATE", "TAKEN":
		a.states[f[1]] = f[0] == "TAKEN"
	}
}

// verify: what was acknowledged is there, or what was written after it and
// not acknowledged any more.
func (a acknowledged) verify(t *testing.T, s tokenstore.Store) {
	t.Helper()
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for key, n := range a.secrets {
		secret, err := s.Secret(t.Context(), realm.Ref{Realm: "crash", Key: key})
		if err != nil {
			t.Fatalf("secret %s: %v", key, err)
		}
		_, number, _ := strings.Cut(secret.Fields["n"].Reveal(), "-")
		if got, err := strconv.Atoi(number); err != nil || got != n && got != n+5 {
			t.Fatalf("secret %s: write %d was acknowledged, write %q is there", key, n, number)
		}
	}
	for key, lineage := range a.lineages {
		token, _, err := s.Token(t.Context(), realm.Ref{Realm: "crash", Key: key})
		if err != nil {
			t.Fatalf("token %s: %v", key, err)
		}
		if token.Lineage != lineage && token.Lineage != lineage+1 {
			t.Fatalf("token %s: lineage %d was acknowledged, %d is there", key, lineage, token.Lineage)
		}
	}
	a.verifyAudit(t, s)
	for value, taken := range a.states {
		_, err := s.TakeAuthorization(t.Context(), tokenstore.HashState(realm.Hidden(value)))
		gone := errors.Is(err, tokenstore.ErrAuthorizationNotFound)
		// An odd one may be taken and not acknowledged any more.
		if err != nil && !gone || taken && !gone || gone && !taken && !odd(value) {
			t.Fatalf("authorization %s: %v; taken %v", value, err, taken)
		}
	}
	clear(a.states)
}

// verifyAudit: each change that was acknowledged has its one entry, and all
// chains are whole.
func (a acknowledged) verifyAudit(t *testing.T, s tokenstore.Store) {
	t.Helper()
	entries := map[string]int{}
	err := s.WalkAudit(t.Context(), tokenstore.AuditFilter{}, func(e tokenstore.AuditEntry) error {
		entries[e.Detail]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for value := range a.audited {
		if entries[value] != 1 {
			t.Fatalf("change %s was acknowledged and has %d entries", value, entries[value])
		}
	}
	err = s.VerifyAudit(t.Context(), func(c tokenstore.AuditChain) {
		if c.Reason != "" {
			t.Errorf("after a kill: %+v", c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// odd says that the writer takes the authorization that it began.
func odd(value string) bool { return strings.ContainsRune("13579", rune(value[len(value)-1])) }
