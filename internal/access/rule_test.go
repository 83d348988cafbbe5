package access

import (
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// compiled is a client of these rules, as the rules are written in a Caddyfile:
// "deny use,read crm main GET,POST /a/**,/b"; "-" stands for an absent list.
func compiled(t testing.TB, lines ...string) *Client {
	t.Helper()
	var written []tokenstore.Rule
	for _, line := range lines {
		f := append(strings.Fields(line), "-", "-", "-")
		list := func(i int) []string {
			if f[i] == "-" {
				return nil
			}
			return strings.Split(f[i], ",")
		}
		written = append(written, tokenstore.Rule{Effect: f[0], Rights: list(1), Realms: list(2), Keys: list(3), Methods: list(4), Paths: list(5)})
	}
	c := &Client{policy: &policy{written: tokenstore.Client{ID: "c", Rules: written}, log: zap.NewNop()}}
	if err := c.policy.compile().invalid; err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecide(t *testing.T) {
	in := func(realmID, key string) realm.Ref { return realm.Ref{Realm: realmID, Key: key} }
	billing := []string{
		"allow use wechat main GET,POST /cgi-bin/**",
		"allow use,read crm *",
		"deny use * * - /cgi-bin/token,/cgi-bin/*/secret",
		"allow admin_read shop-*",
		"deny admin_read shop-internal",
		"allow admin *",
	}
	for name, c := range map[string]struct {
		rules []string
		q     Question
		want  Decision
	}{
		"allowed":                 {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/menu/get"}, Decision{true, 0, false}},
		"the pattern's own":       {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin"}, Decision{true, 0, false}},
		"another key":             {billing, Question{Use, in("wechat", "other"), "GET", "/cgi-bin/menu/get"}, Decision{false, -1, false}},
		"another case":            {billing, Question{Use, in("wechat", "Main"), "GET", "/cgi-bin/menu/get"}, Decision{false, -1, false}},
		"another method":          {billing, Question{Use, in("wechat", "main"), "DELETE", "/cgi-bin/menu/get"}, Decision{false, -1, false}},
		"head is not get":         {billing, Question{Use, in("wechat", "main"), "HEAD", "/cgi-bin/menu/get"}, Decision{false, -1, false}},
		"a method's other case":   {billing, Question{Use, in("wechat", "main"), "get", "/cgi-bin/menu/get"}, Decision{false, -1, false}},
		"another path":            {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-binary"}, Decision{false, -1, false}},
		"a denial wins":           {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/token"}, Decision{false, 2, false}},
		"with a slash":            {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/token/"}, Decision{false, 2, false}},
		"escaped":                 {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/%74oken"}, Decision{false, 2, false}},
		"one segment":             {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/x/secret"}, Decision{false, 2, false}},
		"two segments":            {billing, Question{Use, in("wechat", "main"), "GET", "/cgi-bin/x/y/secret"}, Decision{true, 0, false}},
		"ambiguous":               {billing, Question{Use, in("crm", "a"), "GET", "/a/../cgi-bin/token"}, Decision{false, 2, true}},
		"no right implies":        {billing, Question{Read, in("wechat", "main"), "", ""}, Decision{false, -1, false}},
		"paths are of use only":   {billing, Question{Read, in("crm", "a"), "GET", "/cgi-bin/token"}, Decision{true, 1, false}},
		"both rights":             {billing, Question{Use | Read, in("crm", "a"), "GET", "/x"}, Decision{true, 1, false}},
		"one of them denied":      {billing, Question{Use | Read, in("crm", "a"), "GET", "/cgi-bin/token"}, Decision{false, 2, false}},
		"a prefix of ids":         {billing, Question{AdminRead, in("shop-eu", ""), "", ""}, Decision{true, 3, false}},
		"denied among them":       {billing, Question{AdminRead, in("shop-internal", ""), "", ""}, Decision{false, 4, false}},
		"what is of no realm":     {billing, Question{Admin, in("", ""), "", ""}, Decision{true, 5, false}},
		"not for some realms":     {billing, Question{AdminRead, in("", ""), "", ""}, Decision{false, -1, false}},
		"the realm needs all":     {[]string{"allow admin crm main"}, Question{Admin, in("crm", ""), "", ""}, Decision{false, -1, false}},
		"no right at all":         {billing, Question{0, in("crm", "a"), "GET", "/"}, Decision{false, -1, false}},
		"the first of two":        {[]string{"allow use a", "allow use *"}, Question{Use, in("a", "k"), "GET", "/"}, Decision{true, 0, false}},
		"the first denial":        {[]string{"deny use a - GET", "deny use *"}, Question{Use, in("a", "k"), "GET", "/"}, Decision{false, 0, false}},
		"groups keep the order":   {[]string{"allow use a - - /x", "allow use *", "allow use a - - /y"}, Question{Use, in("a", "k"), "GET", "/y"}, Decision{true, 1, false}},
		"and end at the first":    {[]string{"allow use a - - /x", "allow use * - - /z", "allow use a", "allow use * - - /q"}, Question{Use, in("a", "k"), "GET", "/q"}, Decision{true, 2, false}},
		"a denial of another":     {[]string{"allow use *", "deny use * - DELETE"}, Question{Use, in("a", "k"), "delete", "/"}, Decision{false, 1, false}},
		"clear beside unclear":    {[]string{"allow use *", "allow use * - - /a"}, Question{Use, in("a", "k"), "GET", "/a//b"}, Decision{true, 0, false}},
		"another realm's paths":   {[]string{"allow use a", "deny use b - - /a"}, Question{Use, in("a", "k"), "GET", "/a//b"}, Decision{true, 0, false}},
		"another method's paths":  {[]string{"allow use a", "deny use a - PUT /a"}, Question{Use, in("a", "k"), "GET", "/a//b"}, Decision{true, 0, false}},
		"a clear denial":          {[]string{"deny use a - - /x", "deny use a"}, Question{Use, in("a", "k"), "GET", "/;"}, Decision{false, 1, false}},
		"the root":                {[]string{"allow use a - - /"}, Question{Use, in("a", "k"), "GET", ""}, Decision{true, 0, false}},
		"a slash is another path": {[]string{"allow use a - - /x"}, Question{Use, in("a", "k"), "GET", "/x/"}, Decision{false, -1, false}},
		"a denial with a slash":   {[]string{"allow use a", "deny use a - - /x/"}, Question{Use, in("a", "k"), "GET", "/x"}, Decision{false, 1, false}},
		"no rules":                {nil, Question{Use, in("a", "k"), "GET", "/"}, Decision{false, -1, false}},
	} {
		if got := compiled(t, c.rules...).Decide(c.q); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, paths := range map[string]struct{ match, miss []string }{
		"/a/b":              {[]string{"/a/b"}, []string{"/a", "/a/b/c", "/a/B", "/a/b/", "/"}},
		"/*":                {[]string{"/a", "/"}, []string{"/a/", "/a/b"}},
		"/a*":               {[]string{"/a", "/ab"}, []string{"/ba", "/a/b", "/"}},
		"/*a":               {[]string{"/a", "/ba"}, []string{"/ab"}},
		"/ab*ba":            {[]string{"/abba", "/abxba"}, []string{"/aba", "/abb"}},
		"/*ab*ab*":          {[]string{"/abab", "/xabyabz"}, []string{"/abxx", "/abab/", "/aabb"}},
		"/*a*b*c":           {[]string{"/abc", "/aabbcc"}, []string{"/acb", "/abcd", "/c"}},
		"/**":               {[]string{"/", "/a", "/a/b/c", "/a/"}, nil},
		"/a/**":             {[]string{"/a", "/a/", "/a/b/c"}, []string{"/ab", "/b/a"}},
		"/**/a":             {[]string{"/a", "/b/a", "/a/a"}, []string{"/a/b", "/a/", "/ba"}},
		"/a/**/b":           {[]string{"/a/b", "/a/b/b", "/a/x/y/b"}, []string{"/a", "/b", "/a/x/bc"}},
		"/a/**/a":           {[]string{"/a/a", "/a/b/a"}, []string{"/a"}},
		"/**/a/**/a/**":     {[]string{"/a/a", "/x/a/y/a/z"}, []string{"/a", "/a/b", "/a/b/c"}},
		"/**/a/b/**/c":      {[]string{"/a/b/c", "/a/a/b/c", "/x/a/b/y/c"}, []string{"/a/x/b/c", "/a/b", "/c/a/b"}},
		"/**/a*/**/*b/x/**": {[]string{"/a/b/x", "/z/ab/a/ab/x/y"}, []string{"/ab/x", "/a/x/b"}},
		"/a/*/c":            {[]string{"/a/b/c"}, []string{"/a/c", "/a/b/b/c"}},
		"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/**/18": {
			[]string{"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/18"},
			[]string{"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/17/18"},
		},
	} {
		c := compiled(t, "allow use * - - "+pattern)
		for want, list := range map[bool][]string{true: paths.match, false: paths.miss} {
			for _, path := range list {
				if d := c.Decide(Question{Right: Use, Path: path}); d.Allowed != want || d.Ambiguous {
					t.Errorf("%s and %s: %+v", pattern, path, d)
				}
			}
		}
	}
}

// TestAmbiguousPaths: each is one that some server reads as another path.
func TestAmbiguousPaths(t *testing.T) {
	c := compiled(t, "allow use * - - /**")
	for path, want := range map[string]string{
		"/a/../b": ambiguousDots, "/a/./b": ambiguousDots, "/a/%2e%2E/b": ambiguousDots, "/..": ambiguousDots, "/a/.%2e": ambiguousDots,
		"//a": ambiguousEmpty, "/a//b": ambiguousEmpty, "/a//": ambiguousEmpty,
		"/a%2fb": ambiguousSlash, "/a%2Fb": ambiguousSlash, "/a%5cb": ambiguousBackslash, `/a\b`: ambiguousBackslash,
		"/a%00": ambiguousControl, "/a%0d%0a": ambiguousControl, "/a\x7f": ambiguousControl,
		"/a%252fb": ambiguousPercent, "/a;b": ambiguousSemicolon, "/a%3bb": ambiguousSemicolon, "/a%3fb": ambiguousEnd, "/a%23b": ambiguousEnd,
		"/a%": ambiguousEscape, "/a%2": ambiguousEscape, "/a%zz": ambiguousEscape, "/a%u002f": ambiguousEscape,
		"/%c0%af": ambiguousUTF8, "/\xff": ambiguousUTF8, "*": ambiguousStart, "a": ambiguousStart, "/" + strings.Repeat("a", maxPath): ambiguousLength,
	} {
		p, _ := readPath(path)
		if d := c.Decide(Question{Right: Use, Path: path}); p.ambiguous != want || !d.Ambiguous || d.Allowed {
			t.Errorf("%.30q: %q, want %q; %+v", path, p.ambiguous, want, d)
		}
	}
	for _, path := range []string{"", "/", "/a", "/a/", "/...", "/a.b/.c", "/a%20b", "/%C3%A9", "/é", "/a:b@c,d=e&f+g!h~", "/" + strings.Repeat("a/", 5000)} {
		if d := c.Decide(Question{Right: Use, Path: path}); !d.Allowed {
			t.Errorf("%.30q: %+v", path, d)
		}
	}
}

func TestMayAnyAndAll(t *testing.T) {
	c := compiled(t, "allow read crm main", "allow use,flush * - ", "deny use crm - DELETE", "deny flush crm", "deny flush shop main", "allow audit *")
	for name, got := range map[string]bool{
		"by a key":                         c.MayAny(Read, "crm", "main"),
		"some key":                         c.MayAny(Read, "crm", ""),
		"a denial of a method leaves some": c.MayAny(Use, "crm", "main"),
		"another key":                      c.MayAny(Flush, "shop", "other"),
		"a key's denial leaves others":     c.MayAny(Flush, "shop", ""),
		"one of the rights":                c.MayAny(Read|Use, "x", "y"),
		"everywhere":                       c.MayAll(Audit),
	} {
		if !got {
			t.Errorf("%s: no", name)
		}
	}
	for name, got := range map[string]bool{
		"other key":               c.MayAny(Read, "crm", "other"),
		"other realm":             c.MayAny(Read, "shop", ""),
		"denied":                  c.MayAny(Flush, "crm", "main"),
		"denied for all":          c.MayAny(Flush, "crm", ""),
		"denied for this":         c.MayAny(Flush, "shop", "main"),
		"denied somewhere":        c.MayAll(Flush),
		"denied by method":        c.MayAll(Use),
		"both":                    c.MayAll(Audit | Read),
		"nothing":                 c.MayAll(0) || c.MayAny(0, "crm", "main"),
		"some realms are not all": compiled(t, "allow admin s*").MayAll(Admin),
		"some keys are not all":   compiled(t, "allow admin * main").MayAll(Admin),
	} {
		if got {
			t.Errorf("%s: yes", name)
		}
	}
}

// TestMatchingIsNotExponential: a matcher that goes back to every * and ** takes
// years for these.
func TestMatchingIsNotExponential(t *testing.T) {
	c := compiled(t, "allow use * - - "+strings.Repeat("/**/a", 100)+"/b,/"+strings.Repeat("*a", 200)+"*b")
	for _, path := range []string{strings.Repeat("/a", 5000), "/" + strings.Repeat("a", 10_000)} {
		if d := c.Decide(Question{Right: Use, Path: path}); d.Allowed || d.Ambiguous {
			t.Error(d)
		}
	}
}

func TestRights(t *testing.T) {
	set, err := ParseRights([]string{"use", "read", "flush", "authorize", "push", "admin_read", "admin", "audit"})
	if err != nil || set != Every || set.String() != "use, read, flush, authorize, push, admin_read, admin, audit" {
		t.Errorf("%v, %v", set, err)
	}
	if set, err := ParseRights([]string{"audit", "use"}); err != nil || set != Audit|Use {
		t.Errorf("%v, %v", set, err)
	}
}
