package sources

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// age sets when a file was changed last.
func age(t *testing.T, path string, d time.Duration) {
	t.Helper()
	at := time.Now().Add(-d)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func fileField(t *testing.T, path string) *Field {
	t.Helper()
	file, err := NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := NewField(file, NewMemory(), zap.NewNop(), nil)
	t.Cleanup(f.Close)
	return f
}

// A file that is written in place may be half-written: its content counts when it has
// been left alone for a moment. One that takes its place is whole.
func TestHalfWrittenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "appsecret")
	write(t, path, "old\n")
	age(t, path, time.Hour)
	f := fileField(t, path)
	wants(t, f, "old")
	write(t, path, "hal")
	age(t, path, -time.Second) // a time in the future says nothing
	wants(t, f, "hal")
	write(t, path, "half")
	if isBusy := time.Now().Add(-settled); mtime(t, path).After(isBusy) {
		wants(t, f, "hal")
	}
	age(t, path, settled)
	wants(t, f, "half")
	write(t, path+".new", "whole\r\n")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	wants(t, f, "whole")
}

func mtime(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func TestFileWithoutAValue(t *testing.T) {
	dir := t.TempDir()
	empty, large := filepath.Join(dir, "empty"), filepath.Join(dir, "large")
	write(t, empty, "\n")
	write(t, large, strings.Repeat("x", maxFile+1))
	for path, want := range map[string]string{
		empty: "is empty", large: "is larger than 1 MiB", filepath.Join(dir, "none"): "no such file", dir: "is no regular file",
	} {
		if _, err := fileField(t, path).Value(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := NewFile("relative"); err == nil {
		t.Error("a relative path is taken")
	}
}

// Each link on the way to a file may be swapped, so the directories of all are watched.
func TestDirectoriesOfALink(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"releases/1", "mount"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "releases/1/appsecret"), "x")
	for link, target := range map[string]string{"current": "releases/1", "mount/appsecret": filepath.Join(dir, "current/appsecret")} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	got := directoriesOf(filepath.Join(dir, "mount/appsecret"))
	want := []string{filepath.Join(dir, "mount"), dir, filepath.Join(dir, "releases/1")}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	directoriesOf(loop) // ends
}

// A directory that is swapped is followed to the one that takes its place, and a change
// there is seen as well.
func TestWatchFollowsASwappedDirectory(t *testing.T) {
	dir := t.TempDir()
	for n, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "appsecret"), name)
		if n == 0 {
			if err := os.Symlink(name, filepath.Join(dir, "current")); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := fileField(t, filepath.Join(dir, "current/appsecret"))
	wants(t, f, "one")
	changed := make(chan struct{}, 10)
	f.OnChange(func() { changed <- struct{}{} })
	w := NewWatch([]*Field{f}, zap.NewNop())
	defer w.Close()
	if err := os.Symlink("two", filepath.Join(dir, "next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	<-changed
	wants(t, f, "two")
	waitFor(t, func() bool {
		watched := w.watcher.WatchList()
		return slices.Contains(watched, filepath.Join(dir, "two")) && !slices.Contains(watched, filepath.Join(dir, "one"))
	})
	write(t, filepath.Join(dir, "two/appsecret"), "three")
	<-changed
	wants(t, f, "three")
}

func TestNothingToWatch(t *testing.T) {
	f := NewField(Environment{"HOME"}, NewMemory(), zap.NewNop(), nil)
	defer f.Close()
	w := NewWatch([]*Field{f}, zap.NewNop())
	if w != nil {
		t.Error("something is watched")
	}
	w.Close()
}

// A value that no field may have refuses the configuration, and not its first token.
func TestLoadRefusesWhatNoFieldMayHave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "appsecret")
	for _, content := range []string{strings.Repeat("canary", 20_000), "canary\xff"} {
		write(t, path, content)
		f := fileField(t, path)
		if err := f.Load(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "file "+path) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
		if _, isKnown := f.Known(); isKnown {
			t.Error("it is kept")
		}
	}
}
