package doctor

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A new code or case has to be named in words, or nobody translates it; and what
// is named there is still said.
func TestWordsAreComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var said []string
	source := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") || file == "words.go" {
			continue
		}
		source += string(text)
		for _, call := range regexp.MustCompile(`\.add(?:Case)?\("(\w+)"(?:, "(\w+)", (?:values|v\b|nil)|,)`).FindAllStringSubmatch(string(text), -1) {
			said = append(said, call[1])
			switch cases, ok := words[call[1]]; {
			case !ok && !slices.Contains(Words(), call[1]):
				t.Errorf("%s: %s is not in words", file, call[1])
			case call[2] != "" && !slices.Contains(cases, call[2]):
				t.Errorf("%s: %s.%s is not in words", file, call[1], call[2])
			}
		}
	}
	for code, cases := range words {
		if !slices.Contains(said, code) && !strings.Contains(source, `code: "`+code+`"`) {
			t.Errorf("%s is in words, and nothing says it", code)
		}
		for _, which := range cases {
			if !strings.Contains(source, `"`+which+`"`) {
				t.Errorf("%s.%s is in words, and nothing says it", code, which)
			}
		}
	}
}
