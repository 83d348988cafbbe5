package access

import (
	"cmp"
	"flag"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What follows decides in the plainest way: no index, no filter, recursion for
// ** and regular expressions for *.

func modelGlob(pattern, text string) bool {
	expr, ok := modelExpressions.Load(pattern)
	if !ok {
		expr, _ = modelExpressions.LoadOrStore(pattern, regexp.MustCompile(`(?s)\A`+strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")+`\z`))
	}
	return expr.(*regexp.Regexp).MatchString(text)
}

var modelExpressions sync.Map

func modelList(patterns []string, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return modelGlob(p, text) })
}

func modelSegments(pattern, segments []string) bool {
	switch {
	case len(pattern) == 0:
		return len(segments) == 0
	case pattern[0] != "**":
		return len(segments) > 0 && modelGlob(pattern[0], segments[0]) && modelSegments(pattern[1:], segments[1:])
	}
	for i := 0; i <= len(segments); i++ {
		if modelSegments(pattern[1:], segments[i:]) {
			return true
		}
	}
	return false
}

// modelPath returns the decoded segments of a path, false for an ambiguous one.
func modelPath(raw string) ([]string, bool) {
	if raw == "" {
		raw = "/"
	}
	if len(raw) > 16384 || raw[0] != '/' {
		return nil, false
	}
	segments := strings.Split(raw[1:], "/")
	for i, s := range segments {
		text, err := url.PathUnescape(s)
		isControl := func(r rune) bool { return r < 0x20 || r == 0x7f }
		switch {
		case err != nil, !utf8.ValidString(text), strings.ContainsAny(text, `/\%;?#`), strings.ContainsFunc(text, isControl),
			text == ".", text == "..", text == "" && i < len(segments)-1:
			return nil, false
		}
		segments[i] = text
	}
	return segments, true
}

func modelPaths(patterns, segments []string, denies bool) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if !denies {
			return modelSegments(strings.Split(pattern[1:], "/"), segments)
		}
		if len(pattern) > 1 {
			pattern = strings.TrimSuffix(pattern, "/")
		}
		parts := strings.Split(pattern[1:], "/")
		last := len(segments) - 1
		return modelSegments(parts, segments) || last > 0 && segments[last] == "" && modelSegments(parts, segments[:last])
	})
}

// modelDecide goes through the rules twice: denials first.
func modelDecide(rules []tokenstore.Rule, q Question) Decision {
	segments, clear := modelPath(q.Path)
	for _, effect := range []string{"deny", "allow"} {
		unclear := -1
		for i, r := range rules {
			method := q.Method
			if effect == "deny" {
				method = strings.ToUpper(method)
			}
			rights, _ := ParseRights(r.Rights)
			isAbout := q.Right != 0 && rights&q.Right == q.Right
			if effect == "deny" {
				isAbout = rights&q.Right != 0
			}
			isAboutKey := modelList(r.Keys, q.Ref.Key) || effect == effectDeny && q.Ref.Key == ""
			if r.Effect != effect || !isAbout || !modelList(r.Realms, q.Ref.Realm) || !isAboutKey || !modelList(r.Methods, method) {
				continue
			}
			switch {
			case len(r.Paths) == 0, clear && modelPaths(r.Paths, segments, effect == "deny"):
				return Decision{Allowed: effect == "allow", Rule: i}
			case !clear && unclear < 0:
				unclear = i
			}
		}
		if unclear >= 0 {
			return Decision{Rule: unclear, Ambiguous: true}
		}
	}
	return Decision{Rule: -1}
}

var (
	someSegments = rapid.SampledFrom([]string{
		"a", "b", "ab", "aab", "abab", "", "", "x", "é", "a b", ".", "..", "%61", "%41", "%2f", "%5C", "%25", "%", "%zz", "%00", "a;b", "%3B", "%2e",
		"%2E%2e", "%C3%A9", "%C0%AF", "a\\b", "%3f", "a#b", "%7f", "a.b", "...", "*", "a%20b", "%e9",
	})
	plainSegments = rapid.SampledFrom([]string{"a", "a", "b", "b", "ab", "aab", "abab", "x", "é", "%61", "%C3%A9"})
	patternParts  = rapid.SampledFrom([]string{"a", "a", "b", "ab", "*", "**", "**", "**", "a*", "*b", "a*b", "*a*b*", "é", "x", "a*a", "*a*a*", "a b"})
	somePatterns  = rapid.SampledFrom([]string{"*", "wechat", "we*", "main", "crm", "*a*", "w*t"})
	someNames     = rapid.SampledFrom([]string{"", "wechat", "main", "crm", "wet", "waat"})
	someMethods   = rapid.SampledFrom([]string{"GET", "POST", "DELETE", "get", "P*", ""})
)

