package sdks

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	english = "../../docs/sdks.md"
	chinese = "../../docs/zh-CN/sdks.md"

	// patience bounds what must end. It is generous: no test depends on the speed
	// of the machine.
	patience = 10 * time.Minute

	// key is the key of the client that the programs are.
	key = "a-key-of-the-client-0123456789abcdef0123456789abcdef"
	// notRun is what the fence of a part of a program says.
	notRun = "not-run"
)

// snippet is a program of the page. Its name is the second word of the fence's
// info string, which no reader sees.
type snippet struct{ lang, name, text string }

var fence = regexp.MustCompile("(?ms)^```(\\w+)[ ]?([^\n]*)\n(.*?)^```$")

func snippetsOf(t *testing.T, page string) (all []snippet) {
	t.Helper()
	text, err := os.ReadFile(page) // #nosec G304 -- our own files
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, snippet{m[1], m[2], m[3]})
	}
	return all
}

// named is the program of that name.
func named(t *testing.T, name string) snippet {
	t.Helper()
	for _, s := range snippetsOf(t, english) {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("%s has no program %q", english, name)
	return snippet{}
}

// caddyfile is the one Caddyfile of the page.
func caddyfile(t *testing.T) string {
	t.Helper()
	for _, s := range snippetsOf(t, english) {
		if s.lang == "caddyfile" {
			return s.text
		}
	}
	t.Fatalf("%s has no Caddyfile", english)
	return ""
}

// but is the program with another text in one place.
func (s snippet) but(t *testing.T, this, that string) snippet {
	t.Helper()
	if strings.Count(s.text, this) != 1 {
		t.Fatalf("the program %s does not have %q once", s.name, this)
	}
	s.text = strings.Replace(s.text, this, that, 1)
	return s
}

// run runs the program in a directory with the file notes.txt, and returns what it
// printed.
func (s snippet) run(t *testing.T, env ...string) (stdout, stderr string, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("what is new"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var cmd *exec.Cmd
	if s.lang == "go" {
		cmd = exec.CommandContext(ctx, s.build(ctx, t, dir)) // #nosec G204 -- a program of our own page
	} else {
		cmd = exec.CommandContext(ctx, "node", s.module(t, dir)) // #nosec G204 -- as above
	}
	cmd.Dir = dir
	// Nothing else: a variable of this machine must not be what makes it work.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PROXY_KEY=" + key, "NO_PROXY=*"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// build builds a program in Go. It is compiled in this module, whose go.mod has the
// SDKs.
func (s snippet) build(ctx context.Context, t *testing.T, dir string) (program string) {
	t.Helper()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(s.text), 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "program")
	// Without what a debugger needs, which takes a third of the time.
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", program, source) // #nosec G204 -- a program of our own page
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the program %s does not build: %v\n%s", s.name, err, out)
	}
	return program
}

// module writes a program in JavaScript where Node finds the SDKs.
func (s snippet) module(t *testing.T, dir string) (file string) {
	t.Helper()
	packages, err := filepath.Abs("node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(packages); err != nil {
		t.Fatal("the SDKs are not installed: make sdks")
	}
	if err := os.Symlink(packages, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, s.name+".mjs")
	if err := os.WriteFile(file, []byte(s.text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// printed is what the program of each name prints.
var printed = map[string]string{
	"octokit":    "octo/hello\n[ 'issue 1', 'issue 2' ]\nuploaded\n",
	"go-github":  "octo/hello\nissue 1\nissue 2\nuploaded\n",
	"googleapis": "[ 'plan', 'budget' ]\nfile-1\n",
	"googleapi":  "plan\nbudget\nfile-1\n",
	"stripe":     "[ 'Ann', 'Ben' ]\nrequires_payment_method\n",
	"openai":     "Hello.\nfile-1\n",
	"anthropic":  "Hello.\n",
	"lark":       "om_1\n",
	"lark-go":    "om_1\n",
	"silenceper": "a friend\nmedia-1\n",
}

// The programs of the page work as they stand, and no provider sees anything but
// what it would see from an app with its own credentials.
func TestSnippets(t *testing.T) {
	p := newProxy(t, caddyfile(t))
	ran := map[string]bool{}
	for _, s := range snippetsOf(t, english) {
		if s.lang != "go" && s.lang != "js" || s.name == notRun {
			continue
		}
		ran[s.name] = true
		t.Run(s.name, func(t *testing.T) {
			want, known := printed[s.name]
			if !known {
				t.Fatal("the test does not say what it prints")
			}
			if got, stderr, err := s.run(t, p.env()...); err != nil || got != want {
				t.Errorf("it printed %q, want %q: %v\n%s", got, want, err, stderr)
			}
			p.wantNoComplaint(t)
		})
	}
	for name := range printed {
		if !ran[name] {
			t.Errorf("%s has no program %q", english, name)
		}
	}
}

// The Chinese page has the same programs and the same Caddyfile.
func TestPagesHaveTheSamePrograms(t *testing.T) {
	if en, zh := snippetsOf(t, english), snippetsOf(t, chinese); !slices.Equal(en, zh) {
		t.Errorf("%s has other programs than %s", chinese, english)
	}
}
