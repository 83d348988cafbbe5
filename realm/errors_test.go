package realm

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCodesAreDocumented: half of the codes were missing in the READMEs'
// tables of errors.
func TestCodesAreDocumented(t *testing.T) {
	codes := regexp.MustCompile(`(?m)^\s+Code\w+\s+Code = "(\w+)"$`).FindAllStringSubmatch(readText(t, "errors.go"), -1)
	if len(codes) < 19 {
		t.Fatalf("%d codes found", len(codes))
	}
	for _, readme := range []string{"../README.md", "../README.zh-CN.md"} {
		text := readText(t, readme)
		for _, code := range codes {
			if !strings.Contains(text, "`"+code[1]+"`") {
				t.Errorf("%s does not tell what %s means", readme, code[1])
			}
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) // #nosec G304 -- our own files
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
