package inject

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const ours = "access_token=" + tokenEscaped

// kept is what the lease for inQuery leaves of a query, without our pair.
func kept(t tester, query string) string {
	t.Helper()
	got := placeQuery(query, apiLease(inQuery))
	rest, ok := strings.CutSuffix(got, ours)
	if !ok {
		t.Fatalf("our pair is not at the end of %q", got)
	}
	if rest == "" {
		return ""
	}
	if rest, ok = strings.CutSuffix(rest, "&"); !ok {
		t.Fatalf("our pair is not parted from the rest in %q", got)
	}
	return rest
}

func TestQueryOtherPairsStay(t *testing.T) {
	for _, query := range []string{
		"", "a=1", "b=2&a=1", "a=%20+%2f%2F", "&", "&&", "a=1&", "&a=1", "a&b&&c=", "=", "=x", "a==b",
		"x=%zz", "%zz=x", "%=1", "%4", "a%", "q=x;y", ";", ";;a=1;", "a=1;b=2&c=3;", "中文=值", "a=%E4%B8%AD",
		"access_tokens=1", "xaccess_token=1", "access-token=1", "accesstoken=1", "access_token2=1", "token=1",
		"access__token=1", "_access_token=1", "%2561ccess_token=1", "access%zztoken=1", "access_token%zzx=1",
		"q=access_token", "q=access_token=1", "sign=a%3Baccess_token%3Db", "a[access_token]=1", "%00access_token=1",
		"access_token%u0061=1", "\xff=\xfe", "access_tok\xc5n=1",
	} {
		equal(t, query, kept(t, query), query)
	}
}

func TestQueryCopiesGo(t *testing.T) {
	for query, want := range map[string]string{
		"access_token=evil":                              "",
		"access_token":                                   "",
		"access_token=":                                  "",
		"access_token=e&a=1":                             "a=1",
		"a=1&access_token=e":                             "a=1",
		"a=1&access_token=e&b=2":                         "a=1&b=2",
		"access_token=e&access_token=f&a=1":              "a=1",
		"ACCESS_TOKEN=e&Access_Token=f&a":                "a",
		"%61ccess_token=e&a":                             "a",
		"access%5Ftoken=e&a":                             "a",
		"%61%63%63%65%73%73%5f%74%6f%6b%65%6e=e&a":       "a",
		"access.token=e&access+token=f&access%20token=g": "",
		"access_token[]=e&access_token[0]=f&a":           "a",
		"access_token%5B%5D=e&access_token%5Bx=f&a":      "a",
		"access[token=e&a":                               "a",
		"access_token%00=e&access_token%00x=f&a":         "a",
		"access_token%20=e&access_token+=f&+access_token=g&%09access_token=h&a": "a",
		"?access_token=e&a":                     "a",
		"acce%C5%BFs_token=e&a":                 "a",
		"acces%C5%BF_to%E2%84%AAen=e&a":         "a",
		"%C1%A1ccess_token=e&a":                 "a",
		"%E0%81%A1ccess_token=e&a":              "a",
		"%u0061ccess_token=e&a":                 "a",
		"access_token%=e&access_token%4=f&a":    "a",
		"%zzaccess_token=e&access_%zztoken=f&a": "a",
		"access_%token=e&%%61ccess_token=f&a":   "a",
		"acce%zss_token=e&a":                    "a",
		"acces%C5%zz%BF_token=e&a":              "a",
		"ac%5Jess_token=e&a":                    "a",
		"a=1;access_token=e":                    "a=1",
		"a=1;access_token=e;b=2":                "a=1;b=2",
		"a=1&access_token=e;b=2":                "a=1&b=2",
		"a=1;access_token=e&b=2":                "a=1&b=2",
		"access_token=e;b=2":                    "b=2",
		"a=1;access_token=e&access_token=f;b":   "a=1&b",
		"a=%zz&access_token=e&b=%zz":            "a=%zz&b=%zz",
		"access_token=e&&a=1&":                  "&a=1&",
		"&access_token=e&":                      "&",
		"access_token=a%26access_token%3Db&ok":  "ok",
	} {
		equal(t, want, kept(t, query), query)
	}
}

