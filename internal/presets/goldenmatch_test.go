package presets_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// checkLines compares a request with what the golden file has.
func checkLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	fault := ""
	if len(want) != len(got) {
		fault = "not as many lines"
	}
	for i := 0; i < min(len(want), len(got)) && fault == ""; i++ {
		if why := mismatch(want[i], got[i]); why != "" {
			fault = fmt.Sprintf("line %d: %s", i+1, why)
		}
	}
	if fault != "" {
		t.Errorf("%s: %s\ngot\n\t%s\nwant\n\t%s", what, fault, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// checkText compares a text with what the golden file has.
func checkText(t *testing.T, what, want, got string) {
	t.Helper()
	if why := mismatch(want, got); why != "" {
		t.Errorf("%s is %q, want %q: %s", what, got, want, why)
	}
}

// Markers in the golden files stand for what is not known beforehand:
//
//	{any}                   one or more characters
//	{jwt {claims}}          a JWT with these claims
//	{jwt {header} {claims}} and with this header
//
// A claim whose value is "{any}" may be anything.
const (
	anyMarker = "{any}"
	jwtMarker = "{jwt "
)

const jwtForm = `([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)`

// mismatch compares a text with one that may have markers. It returns why they
// differ; "" where they do not.
func mismatch(want, got string) string {
	pattern, tokens, err := compileMarkers(want)
	if err != nil {
		return err.Error()
	}
	found := pattern.FindStringSubmatch(got)
	if found == nil {
		return "differs"
	}
	for i, parts := range tokens {
		if why := jwtMismatch(parts, found[i+1]); why != "" {
			return why
		}
	}
	return ""
}

// compileMarkers makes a pattern of a text with markers, and the objects of each
// JWT in it.
func compileMarkers(want string) (pattern *regexp.Regexp, tokens [][]any, err error) {
	var b strings.Builder
	for want != "" {
		switch {
		case strings.HasPrefix(want, anyMarker):
			b.WriteString(`.+?`)
			want = want[len(anyMarker):]
		case strings.HasPrefix(want, jwtMarker):
			var parts []any
			if parts, want, err = jwtParts(want[len(jwtMarker):]); err != nil {
				return nil, nil, err
			}
			tokens = append(tokens, parts)
			b.WriteString(jwtForm)
		default:
			end := 1 + len(want[1:])
			if next := strings.IndexByte(want[1:], '{'); next >= 0 {
				end = 1 + next
			}
			b.WriteString(regexp.QuoteMeta(want[:end]))
			want = want[end:]
		}
	}
	return regexp.MustCompile(`(?s)^` + b.String() + `$`), tokens, nil
}

// jwtParts reads the objects of a marker, and returns what stands behind it.
func jwtParts(s string) (parts []any, rest string, err error) {
	for !strings.HasPrefix(s, "}") {
		dec := json.NewDecoder(strings.NewReader(s))
		var part map[string]any
		if err := dec.Decode(&part); err != nil {
			return nil, "", fmt.Errorf("the marker {jwt ...} does not hold objects: %w", err)
		}
		parts = append(parts, part)
		s = strings.TrimLeft(s[dec.InputOffset():], " ")
	}
	if len(parts) == 0 || len(parts) > 2 {
		return nil, "", fmt.Errorf("the marker {jwt ...} holds %d objects, not one or two", len(parts))
	}
	return parts, s[1:], nil
}

// jwtMismatch compares a JWT with its claims, or with its header and claims.
func jwtMismatch(want []any, token string) string {
	segments := strings.Split(token, ".")[2-len(want) : 2]
	for i, segment := range segments {
		text, err := base64.RawURLEncoding.DecodeString(segment)
		if err != nil {
			return err.Error()
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			return err.Error()
		}
		expected := want[i].(map[string]any)
		for name, value := range expected {
			if _, ok := got[name]; ok && value == anyMarker {
				got[name] = anyMarker
			}
		}
		if !reflect.DeepEqual(got, expected) {
			return fmt.Sprintf("the JWT has %s", text)
		}
	}
	return ""
}

// A comparison that takes everything for equal would prove nothing.
func TestMismatch(t *testing.T) {
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIiwiZXhwIjoxfQ.c2ln" // {"alg":"RS256"}, {"iss":"a","exp":1}
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{"GET /a?b={c}", "GET /a?b={c}", true},
		{"GET /a", "GET /ab", false},
		{"GET /a.c", "GET /abc", false},
		{"a={any}&b=1", "a=xyz&b=1", true},
		{"a={any}&b=1", "a=&b=1", false},
		{"a={any}&b=1", "a=xyz&b=2", false},
		{`x {jwt {"iss":"a","exp":1}}`, "x " + token, true},
		{`x {jwt {"alg":"RS256"} {"iss":"a","exp":1}}.`, "x " + token + ".", true},
		{`x {jwt {"iss":"a","exp":"{any}"}}`, "x " + token, true},
		{`x {jwt {"iss":"a"}}`, "x " + token, false},
		{`x {jwt {"iss":"b","exp":1}}`, "x " + token, false},
		{`x {jwt {"alg":"ES256"} {"iss":"a","exp":1}}`, "x " + token, false},
		{`x {jwt {"iss":"a","exp":1,"jti":"{any}"}}`, "x " + token, false},
		{`x {jwt }`, "x " + token, false},
		{`x {jwt iss}`, "x " + token, false},
	} {
		if why := mismatch(c.want, c.got); (why == "") != c.same {
			t.Errorf("%s and %s: %q", c.want, c.got, why)
		}
	}
}
