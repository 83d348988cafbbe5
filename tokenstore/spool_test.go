package tokenstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var spooled = tokenstore.SpoolEntry{
	ID: tokenstore.CallID{0xab, 2, 3}, Ref: realm.Ref{Realm: "wx", Key: "main"}, Parent: 7,
	Token: realm.Token{
		Access: "canary-access-5501", Refresh: "canary-refresh-5502", Fingerprint: realm.Fingerprint([]byte("canary-fpr-5503!")),
		IssuedAt: time.UnixMicro(1_800_000_000_123_456).UTC(), ExpiresAt: time.UnixMicro(1_800_000_000_000_001).UTC(),
		RefreshExpiresAt: time.Date(2099, 12, 31, 23, 59, 59, 999_999_000, time.UTC), Lineage: 8,
	},
}

func add(tb testing.TB, s *tokenstore.Spool, e tokenstore.SpoolEntry) {
	tb.Helper()
	if err := s.Add(e); err != nil {
		tb.Fatal(err)
	}
}

func entries(tb testing.TB, s *tokenstore.Spool) []tokenstore.SpoolEntry {
	tb.Helper()
	list, err := s.Entries(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

// onlyFile is the one file of a directory.
func onlyFile(tb testing.TB, dir string) (path string, text []byte) {
	tb.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		tb.Fatalf("%d files, %v", len(files), err)
	}
	path = filepath.Join(dir, files[0].Name())
	if text, err = os.ReadFile(path); err != nil {
		tb.Fatal(err)
	}
	return path, text
}

func TestSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "spool")
	s, next := tokenstore.NewSpool(dir, ring(t, keyText(1))), tokenstore.NewSpool(dir, ring(t, keyText(2), keyText(1)))
	if got := entries(t, s); len(got) != 0 {
		t.Fatalf("before the first: %d", len(got))
	}
	if err := s.Remove(spooled.ID); err != nil {
		t.Fatalf("removed before the first: %v", err)
	}
	add(t, s, spooled)
	path, text := onlyFile(t, dir)
	for name, mode := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if bytes.Contains(append(text, path...), []byte("canary")) {
		t.Error("a confidential value is in clear")
	}
	if got := entries(t, next); len(got) != 1 || got[0] != spooled { // the next process, after a rotation
		t.Fatalf("%d entries are read: %+v", len(got), got)
	}
	later := spooled
	later.Token.Refresh, later.Token.Kept = "another", realm.KeptOf(map[string]string{"answer.x": "canary"})
	add(t, s, later)
	if got := entries(t, s); len(got) != 1 || got[0] != later {
		t.Fatalf("%d entries after the second of one attempt", len(got))
	}
	for range 2 {
		if err := s.Remove(spooled.ID); err != nil || len(entries(t, s)) != 0 {
			t.Fatalf("not removed: %v", err)
		}
	}
}

// olderEntry is what the first form made of spooled, with keyText(1).
const olderEntry = "dG9rZW5zIHNwb29sIDEKAnd4BG1haW4O+1+25UkPTk345PD3KUOLAlbOr5WrW8cGJJ1fFXapbHcyfdGKfmnPNY866+gvC8f4xFPnN9pxafRU16hd" +
	"Nq4u4anhuUo3Ehf6RT3S59JRRsDSJRiFLKaqiMgv1dVTBSQX59l/AaM18uEAPav1urf7IkDSbg4M+OXZqz3vcS+nnnOi2AqBu6fh4T8wlA3yFisDWGQv17Nm6EL7cYUD" +
	"7oLk1EOorNj/vlkzaCTlMASvJ+vm4fHsC4mMp4zNDaKWskGWHYDSjXW/Sq592QUr2dBm0NMtAbOkBfJfdApbwWn/s0oCZkJp1FThP2w3Fydiusz/YEWNdcjw1QhPlkBw"

