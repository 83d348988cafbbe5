package grant

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

func TestParsePattern(t *testing.T) {
	for s, want := range map[string]pattern{
		"a.0.b":     {{"a", "0", "b"}},
		"a.*.b":     {{"a"}, {"b"}},
		"*":         {nil, nil},
		"*.*":       {nil, nil, nil},
		"a.*":       {{"a"}, nil},
		`a.\*`:      {{"a", "*"}},
		`a\.*.b`:    {{"a.*", "b"}},
		`a\\.*.b`:   {{`a\`}, {"b"}},
		"a*.b":      {{"a*", "b"}},
		"":          nil,
		"a..*":      nil,
		"*.":        nil,
		`a\`:        nil,
		`a.\*b`:     nil,
		`\`:         nil,
		"a.*.b.c.*": {{"a"}, {"b", "c"}, nil},
	} {
		got, err := parsePattern(s)
		if (err != nil) != (want == nil) || err == nil && !cmp.Equal(got, want) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

// A rule with "*" holds where it holds for one element of the list. It is never
// about the members of an object.
func TestDeadAnyElement(t *testing.T) {
	deep := strings.Repeat("[", 60_000) + strings.Repeat("]", 60_000)
	for _, c := range []struct {
		rule, body string
		want       bool
	}{
		{graphQLRule, `{"errors":[{"extensions":{"code":"x"}},{"extensions":{"code":"invalid-jwt"}}]}`, true},
		{graphQLRule, `{"errors":[{"message":"m"},7,[],null,{"extensions":{"code":"invalid-jwt"}}]}`, true},
		{graphQLRule, `{"errors":[{"extensions":{"code":"x"}}]}`, false},
		{graphQLRule, `{"errors":[]}`, false},
		{graphQLRule, `{"errors":{"0":{"extensions":{"code":"invalid-jwt"}}}}`, false},
		{graphQLRule, `{"data":{"errors":[{"extensions":{"code":"invalid-jwt"}}]}}`, false},
		{graphQLRule, `{"errors":[{"extensions":{"code":"invalid-jwt"}}]`, false},
		// of two values neither is believed, and the other elements count
		{graphQLRule, `{"errors":[{"extensions":{"code":"invalid-jwt","code":"x"}}]}`, false},
		{graphQLRule, `{"errors":[{"extensions":{"code":"y","code":"x"}},{"extensions":{"code":"invalid-jwt"}}]}`, true},
		{`[{"json":"*.errorCode","values":["DEAD"]}]`, `[{"errorCode":"A"},{"errorCode":"DEAD"}]`, true},
		{`[{"json":"*.errorCode","values":["DEAD"]}]`, deep, false},
		{`[{"json":"a.*.*","values":[1]}]`, `{"a":[[2],[3,1]]}`, true},
		{`[{"json":"a.*.*","values":[1]}]`, `{"a":[1,{"b":1}]}`, false},
		{`[{"json":"a.*.b","values":[1],"absent":true}]`, `{"a":[]}`, true},
		{`[{"json":"a.*.b","values":[1],"absent":true}]`, `{"a":[{"b":2}]}`, false},
		{`[{"json":"a.*"}]`, `{"a":[null]}`, false},
		{`[{"json":"a.*"}]`, `{"a":[null,0]}`, true},
		{`[{"json":"a.\\*","values":[1]}]`, `{"a":{"*":1}}`, true},
		{`[{"json":"a.\\*","values":[1]}]`, `{"a":[1]}`, false},
	} {
		if got := deadOf(t, c.rule).Body(200, nil, []byte(c.body), true); got != c.want {
			t.Errorf("%s, %.80s: %v", c.rule, c.body, got)
		}
	}
}

const graphQLRule = `[{"json":"errors.*.extensions.code","values":["invalid-jwt"]}]`

// Rules about token answers know "*", too.
func TestSuccessAnyElement(t *testing.T) {
	rules, err := compileRules(realmOf(t, `{"success":[{"json":"results.*.ok","values":[true]}]}`, "").Config.Success, "config.success")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]bool{
		`{"results":[{"ok":false},{"ok":true}]}`: true, `{"results":[{"ok":false}]}`: false, `{"results":{"a":{"ok":true}}}`: false,
	} {
		if ok, _, err := succeeded(rules, 200, gjson.Parse(body)); ok != want || err != nil {
			t.Errorf("%s: %v, %v", body, ok, err)
		}
	}
}
