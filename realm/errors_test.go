package realm

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCodesAreDocumented: half of the codes were once missing in the documents'
// table of errors.
func TestCodesAreDocumented(t *testing.T) {
	codes := regexp.MustCompile(`(?m)^\s+Code\w+\s+Code = "(\w+)"$`).FindAllStringSubmatch(readText(t, "errors.go"), -1)
	if len(codes) < 19 {
		t.Fatalf("%d codes found", len(codes))
	}
	text := readText(t, "../docs/operations.md")
	for _, code := range codes {
		if !strings.Contains(text, "\n| `"+code[1]+"` |") {
			t.Errorf("docs/operations.md does not tell what %s means", code[1])
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
