package realm

import (
	"os"
	"regexp"
	"testing"
)

// A code that is missing in IsKnown is no answer for an edge.
func TestCodesAreKnown(t *testing.T) {
	text, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^\tCode\w+ +Code = "(\w+)"`).FindAllSubmatch(text, -1)
	if len(all) < 20 {
		t.Errorf("only %d codes are found", len(all))
	}
	for _, m := range all {
		if !Code(m[1]).IsKnown() {
			t.Errorf("%s is not known", m[1])
		}
	}
	if Code("").IsKnown() || Code("made_up").IsKnown() {
		t.Error("a code that there is not is known")
	}
}