func drawPath(t *rapid.T) string {
	segments := plainSegments
	if rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
		segments = someSegments
	}
	path := "/" + strings.Join(rapid.SliceOfN(segments, 0, rapid.SampledFrom([]int{3, 6, 20}).Draw(t, "most")).Draw(t, "segments"), "/")
	switch rapid.IntRange(0, 15).Draw(t, "slash") {
	case 0, 1, 2:
		path += "/"
	case 3:
		path = path[1:]
	}
	return path
}

func drawRules(t *rapid.T) []tokenstore.Rule {
	var rules []tokenstore.Rule
	for range rapid.IntRange(1, 6).Draw(t, "rules") {
		r := tokenstore.Rule{
			Effect: rapid.SampledFrom([]string{"allow", "allow", "deny"}).Draw(t, "effect"),
			Rights: []string{"use"},
			Realms: rapid.SliceOfNDistinct(somePatterns, 1, 2, rapid.ID[string]).Draw(t, "realms"),
			Keys:   rapid.SliceOfNDistinct(somePatterns, 0, 2, rapid.ID[string]).Draw(t, "keys"),
		}
		if len(r.Keys) == 0 { // an empty list is refused
			r.Keys = nil
		}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			r.Rights = rapid.SliceOfNDistinct(rapid.SampledFrom(rightNames), 1, 4, rapid.ID[string]).Draw(t, "rights")
		default:
			if rapid.Bool().Draw(t, "by method") {
				r.Methods = []string{strings.ToUpper(someMethods.Filter(func(m string) bool { return m != "" }).Draw(t, "method"))}
			}
			for range rapid.IntRange(0, 3).Draw(t, "paths") {
				pattern := "/" + strings.Join(rapid.SliceOfN(patternParts, 0, 6).Draw(t, "pattern"), "/")
				if rapid.IntRange(0, 5).Draw(t, "slash") == 0 && pattern != "/" {
					pattern += "/"
				}
				if checkPathGlob(pattern) == nil && !slices.Contains(r.Paths, pattern) {
					r.Paths = append(r.Paths, pattern)
				}
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// questionsOfARule is how many questions each set of rules is asked: it takes
// longer to make the rules than to ask.
const questionsOfARule = 20

// TestDecideAgreesWithTheModel: MATCHER_CHECKS is how many decisions are
// compared, if not a sample.
func TestDecideAgreesWithTheModel(t *testing.T) {
	checks, err := strconv.Atoi(cmp.Or(os.Getenv("MATCHER_CHECKS"), "50000"))
	if err != nil {
		t.Fatal(err)
	}
	runs := flag.Lookup("rapid.checks").Value
	before := runs.String()
	if err := runs.Set(strconv.Itoa(checks / questionsOfARule)); err != nil {
		t.Fatal(err)
	}
	defer runs.Set(before)

	decisions := make(map[Decision]int)
	rapid.Check(t, func(t *rapid.T) {
		written := drawRules(t)
		compiled, err := compileRules(written)
		if err != nil {
			t.Fatalf("%v: %+v", err, written)
		}
		for range questionsOfARule {
			q := Question{
				Right:  rapid.SampledFrom([]Right{Use, Use, Use, Read, Use | Read, Admin, 0}).Draw(t, "right"),
				Ref:    realm.Ref{Realm: someNames.Draw(t, "realm"), Key: someNames.Draw(t, "key")},
				Method: someMethods.Draw(t, "method"), Path: drawPath(t),
			}
			got, want := compiled.decide(&q), modelDecide(written, q)
			if got != want {
				t.Fatalf("%+v\nasked %+v\ngot  %+v\nwant %+v", written, q, got, want)
			}
			got.Rule = min(got.Rule, 0)
			decisions[got]++
		}
	})
	// A generator that draws only refusals compares nothing.
	for _, d := range []Decision{{Allowed: true}, {Rule: 0}, {Rule: -1}, {Ambiguous: true}} {
		if decisions[d] < checks/200 {
			t.Errorf("%+v came up %d times among %d", d, decisions[d], checks)
		}
	}
	t.Logf("compared %v", decisions)
}

// FuzzPath compares one pattern with any path.
func FuzzPath(f *testing.F) {
	f.Add("/a/**/b*", "/a/x/bc")
	f.Add("/**", "/%2e%2e/a")
	f.Add("/*a*b*/", "/aab/")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		for _, effect := range []string{"allow", "deny"} {
			written := []tokenstore.Rule{{Effect: effect, Rights: []string{"use"}, Realms: []string{"*"}, Paths: []string{pattern}}}
			compiled, err := compileRules(written)
			if err != nil || strings.Count(pattern, "**") > 4 || strings.Count(path, "/") > 30 { // the model takes too long
				return
			}
			q := Question{Right: Use, Path: path}
			if got, want := compiled.decide(&q), modelDecide(written, q); got != want {
				t.Fatalf("%s %q, path %q: %+v, want %+v", effect, pattern, path, got, want)
			}
		}
	})
}
