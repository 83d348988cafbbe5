package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrInUse: another process has opened the SQLite file.
var ErrInUse = errors.New("is in use")

const (
	// lockSuffix ends the name of the file beside a database that is locked in
	// its place.
	lockSuffix = ".lock"
	// lockPatience is how long Open waits for a process that is about to end.
	// It is short: Caddy may serve with the other apps meanwhile.
	lockPatience = 300 * time.Millisecond
	lockPause    = 20 * time.Millisecond
)

// errLocked: somebody else has the lock. errNoLocks: the file system has none.
var (
	errLocked  = errors.New("is locked")
	errNoLocks = errors.New("the file system has no locks; a SQLite database belongs on a local disk")
)

// started is when this process started, for whoever finds its lock.
var started = time.Now()

// fileLock is the right of this process to a SQLite file. SQLite itself lets
// several processes in, which would share the tokens and not know of each
// other: what a process remembers of a token it does not read again.
//
// The lock is on a file of its own, tokens.db.lock: closing any descriptor of
// the database itself would drop SQLite's locks on it
// (https://www.sqlite.org/howtocorrupt.html section 2.2). The system releases
// it when the process ends, however it ends; the file stays. It is for the
// process and not for one store: while a configuration is reloaded, two stores
// of one process have the same database open.
type fileLock struct {
	file *os.File
	info os.FileInfo
	uses int
	// door lets one store of this process at a time open or close its
	// connections. SQLite waits for most locks, but not for those of a file
	// that is turned to WAL or loses its log
	// (https://www.sqlite.org/wal.html chapter 8).
	door chan struct{}
}

// heldLocks are the locks of this process.
var heldLocks struct {
	sync.Mutex
	list []*fileLock
}

// lockDatabase takes the lock of a database. Its directory exists.
func lockDatabase(ctx context.Context, path string) (*fileLock, error) {
	path, err := realPath(path)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockPatience); ; {
		l, err := tryLock(path + lockSuffix)
		switch {
		case err == nil:
			return l, nil
		case !errors.Is(err, errLocked):
			return nil, err
		case time.Now().After(end):
			return nil, finalError{fmt.Errorf("%s %w by %s; stop it first", path, ErrInUse, lockOwner(path+lockSuffix))}
		}
		if err := sleep(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// tryLock takes the lock, or one more use of it where this process has it.
func tryLock(path string) (*fileLock, error) {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- beside the database that the operator names
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	for _, l := range heldLocks.list {
		if os.SameFile(l.info, info) { // whatever path leads to it
			l.uses++
			return l, f.Close()
		}
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %s: %w", path, err), f.Close())
	}
	l := &fileLock{file: f, info: info, uses: 1, door: make(chan struct{}, 1)}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), unlockFile(f), f.Close())
	}
	heldLocks.list = append(heldLocks.list, l)
	return l, nil
}

// sign writes into the file who holds it.
func (l *fileLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), started.UTC().Format(time.RFC3339)), 0)
	return err
}

// release gives one use of the lock back. It unlocks before it closes: a child
// process that is about to be started may have a copy of the descriptor for a
// moment, and the lock with it.
func (l *fileLock) release() error {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	if l.uses--; l.uses > 0 {
		return nil
	}
	for i, held := range heldLocks.list {
		if held == l {
			heldLocks.list = append(heldLocks.list[:i], heldLocks.list[i+1:]...)
			break
		}
	}
	return errors.Join(unlockFile(l.file), l.file.Close())
}

// enter waits until no other store of this process opens or closes its
// connections. leave lets the next one in.
func (l *fileLock) enter(ctx context.Context) error {
	select {
	case l.door <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *fileLock) leave() { <-l.door }

// isSole reports whether the lock has one use in this process.
func (l *fileLock) isSole() bool {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	return l.uses == 1
}

// lockOwner is who signed the file, in words.
func lockOwner(path string) string {
	text, err := os.ReadFile(path) // #nosec G304 -- beside the database that the operator names
	if err != nil {
		return "another process"
	}
	number, since, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(number)
	at, bad := time.Parse(time.RFC3339, since)
	if err != nil || bad != nil { // it is about to sign
		return "another process"
	}
	return fmt.Sprintf("process %d (started %s)", pid, at.Local().Format("2006-01-02 15:04:05"))
}

// realPath is where a database really is, or will be: SQLite follows symbolic
// links, and so must whoever compares two paths.
func realPath(path string) (string, error) {
	const mostLinks = 40 // as many as Linux follows
	for range mostLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, isLink := linkTarget(path)
		if !isLink {
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

// linkTarget returns where a symbolic link leads. A path that is no link, or
// does not exist yet, leads nowhere else.
func linkTarget(path string) (target string, isLink bool) {
	target, err := os.Readlink(path)
	return target, err == nil
}
