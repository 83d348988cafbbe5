package realm

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// wantField checks that err is a *FieldError with this path, and that its
// reason holds the words.
func wantField(t *testing.T, what string, err error, path, words string) {
	t.Helper()
	var field *FieldError
	if !errors.As(err, &field) {
		t.Errorf("%s: %v, want a FieldError at %q", what, err, path)
		return
	}
	if field.Field != path || !strings.Contains(field.Reason, words) {
		t.Errorf("%s: field %q, reason %q; want %q, %q", what, field.Field, field.Reason, path, words)
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, path, words string }{
		{`{"urll": "x"}`, "config.urll", "is not known"},
		{`{"URL": "x"}`, "config.URL", `is spelled "url"`},
		{`{"url": 5}`, "config.url", "must be text, in quotes"},
		{`{"url": {"a": 1}}`, "config.url", "must be text, in quotes"},
		{`{"upgrade": "true"}`, "config.upgrade", "must be true or false"},
		{`{"upgrade": 1}`, "config.upgrade", "must be true or false"},
		{`{"hosts": "a"}`, "config.hosts", "must be a list"},
		{`{"hosts": ["a", 5]}`, "config.hosts[1]", "must be text"},
		{`{"hosts": {}}`, "config.hosts", "must be a list"},
		{`{"arguments": [{"name": "a", "place": "url"}, {"plcae": "url"}]}`, "config.arguments[1].plcae", "is not known"},
		{`{"arguments": [{"value": 5}]}`, "config.arguments[0].value", "must be text"},
		{`{"arguments": ["a"]}`, "config.arguments[0]", "must be an object"},
		{`{"grant": "static"}`, "config.grant", "must be an object"},
		{`{"grant": {"scopes": [null, true]}}`, "config.grant.scopes[1]", "must be text"},
		{`{"refresh": {"arguments": [{"x": 1}]}}`, "config.refresh.arguments[0].x", "is not known"},
		{`{"refresh": {"refresh": {}}}`, "config.refresh.refresh", "is not known"},
		{`{"limits": {"concurrency": 1.5}}`, "config.limits.concurrency", "whole number"},
		{`{"limits": {"concurrency": 1e400}}`, "config.limits.concurrency", "whole number"},
		{`{"limits": {"concurrency": "4"}}`, "config.limits.concurrency", "whole number, without quotes"},
		{`{"limits": {"timeout": 10}}`, "config.limits.timeout", "a duration as text, in quotes"},
		{`{"limits": {"timeout": "ten"}}`, "config.limits.timeout", "write 10s"},
		{`{"limits": {"windows": [{"calls": 5, "per": "1x"}]}}`, "config.limits.windows[0].per", "not a duration"},
		{`{"lifetime": "0s"}`, "config.lifetime", "more than 0"},
		{`{"replay_max": "big"}`, "config.replay_max", "not a size"},
		{`{"renew_on": [{"status": [401, "x"]}]}`, "config.renew_on[0].status[1]", "whole number"},
		{`{"renew_on": [{"values": [1, [2]]}]}`, "config.renew_on[0].values[1]", "string, number, boolean or null"},
		{`{"shared": {"app_key": 5}}`, "config.shared.app_key", "must be text, in quotes"},
		{`{"shared": {"a.b c": true}}`, `config.shared."a.b c"`, "must be text"},
		{`{"shared": []}`, "config.shared", "must be an object"},
		{`{"url": "a", "method": "GET", "url": "b"}`, "config.url", "given twice"},
		{`{"shared": {"a": "1", "\u0061": "2"}}`, "config.shared.a", "given twice"},
		{`{"success": [{"json": "a"}, {"json": "a", "json": "b"}]}`, "config.success[1].json", "given twice"},
		{`{"unknown": {"x": [{"y": 1, "y": 2}]}}`, "config.unknown.x[0].y", "given twice"},
		{`{"url": "a"} {"url": "b"}`, "config", "line 1, column 14"},
		{`{"url": "a"}x`, "config", "is not JSON"},
		{"{\n\"url\": \"a\",\n}", "config", "line 3, column 1"},
		{`{"url"`, "config", "unexpected end"},
		{``, "config", "unexpected end"},
		{`null`, "config", "must be an object"},
		{`[]`, "config", "must be an object"},
		{`"x"`, "config", "must be an object"},
		{"{\"url\": \"\xff\"}", "config", "not UTF-8"},
		{`{"url": "\ud800"}`, "config", "half of a surrogate pair at line 1, column 10"},
		{`{"url": "\udc00\ud800"}`, "config", "half of a surrogate pair"},
		{`{"url": "\udfff"}`, "config", "half of a surrogate pair"},
		{`{"url": "\udbff"}`, "config", "half of a surrogate pair"},
		{`{"url": "\ud800\udbff"}`, "config", "half of a surrogate pair"},
		{`{"url": "\ud83dx\ude00"}`, "config", "half of a surrogate pair"},
		{`{"url": "\ud83d\u0041"}`, "config", "half of a surrogate pair"},
		{`{"x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "config.x" + strings.Repeat("[0]", 63), "nested more than 64"},
		{`{"x":` + strings.Repeat("[", 20000) + `}`, "config", "exceeded max depth"},
		{`{"` + strings.Repeat("é", 100) + `": 1}`, `config."` + strings.Repeat("é", 50) + `"`, "is not known"},
	} {
		var got Config
		err := Decode([]byte(c.text), "config", &got)
		wantField(t, c.text, err, c.path, c.words)
		if !reflect.DeepEqual(got, Config{}) {
			t.Errorf("%s: half done: %+v", c.text, got)
		}
	}
}

func TestDecodeWithoutPrefix(t *testing.T) {
	var r Realm
	wantField(t, "unknown", Decode([]byte(`{"config": {"x": 1}}`), "", &r), "config.x", "is not known")
	wantField(t, "syntax", Decode([]byte(`{`), "", &r), "", "is not JSON")
	wantField(t, "time", Decode([]byte(`{"created_at": "today"}`), "", &r), "created_at", "RFC 3339")
}

func TestDecodeAcceptsEveryText(t *testing.T) {
	var c Config
	text := `{"shared": {"a": "\\ud800 \ud83d\ude00 \u0000 \" \\", "b": "令牌 �", "c": "\ud800\udc00\udbff\udfff"}}`
	if err := Decode([]byte(text), "config", &c); err != nil {
		t.Fatal(err)
	}
	if got, want := c.Shared["a"].Reveal(), "\\ud800 \U0001F600 \x00 \" \\"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := c.Shared["b"].Reveal(), "令牌 �"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := c.Shared["c"].Reveal(), "\U00010000\U0010FFFF"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The rules for updates: absent leaves, null clears, the rest replaces.
func TestDecodeIntoWhatIsThere(t *testing.T) {
	type update struct {
		Keep, Clear, Set string
		List             []string
		Map              map[string]*Hidden
		Token            *Hidden
		At               *time.Time
		Any              any
		Raw              json.RawMessage
		Bytes            []byte
		Float            float64
	}
	token := Hidden("old")
	got := update{
		Keep: "kept", Clear: "x", Set: "x", List: []string{"x", "y"}, Token: &token,
		Map: map[string]*Hidden{"old": &token}, At: &time.Time{},
	}
	err := Decode([]byte(`{"Clear": null, "Set": "new", "List": ["z"], "Map": {"a": "1", "b": null}, "Token": "new",
		"At": null, "Any": {"x": [1]}, "Raw": {"y": null}, "Bytes": "AQI=", "Float": 1.5}`), "", &got)
	if err != nil {
		t.Fatal(err)
	}
	if got.Keep != "kept" || got.Clear != "" || got.Set != "new" || !reflect.DeepEqual(got.List, []string{"z"}) {
		t.Errorf("got %+v", got)
	}
	if len(got.Map) != 2 || got.Map["a"].Reveal() != "1" || got.Map["b"] != nil || got.At != nil {
		t.Errorf("got %+v", got)
	}
	if got.Token.Reveal() != "new" || token != "old" {
		t.Error("a pointer is shared with what was there before")
	}
	if !reflect.DeepEqual(got.Any, map[string]any{"x": []any{1.0}}) || string(got.Raw) != `{"y": null}` ||
		!reflect.DeepEqual(got.Bytes, []byte{1, 2}) || got.Float != 1.5 {
		t.Errorf("got %+v", got)
	}
	wantField(t, "float", Decode([]byte(`{"Float": "1"}`), "", &got), "Float", "a number, without quotes")
	wantField(t, "bytes", Decode([]byte(`{"Bytes": "%"}`), "", &got), "Bytes", "in brackets")
}

func TestDecodeUnderstandsStructTags(t *testing.T) {
	type inner struct {
		A string `json:"a"`
		B string `json:"b"`
	}
	type outer struct {
		inner
		Named inner  `json:"named"`
		B     int    `json:"b"`
		C     string `json:"-"`
		D     string `json:",omitempty"`
		e     string
	}
	got := outer{e: "x"}
	if err := Decode([]byte(`{"a": "1", "b": 2, "named": {"b": "3"}, "D": "4"}`), "", &got); err != nil {
		t.Fatal(err)
	}
	if got.A != "1" || got.B != 2 || got.inner.B != "" || got.Named.B != "3" || got.D != "4" {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"C", "e", "inner"} {
		wantField(t, name, Decode([]byte(`{"`+name+`": "x"}`), "", &got), name, "is not known")
	}
}

// A type that decodes a part of itself with Decode names the part.
type selfDecoding struct{ N int }

func (s *selfDecoding) UnmarshalJSON(b []byte) error {
	type plain selfDecoding
	return Decode(b, "", (*plain)(s))
}

func TestDecodeJoinsPathsOfInnerErrors(t *testing.T) {
	var v struct {
		List []selfDecoding `json:"list"`
	}
	err := Decode([]byte(`{"list": [{"N": 1}, {"N": "x"}]}`), "", &v)
	wantField(t, "inner", err, "list[1].N", "whole number")
}

func TestDecodeObject(t *testing.T) {
	got, err := DecodeObject([]byte(`{"id": "a", "config": null, "created_at": 5}`), "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]json.RawMessage{"id": json.RawMessage(`"a"`), "config": json.RawMessage(`null`), "created_at": json.RawMessage(`5`)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", got)
	}
	if got, err := DecodeObject([]byte(`{}`), ""); err != nil || got == nil {
		t.Errorf("{} gives %v, %v", got, err)
	}
	for text, words := range map[string]string{
		`{"a": 1, "a": 2}`: "given twice", `[]`: "must be an object", `null`: "must be an object", `5`: "must be an object",
		`{"a": "\xff"}`: "not JSON", "{\"a\": \"\xff\"}": "not UTF-8", `{} {}`: "not JSON",
	} {
		_, err := DecodeObject([]byte(text), "config")
		path := "config"
		if words == "given twice" {
			path = "config.a"
		}
		wantField(t, text, err, path, words)
	}
}