func TestQueryNamesOfProviders(t *testing.T) {
	for _, tt := range []struct{ name, query, want string }{
		{"key", "key=e&KEY=f&keys=1", "keys=1"},
		{"ids[]", "ids[]=e&ids=f&ids%5B%5D=g&id=1", "id=1"},
		{"token_", "token_=e&token.=f&token+=g&token=1", "token=1"},
		{"api.key", "api.key=e&api_key=f&apikey=1", "apikey=1"},
		{"令牌", "%E4%BB%A4%E7%89%8C=e&%e4%bb%a4=1", "%e4%bb%a4=1"},
	} {
		l := apiLease(realm.Place{In: realm.PlaceURL, Name: tt.name, Pair: url.QueryEscape(tt.name) + "="})
		want := tt.want + "&" + l.Target.Inject[0].Pair + tokenEscaped
		equal(t, want, placeQuery(tt.query, l), tt.name)
	}
}

func TestQuerySeveralPlaces(t *testing.T) {
	l := apiLease(inQuery, inHeader, realm.Place{In: realm.PlaceURL, Name: "sign", Pair: "sign="})
	got := placeQuery("SIGN=x&a=1&access_token=y;sign", l)
	equal(t, "a=1&access_token="+tokenEscaped+"&sign="+tokenEscaped, got, "two places")
	equal(t, "a=1&access_token=x", placeQuery("a=1&access_token=x", apiLease(inHeader)), "no place")
}

// spelling draws one of the ways in which some upstream reads our name.
func spelling(t *rapid.T) string {
	var b strings.Builder
	b.WriteString(rapid.SampledFrom([]string{"", "", "+", "%20", "%09", "?"}).Draw(t, "front"))
	for _, r := range "access_token" {
		switch rapid.IntRange(0, 5).Draw(t, "as") {
		case 0:
			fmt.Fprintf(&b, "%%%02x", r)
		case 1:
			fmt.Fprintf(&b, "%%%02X", strings.ToUpper(string(r))[0])
		case 2:
			b.WriteString(strings.ToUpper(string(r)))
		case 3:
			if r == '_' {
				r = rapid.SampledFrom([]rune{'.', '+', '['}).Draw(t, "underscore")
			}
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString(rapid.SampledFrom([]string{"", "", "[]", "%5B0%5D", "%00", "%00junk", "+", "%20%09"}).Draw(t, "end"))
	return b.String()
}

// Whatever the caller sends, every kind of upstream sees our value and no
// other, and all other pairs arrive as they were sent.
func TestQueryProperty(t *testing.T) {
	others := []string{"", "a=1", "b", "x=%zz", "access_tokens=1", "q=a+b%20c", "=", "sig=%2f", "access-token=1", "中=1"}
	rapid.Check(t, func(t *rapid.T) {
		var sent, want []string
		for range rapid.IntRange(0, 8).Draw(t, "pairs") {
			if rapid.Bool().Draw(t, "ours") {
				sent = append(sent, spelling(t)+rapid.SampledFrom([]string{"", "=", "=evil"}).Draw(t, "value"))
				continue
			}
			other := rapid.SampledFrom(others).Draw(t, "other")
			sent, want = append(sent, other), append(want, other)
		}
		query := strings.Join(sent, "&")
		if query == "" { // no pair, and not one empty one
			want = nil
		}
		got := placeQuery(query, apiLease(inQuery))
		if w := strings.Join(append(want, ours), "&"); got != w {
			t.Fatalf("%q became %q, want %q", query, got, w)
		}
		checkQuery(t, got)
	})
}

// checkQuery fails unless every parser sees exactly our value.
func checkQuery(t tester, got string) {
	t.Helper()
	for _, p := range queryParsers {
		equal(t, []string{token}, p.values(got, "access_token"), p.name+" reads "+got)
	}
}
