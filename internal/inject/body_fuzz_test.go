package inject

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzFormBody: whatever form a caller sends, the API reads our value and no
// other one, and all other fields as they were.
func FuzzFormBody(f *testing.F) {
	for _, body := range []string{"", "a=1&b=2", "token=x&%74oken=y", "a=1;token=2&b", "TOKEN[]=1&=&&", "a=%zz&+token="} {
		f.Add(body, uint8(3))
	}
	l := bodyLease("token")
	f.Fuzz(func(t *testing.T, body string, size uint8) {
		got, err := edited(newFormBody(l), body, int(size)+1)
		if err != nil {
			if len(body) <= maxHeldName {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		rest, ok := strings.CutPrefix(got, "token=T%221")
		if !ok || rest != "" && rest[0] != '&' {
			t.Fatalf("%q became %q", body, got)
		}
		checkForm(t, body, strings.TrimPrefix(rest, "&"))
		again, err := edited(newFormBody(l), got, int(size)+1)
		noError(t, err)
		equal(t, got, again, "the second time")
	})
}

// checkForm compares the caller's fields with those that are left, as net/url
// reads them.
func checkForm(t *testing.T, sent, left string) {
	t.Helper()
	equal(t, queryPairs.withoutOurs(sent, bodyPlaces("token")), left, "as in a query")
	want, badSent := url.ParseQuery(sent)
	got, badLeft := url.ParseQuery(left)
	if badSent != nil || badLeft != nil || strings.Contains(sent, ";") {
		return
	}
	for name := range want {
		if isOurs(url.QueryEscape(name), bodyPlaces("token")) {
			delete(want, name)
		}
	}
	equal(t, want, got, sent)
}

// FuzzJSONBody: what encoding/json takes for an object, and is not nested too
// deeply, goes out as the same object with our field set; what it refuses goes
// nowhere.
func FuzzJSONBody(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"a":1}`, `{"token":{"a":[1,"}"]},"b":2}`, `{"\u0074oken":1, "TOKEN" : 2 , "a":{"token":3}}`, `{"a":{"b":{"token":1}}}`,
		`[]`, `{"a":1,}`, `{"a":-1.5e-7,"b":"\ud834\udd1e\""}`, "\xef\xbb\xbf{}", `{"a":{}}`, `{"a":{"token":null,"x":[[]]}}`,
	} {
		f.Add(body, uint8(3), false)
		f.Add(body, uint8(0), true)
	}
	f.Fuzz(func(t *testing.T, body string, size uint8, isNested bool) {
		path := []string{"token"}
		if isNested {
			path = []string{"a", "token"}
		}
		got, err := edited(newJSONBody(bodyLease(strings.Join(path, ".")), false), body, int(size)+1)
		body = strings.TrimPrefix(body, byteOrderMark)
		var want map[string]any
		isObject := json.Unmarshal([]byte(body), &want) == nil && want != nil && utf8.ValidString(body)
		switch {
		case err != nil && isObject && !mayBeRefused(body, isNested):
			t.Fatalf("%q: %v", body, err)
		case err != nil:
			return
		case !isObject:
			t.Fatalf("%q became %q", body, got)
		}
		var sent map[string]any
		noError(t, json.Unmarshal([]byte(strings.TrimPrefix(got, byteOrderMark)), &sent))
		set(want, path)
		if !reflect.DeepEqual(want, sent) {
			t.Fatalf("%q became %q", body, got)
		}
	})
}

// mayBeRefused reports whether an object may be refused: for its depth and size, or
// for what stands where our object should.
func mayBeRefused(body string, isNested bool) bool {
	return strings.Count(body, "{")+strings.Count(body, "[") > maxJSONDepth || len(body) > maxHeldName ||
		isNested && strings.ContainsAny(body, `aA\`)
}

// set sets our field in an object, and removes what some reader takes for it.
func set(object map[string]any, path []string) {
	if len(path) > 1 {
		inner, ok := object[path[0]].(map[string]any)
		if !ok {
			inner = make(map[string]any)
		}
		object[path[0]] = inner
		set(inner, path[1:])
		return
	}
	for name := range object {
		if readsAsMember(name, path[0]) {
			delete(object, name)
		}
	}
	object[path[0]] = `T"1`
}