// TestSpoolForms: an entry of the first form is read, and one that came of a
// code is one whatever is written in front of it.
func TestSpoolForms(t *testing.T) {
	dir, ofCode := t.TempDir(), spooled
	ofCode.FromCode = true
	s := tokenstore.NewSpool(dir, ring(t, keyText(1)))
	older, err := base64.StdEncoding.DecodeString(olderEntry)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, ofCode)
	path, newer := onlyFile(t, dir)
	const first, second = "tokens spool 1\n", "tokens spool 2\n"
	for name, c := range map[string]struct {
		text []byte
		want tokenstore.SpoolEntry
	}{
		"the first form":             {older, spooled},
		"of a code":                  {newer, ofCode},
		"the first form, relabelled": {bytes.Replace(older, []byte(first), []byte(second), 1), tokenstore.SpoolEntry{}},
		"of a code, relabelled":      {bytes.Replace(newer, []byte(second), []byte(first), 1), tokenstore.SpoolEntry{}},
	} {
		if err := os.WriteFile(path, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Entries(t.Context())
		if read := len(got) == 1 && got[0] == c.want && err == nil; read == (c.want == tokenstore.SpoolEntry{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestSpoolOrder: a child is read behind its parent; ids of any bytes and any
// length are kept apart.
func TestSpoolOrder(t *testing.T) {
	s := tokenstore.NewSpool(t.TempDir(), ring(t, keyText(1)))
	long := strings.Repeat("\x00\xff/", 85)
	want := []tokenstore.SpoolEntry{
		{Ref: realm.Ref{Realm: "\x00", Key: "../.."}, Parent: 0},
		{Ref: realm.Ref{Realm: long, Key: long[:254]}, Parent: 5},
		{Ref: realm.Ref{Realm: long, Key: long}, Parent: 0},
		{Ref: realm.Ref{Realm: long, Key: long}, Parent: 1},
		{Ref: realm.Ref{Realm: long, Key: long}, Parent: 1 << 40},
	}
	for _, i := range rand.Perm(len(want)) {
		want[i].ID = tokenstore.NewCallID()
		want[i].Token.Refresh = realm.Hidden(strings.Repeat("<", 1<<20))
		add(t, s, want[i])
	}
	got := entries(t, s)
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("%d entries; entry %d is of %q, parent %d", len(got), i, got[i].Ref, got[i].Parent)
		}
	}
}

// TestSpoolKeepsWhatItCannotRead: a file that is cut, altered, renamed or
// another one's is reported and left, and the others are read.
func TestSpoolKeepsWhatItCannotRead(t *testing.T) {
	aside := t.TempDir()
	add(t, tokenstore.NewSpool(aside, ring(t, keyText(1))), spooled)
	_, whole := onlyFile(t, aside)
	altered := bytes.Clone(whole)
	altered[len(altered)-1] ^= 1
	name := spooled.ID.String() + ".token"
	other := tokenstore.CallID{9}.String() + ".token"
	files := map[string]struct {
		name string
		text []byte
	}{
		"altered": {name, altered}, "renamed": {other, whole}, "longer": {name, append(bytes.Clone(whole), 0)},
		"another realm": {name, bytes.Replace(whole, []byte("wx"), []byte("wy"), 1)},
		"foreign":       {"README", []byte("hello")}, "upper case": {strings.ToUpper(spooled.ID.String()) + ".token", whole},
		"long name": {strings.Repeat("ab", 20) + ".token", whole}, "no name": {".token", whole},
		"too large": {name, make([]byte, 17<<20)},
	}
	for n := range whole {
		files[fmt.Sprint("cut at ", n)] = struct {
			name string
			text []byte
		}{name, whole[:n]}
	}
	for what, file := range files {
		dir := t.TempDir()
		s, good := tokenstore.NewSpool(dir, ring(t, keyText(1))), spooled
		good.ID = tokenstore.CallID{5}
		add(t, s, good)
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path, file.text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Entries(t.Context())
		if len(got) != 1 || got[0] != good || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %d entries, %v", what, len(got), err)
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, file.text) {
			t.Errorf("%s: the file was touched, %v", what, err)
		}
	}
}

// TestSpoolWithoutItsKey says which key is missing, and the entry waits for it.
func TestSpoolWithoutItsKey(t *testing.T) {
	dir := t.TempDir()
	add(t, tokenstore.NewSpool(dir, ring(t, keyText(1))), spooled)
	if got, err := tokenstore.NewSpool(dir, ring(t, keyText(2))).Entries(t.Context()); len(got) != 0 || !errors.Is(err, tokenstore.ErrKey) {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	if got := entries(t, tokenstore.NewSpool(dir, ring(t, keyText(1)))); len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
}

// TestSpoolFails: an error says which token is not safe, and not what it is.
func TestSpoolFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := tokenstore.NewSpool(filepath.Join(file, "spool"), ring(t, keyText(1)))
	err := s.Add(spooled)
	if err == nil || !strings.Contains(err.Error(), "wx/main") || strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Entries(t.Context()); err == nil {
		t.Fatal("a directory that cannot be read is an empty one")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s = tokenstore.NewSpool(t.TempDir(), ring(t, keyText(1)))
	add(t, s, spooled)
	if _, err := s.Entries(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestSpoolAtOnce: whoever reads while others write and remove gets whole
// entries and no error.
func TestSpoolAtOnce(t *testing.T) {
	s := tokenstore.NewSpool(filepath.Join(t.TempDir(), "spool"), ring(t, keyText(1)))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			e := spooled
			for n := range 8 {
				e.ID, e.Parent = tokenstore.NewCallID(), int64(i)
				add(t, s, e)
				entries(t, s)
				if n%2 == 0 {
					if err := s.Remove(e.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := entries(t, s); len(got) != 6*4 {
		t.Fatalf("%d entries are left", len(got))
	}
}

const spoolChild = "TOKENSTORE_SPOOL_CHILD"

// TestSpoolWriter is the child of TestSpoolSurvivesKill: it adds entries for
// ever, and prints which are safe.
func TestSpoolWriter(t *testing.T) {
	dir := os.Getenv(spoolChild)
	if dir == "" {
		return
	}
	s, e := tokenstore.NewSpool(dir, ring(t, keyText(1))), spooled
	e.Token.Access = realm.Hidden(strings.Repeat("a", 256<<10)) // takes its time
	for {
		e.ID = tokenstore.NewCallID()
		add(t, s, e)
		fmt.Println(e.ID)
	}
}

// TestSpoolSurvivesKill: a process is killed while it writes. What it said is
// safe is there, and a file that it began is not taken for an entry.
func TestSpoolSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	s, safe := tokenstore.NewSpool(dir, ring(t, keyText(1))), map[string]bool{}
	for range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSpoolWriter$") // #nosec G204 -- this test
		cmd.Env = append(os.Environ(), spoolChild+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(8); lines.Scan(); left-- {
			if safe[lines.Text()] = true; left == 0 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait() // it was killed
	}
	got := map[string]bool{}
	for _, e := range entries(t, s) {
		got[e.ID.String()] = len(e.Token.Access.Reveal()) == 256<<10 && e.Token.Refresh == spooled.Token.Refresh
	}
	for id := range safe {
		if len(id) == 32 && !got[id] { // the last line may be cut
			t.Errorf("%s is lost", id)
		}
	}
	if len(safe) < 10 || len(got) < len(safe)-10 || len(got) > len(safe)+10 {
		t.Errorf("%d were safe, %d are there", len(safe), len(got))
	}
}

// TestUnfinishedFilesAreNotRead: even a whole one, whose last step is missing.
func TestUnfinishedFilesAreNotRead(t *testing.T) {
	dir := t.TempDir()
	s := tokenstore.NewSpool(dir, ring(t, keyText(1)))
	add(t, s, spooled)
	path, _ := onlyFile(t, dir)
	if err := os.Rename(path, strings.TrimSuffix(path, ".token")+".123.part"); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, s); len(got) != 0 {
		t.Fatalf("%d entries", len(got))
	}
}

// FuzzSpool: no content of a file is read as anything but what was written.
func FuzzSpool(f *testing.F) {
	aside := f.TempDir()
	add(f, tokenstore.NewSpool(aside, ring(f, keyText(1))), spooled)
	_, whole := onlyFile(f, aside)
	f.Add(whole)
	f.Add(whole[:20])
	f.Add(bytes.Replace(whole, []byte("spool 1"), []byte("spool 2"), 1))
	f.Add([]byte("tokens spool 1\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	dir := f.TempDir()
	s := tokenstore.NewSpool(dir, ring(f, keyText(1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, spooled.ID.String()+".token"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Entries(t.Context())
		// A worker of the fuzzer has sealed another one, with the same key.
		if err == nil && (len(got) != 1 || got[0] != spooled) || err != nil && bytes.Equal(text, whole) {
			t.Fatalf("%q gives %d entries, %v", text, len(got), err)
		}
	})
}

// FuzzPlainToken: what is written is read again, and nothing else is.
func FuzzPlainToken(f *testing.F) {
	f.Add("access", "refresh", int64(1), int64(1_800_000_000_000_000), []byte("{}"))
	f.Add("\x00\"\u2028", "<", int64(-1), int64(0), []byte(`{"fingerprint":"AA=="}`))
	f.Fuzz(func(t *testing.T, access, refresh string, lineage, at int64, text []byte) {
		if _, err := tokenstore.ParsePlainToken(text); err != nil && !errors.Is(err, tokenstore.ErrDamaged) {
			t.Fatal(err)
		}
		want := realm.Token{Access: realm.Hidden(strings.ToValidUTF8(access, "")), Refresh: realm.Hidden(strings.ToValidUTF8(refresh, "")), Lineage: lineage}
		want.Kept = realm.KeptOf(map[string]string{"answer." + want.Access.Reveal(): want.Refresh.Reveal()})
		if at != 0 {
			want.ExpiresAt = time.UnixMicro(at).UTC()
		}
		plain, err := tokenstore.PlainToken(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tokenstore.ParsePlainToken(plain); err != nil || got != want {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

func TestAttemptID(t *testing.T) {
	want := tokenstore.NewCallID()
	var got tokenstore.CallID
	if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want || want == tokenstore.NewCallID() {
		t.Fatalf("%s became %s, %v", want, got, err)
	}
	for _, text := range []string{"", "00", want.String() + "00", strings.Repeat("x", 32)} { // a longer one was a panic
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is an id", text)
		}
	}
	if id := tokenstore.NodeID(); id == "" || id != tokenstore.NodeID() || !strings.Contains(id, fmt.Sprint(os.Getpid())) {
		t.Errorf("the node is %q", id)
	}
}
