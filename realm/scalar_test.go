package realm

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func scalar(t *testing.T, raw string) Scalar {
	t.Helper()
	var s Scalar
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return s
}

func TestScalarEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`0`, `0`, true},
		{`0`, `"0"`, true},
		{`0`, `0.0`, true},
		{`0`, `-0`, true},
		{`40001`, `"40001"`, true},
		{`40001`, `4.0001e4`, true},
		{`"40001"`, `"40001.0"`, true},
		{`" 40001 "`, `40001`, true},
		{`40001`, `40014`, false},
		{`9007199254740993`, `9007199254740992`, false}, // equal as float64
		{`"A"`, `"\u0041"`, true},
		{`"A"`, `"a"`, false},
		{`""`, `""`, true},
		{`""`, `0`, false},
		{`true`, `true`, true},
		{`true`, `false`, false},
		{`true`, `"true"`, false},
		{`true`, `1`, false},
		{`null`, `null`, true},
		{`null`, `"null"`, false},
		{`null`, `0`, false},
		{`16`, `"0x10"`, false},
		{`0.5`, `"1/2"`, false},
		{`1000`, `"1_000"`, false},
		{`"07"`, `7`, true},
		{`"07"`, `"7"`, true},
		{`7`, `70`, false},
	} {
		a, b := scalar(t, c.a), scalar(t, c.b)
		if a.Equal(b) != c.want || b.Equal(a) != c.want {
			t.Errorf("%s equals %s: %v, want %v", c.a, c.b, !c.want, c.want)
		}
	}
}

func TestScalarOf(t *testing.T) {
	for word, want := range map[string]string{
		"40001": `40001`, "-1.5": `-1.5`, "true": `true`, "null": `null`, "expired": `"expired"`,
		"": `""`, `"quoted"`: `"\"quoted\""`, "007": `"007"`, " 1 ": `" 1 "`, "{}": `"{}"`, "[1]": `"[1]"`, "令牌": `"令牌"`,
	} {
		if got := ScalarOf(word).raw; got != want {
			t.Errorf("ScalarOf(%q) is %s, want %s", word, got, want)
		}
	}
}

func TestScalarKeepsItsSpelling(t *testing.T) {
	for _, raw := range []string{`0`, `1.50`, `1E5`, `"a\u0041"`, `true`, `null`, `""`} {
		b, err := json.Marshal(scalar(t, raw))
		if err != nil || string(b) != raw {
			t.Errorf("%s became %s (%v)", raw, b, err)
		}
	}
	if b, err := json.Marshal(Scalar{}); err != nil || string(b) != "null" {
		t.Errorf("the zero scalar is %s (%v)", b, err)
	}
	for _, raw := range []string{`{}`, `[]`, ` [1]`, ``, `x`, `1 2`} {
		var s Scalar
		if err := s.UnmarshalJSON([]byte(raw)); err == nil {
			t.Errorf("%q is a scalar: %s", raw, s.raw)
		}
	}
}

func TestScalarEqualIsAnEquivalence(t *testing.T) {
	word := rapid.OneOf(
		rapid.SampledFrom([]string{"0", "0.0", "-0", "1", "1.0", "1e0", "true", "null", "a", ""}),
		rapid.StringMatching(`"?-?[0-9]{1,3}(\.[0-9]{1,2})?(e[0-9])?"?`))
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := ScalarOf(word.Draw(t, "a")), ScalarOf(word.Draw(t, "b")), ScalarOf(word.Draw(t, "c"))
		if !a.Equal(a) || a.Equal(b) != b.Equal(a) || a.Equal(b) && b.Equal(c) && !a.Equal(c) {
			t.Fatalf("%s, %s, %s", a.raw, b.raw, c.raw)
		}
	})
}

// A number of an answer must not cost more than its bytes.
func TestHostileNumbersAreNotExpanded(t *testing.T) {
	one := ScalarOf("1")
	for _, text := range []string{"1e999999999", "1e-999999999", strings.Repeat("9", 1<<20), "1e+99999"} {
		if done := finishes(t, func() { one.Equal(ScalarOf(text)) }); !done {
			t.Errorf("comparing with %.20s does not end", text)
		}
	}
}

// finishes gives f far more time than it needs.
func finishes(t *testing.T, f func()) bool {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(time.Minute):
		return false
	}
}
