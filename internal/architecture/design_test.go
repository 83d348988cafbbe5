package architecture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/design.md cites tests, mutants and files. Each of them exists: a name that
// was changed in the code and not there leads nowhere.
func TestDesignCitesWhatExists(t *testing.T) {
	const root = "../.."
	design, err := os.ReadFile(filepath.Join(root, "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, tests := map[string]bool{}, new(strings.Builder)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		files[filepath.Base(path)] = true
		if strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			tests.Write(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cited := 0
	for _, c := range []struct {
		pattern string
		exists  func(name string) bool
	}{
		{"`(Test\\w+)`", func(name string) bool { return strings.Contains(tests.String(), "func "+name+"(t *testing.T)") }},
		{"`(?:\\w+/)*(\\w+\\.go)`", func(name string) bool { return files[name] }},
		{`[ ,]"([\w<][\w< ]+)"`, func(name string) bool { return strings.Contains(tests.String(), "\t{\""+name) }},
	} {
		for _, m := range regexp.MustCompile(c.pattern).FindAllStringSubmatch(string(design), -1) {
			if cited++; !c.exists(m[1]) {
				t.Errorf("docs/design.md cites %s, which does not exist", m[1])
			}
		}
	}
	if cited < 70 {
		t.Errorf("only %d citations were found: the test looks for the wrong ones", cited)
	}
}

// Whoever looks for a package finds it in docs/design.md.
func TestDesignNamesEveryPackage(t *testing.T) {
	design, err := os.ReadFile(filepath.Join("..", "..", "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range arrows {
		if name != "" && !strings.Contains(string(design), "`"+name+"`") {
			t.Errorf("docs/design.md does not name %s", name)
		}
	}
}
