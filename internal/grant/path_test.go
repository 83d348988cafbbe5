package grant

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestParsePath(t *testing.T) {
	for s, want := range map[string]path{
		"a":         {"a"},
		"a.0.b":     {"a", "0", "b"},
		`a\.b.c`:    {"a.b", "c"},
		`a\\.b`:     {`a\`, "b"},
		"@this|x.#": {"@this|x", "#"},
		"ü.*":       {"ü", "*"},
		"":          nil,
		".":         nil,
		"a.":        nil,
		".a":        nil,
		"a..b":      nil,
		`a\`:        nil,
		`a\b`:       nil,
	} {
		got, err := parsePath(s)
		if (err != nil) != (want == nil) || err == nil && !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestPathIn(t *testing.T) {
	const doc = `{"a":[{"b":1},[2,3]],"0":"zero","":"empty","n":null,"e":{"@this":4},"x":{"y":1},"x.y":5}`
	for s, want := range map[string]string{
		"a.0.b": "1", "a.1.1": "3", "0": `"zero"`, "n": "null", "e.@this": "4", `x\.y`: "5", "x.y": "1",
		"a.2": "", "a.-1": "", "a.00": "", "a.01": "", "a.+1": "", "a.b": "", "a.#": "", "a.#.b": "", "n.x": "", "0.x": "",
		"a.99999999999999999999": "", "a.*": "", "*": "", "@this": "", "a|0": "", "e.@this.x": "", "A": "",
	} {
		p, err := parsePath(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.in(gjson.Parse(doc))
		if err != nil || got.Raw != want {
			t.Errorf("%s: %s, %v; want %s", s, got.Raw, err, want)
		}
	}
}

// FuzzPath compares with a walk over what encoding/json makes of the document.
func FuzzPath(f *testing.F) {
	f.Add(`{"a":[{"b":"x"}]}`, "a.0.b")
	f.Add(`{"a.b":{"\u00e9":null}}`, `a\.b.é`)
	f.Add(`[1,2,[3e2]]`, "2.0")
	f.Fuzz(func(t *testing.T, doc, text string) {
		p, err := parsePath(text)
		if err != nil {
			return
		}
		root, problem := parseDocument([]byte(doc), "json")
		if problem != "" {
			return
		}
		got, err := p.in(root)
		want, exists, doubled := walk(json.RawMessage(withoutBOM(bytes.TrimSpace([]byte(doc)))), p)
		switch {
		case doubled != (err != nil):
			t.Errorf("%s in %s: error %v, doubled %v", text, doc, err, doubled)
		case err != nil:
		case got.Exists() != exists:
			t.Errorf("%s in %s: exists %v, want %v", text, doc, got.Exists(), exists)
		case exists:
			compareValues(t, got, want)
		}
	})
}

func compareValues(t *testing.T, got gjson.Result, want json.RawMessage) {
	t.Helper()
	a, b := decoded(t, got.Raw), decoded(t, string(want))
	if !cmp.Equal(a, b) {
		t.Errorf("%s, want %s", got.Raw, want)
	}
	if s, ok := b.(string); ok && got.String() != s {
		t.Errorf("text %q, want %q", got.String(), s)
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// walk is the reference: it decodes one level at a time.
func walk(at json.RawMessage, p path) (value json.RawMessage, exists, doubled bool) {
	for _, name := range p {
		var next json.RawMessage
		switch at = bytes.TrimSpace(at); at[0] {
		case '{':
			if next, doubled = member(at, name); doubled {
				return nil, false, true
			}
		case '[':
			var list []json.RawMessage
			if json.Unmarshal(at, &list) != nil {
				return nil, false, false
			}
			if n, err := strconv.Atoi(name); err == nil && strconv.Itoa(n) == name && n >= 0 && n < len(list) {
				next = list[n]
			}
		}
		if next == nil {
			return nil, false, false
		}
		at = next
	}
	return at, true, false
}

// member reads an object by tokens, because a map would hide doubled names.
func member(object json.RawMessage, name string) (value json.RawMessage, doubled bool) {
	d := json.NewDecoder(strings.NewReader(string(object)))
	d.UseNumber()
	_, _ = d.Token()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return nil, false
		}
		if key == name {
			if value != nil {
				return nil, true
			}
			value = v
		}
	}
	return value, false
}
