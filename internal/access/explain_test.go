package access

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestExplain(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	rules := []tokenstore.Rule{
		{Effect: "allow", Rights: []string{"use"}, Realms: []string{"wechat"}, Keys: []string{"main"}, Methods: []string{"GET", "POST"}, Paths: []string{"/cgi-bin/**"}},
		{Effect: "deny", Rights: []string{"use", "read"}, Realms: []string{"*"}, Keys: []string{"root"}},
		{Effect: "deny", Rights: []string{"use"}, Realms: []string{"w*"}, Paths: []string{"/cgi-bin/token"}},
	}
	_, over := newKey(now)
	s := newMemoryStore(
		tokenstore.Client{ID: "c", Users: []string{"u"}, Rules: rules, Limits: tokenstore.ClientLimits{Requests: "2/h", Concurrency: 2, Fetches: "1/m"}},
		tokenstore.Client{ID: "expired", Users: []string{"x"}, Rules: rules, ExpiresAt: now},
		tokenstore.Client{ID: "old keys", Keys: over, Rules: rules},
		tokenstore.Client{ID: "nobody", Rules: rules},
	)
	s.now = func() time.Time { return now }
	_, v := newView(t, s, ViewConfig{Clients: []tokenstore.Client{{ID: "own", Users: []string{"own"}, Rules: rules[:1]}}})
	const allows = `rule 0 allows use on realms "wechat", keys "main", methods "GET" "POST", paths "/cgi-bin/**"`
	main := func(method, path string) Question {
		return Question{Ref: realm.Ref{Realm: "wechat", Key: "main"}, Method: method, Path: path}
	}
	for name, c := range map[string]struct {
		client string
		q      Question
		want   Explanation
	}{
		"allowed":     {"c", main("GET", "/cgi-bin/a?x=../b;"), Explanation{true, 0, []string{allows}}},
		"of the file": {"own", main("GET", "/cgi-bin/a"), Explanation{true, 0, []string{allows}}},
		"denied": {
			"c",
			Question{Right: Read, Ref: realm.Ref{Realm: "crm", Key: "root"}},
			Explanation{false, 1, []string{`rule 1 denies use, read on realms "*", keys "root"`}},
		},
		"ambiguous": {"c", main("GET", "/cgi-bin/%2e%2e/b"), Explanation{false, 2, []string{
			"the path has a dot segment: the provider may read it in another way than the rules do",
			`rule 2 denies use on realms "w*", paths "/cgi-bin/token", which goes by paths, so that the request is refused`,
		}}},
		"no rule": {"c", Question{Ref: realm.Ref{Realm: "crm", Key: "main"}}, Explanation{false, -1, []string{
			"no rule allows use, and nothing is allowed that no rule allows",
		}}},
		"the nearest": {"c", main("DELETE", "/cgi-bin/a"), Explanation{false, -1, []string{
			"no rule allows use, and nothing is allowed that no rule allows", "rule 0 comes closest; it does not fit the method",
		}}},
		"less near": {"c", Question{Right: Read, Ref: realm.Ref{Realm: "wechat", Key: "x"}, Method: "GET", Path: "/x"}, Explanation{false, -1, []string{
			"no rule allows read, and nothing is allowed that no rule allows", "rule 0 comes closest; it does not fit the right, the key, the path",
		}}},
		"expired":  {"expired", main("GET", "/cgi-bin/a"), Explanation{false, 0, []string{allows, "the client expired at 2030-01-02T03:04:05Z"}}},
		"old keys": {"old keys", main("GET", "/cgi-bin/a"), Explanation{false, 0, []string{allows, "all keys of the client have expired; rotate makes a new one"}}},
		"nobody":   {"nobody", main("GET", "/cgi-bin/a"), Explanation{false, 0, []string{allows, "the client has no key, user, subject or source, so that nobody is this client"}}},
	} {
		got, err := v.Explain(c.client, c.q)
		if err != nil || got.Allowed != c.want.Allowed || got.Rule != c.want.Rule || !slices.Equal(got.Reasons, c.want.Reasons) {
			t.Errorf("%s: %v, %+v\nwant %+v", name, err, got, c.want)
		}
	}
	if _, err := v.Explain("unknown", main("GET", "/")); !isCode(err, realm.CodeNotFound) {
		t.Error(err)
	}

	client := mustBe(t, v, Caller{User: "u"}, "c")
	for range 2 {
		if e := client.Begin(now); e != nil {
			t.Fatal(e)
		}
	}
	client.Fetched(now)
	got, err := v.Explain("c", main("GET", "/cgi-bin/a"))
	want := []string{
		allows, "2 requests of the client are under way on this node, and 2 may be",
		"the client has used up its 2/h requests on this node; the next one is free in 30m0s",
		"the client has used up its 1/m token requests on this node; the next one is free in 1m0s, so that a token that is not there yet is not fetched",
	}
	if err != nil || got.Allowed || !slices.Equal(got.Reasons, want) {
		t.Errorf("%v, %+v", err, got)
	}
	client.End()
	client.End()

	got.Add("more")
	got.Refuse("the host is wrong")
	if got.Allowed || !slices.Equal(got.Reasons[len(want):], []string{"more", "the host is wrong"}) {
		t.Errorf("%+v", got)
	}
}

func TestLongListsAreCut(t *testing.T) {
	if got := quoted([]string{"a", "b", "c", "d", "e", "f", "g"}); got != `"a" "b" "c" "d" "e" and 2 more` {
		t.Error(got)
	}
}
