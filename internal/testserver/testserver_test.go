package testserver_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// childEnv makes this test binary start the servers, print their process ids
// and wait to be killed.
const childEnv = "TESTSERVER_CHILD"

func TestMariaDBSurvivesAKill(t *testing.T) {
	m := testserver.MariaDB(t)
	db, err := sql.Open("mysql", m.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	exec := func(query string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE t (n INT PRIMARY KEY) ENGINE=InnoDB")
	exec("INSERT INTO t VALUES (7)")
	before := m.PID()
	m.Kill(t)
	m.Restart(t)
	if m.PID() == before {
		t.Fatal("the server was not started again")
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM t").Scan(&n); err != nil || n != 7 {
		t.Fatalf("n = %d, %v", n, err)
	}
}

func TestRedisIsEmptyAndStops(t *testing.T) {
	r := testserver.Redis(t)
	c := r.Client(t)
	if err := c.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.WithTimeout(200*time.Millisecond).Get(ctx, "a").Err(); err == nil {
		t.Fatal("a stopped server answered")
	}
	r.Cont(t)
	if got := c.Get(t.Context(), "a").Val(); got != "b" {
		t.Fatalf("after going on: %q", got)
	}
	if other := testserver.Redis(t).Client(t); other.DBSize(t.Context()).Val() != 0 {
		t.Fatal("the second database is not empty")
	}
}

// TestChild is the other side of TestServersDieWithTheProcess.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		return
	}
	m, r := testserver.MariaDB(t), testserver.Redis(t)
	r.Stop(t) // a stopped process has to go as well
	fmt.Println("PIDS", m.PID(), r.PID(), m.Dir(), r.Dir())
	<-make(chan struct{})
}

func TestServersDieWithTheProcess(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	var dirs [2]string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "PIDS "); ok {
			if _, err := fmt.Sscan(rest, &pids[0], &pids[1], &dirs[0], &dirs[1]); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if pids[0] == 0 {
		t.Fatal("the child printed no process ids")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for i := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pids[i]), func() bool { return gone(pids[i]) })
		eventually(t, dirs[i]+" is removed", func() bool {
			_, err := os.Stat(dirs[i])
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

// gone reports whether a process has ended; one that nobody reaped yet has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// patience bounds what has to happen: it is no measure of the machine.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
