package inject

import (
	"strings"
	"testing"
)

// FuzzQuery: whatever query a caller sends, each kind of upstream sees our
// value and no other; what was kept are pairs of the caller in their order,
// byte for byte; what was removed is read as ours; doing it twice changes
// nothing.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{"", "a=1&b=2", "a=1;access_token=e", "%61ccess_token=e&x=%zz"} {
		f.Add(query)
	}
	l := apiLease(inQuery)
	f.Fuzz(func(t *testing.T, query string) {
		got := placeQuery(query, l)
		checkQuery(t, got)
		equal(t, got, placeQuery(got, l), "the second time")
		sent, left := pieces(query), pieces(kept(t, query))
		for _, pair := range sent {
			switch {
			case len(left) > 0 && pair == left[0]:
				left = left[1:]
			case !isOurs(pair, l.Target.Inject):
				t.Errorf("%q lost %q", query, pair)
			}
		}
		if len(left) > 0 {
			t.Errorf("%q gained %q", query, left)
		}
		for _, pair := range sent {
			name, _, _ := strings.Cut(pair, "=")
			if isOurs(pair, l.Target.Inject) && !couldBe(name, "access_token") {
				t.Errorf("%q was removed from %q", pair, query)
			}
		}
	})
}

func pieces(query string) []string {
	if query == "" {
		return nil
	}
	return strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
}

// couldBe is a necessary condition for a name to be read as ours, from the
// other side: it has something to hide in, or nearly our letters in clear.
func couldBe(name, ours string) bool {
	if strings.ContainsFunc(name, func(r rune) bool { return r == '%' || r >= 0x80 }) {
		return true
	}
	underscores := strings.NewReplacer("+", "_", ".", "_", " ", "_", "[", "_")
	return strings.Contains(underscores.Replace(strings.ToLower(name)), ours)
}
