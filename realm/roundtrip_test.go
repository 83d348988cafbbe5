package realm

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// canonical reads JSON and drops what says nothing: empty texts, false, empty
// lists and objects, zero durations.
func canonical(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return prune(v)
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = prune(v[name])
		}
		maps.DeleteFunc(v, func(_ string, x any) bool { return x == nil })
		if len(v) > 0 {
			return v
		}
	case []any:
		for i := range v {
			if x := prune(v[i]); x != nil {
				v[i] = x
			}
		}
		if len(v) > 0 {
			return v
		}
	case string:
		if v != "" && v != "0s" {
			return v
		}
	case bool:
		if v {
			return v
		}
	default:
		return v
	}
	return nil
}

// The documents that the earlier service's users post, word for word, are
// accepted, and served back with the same meaning.
func TestContractRealms(t *testing.T) {
	for _, name := range []string{"qywx.json", "wxgzh.json"} {
		data := readFile(t, name)
		var r Realm
		if err := Decode(data, "", &r); err != nil {
			t.Fatal(name, err)
		}
		if err := r.Validate(); err != nil {
			t.Error(name, err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := canonical(t, text), canonical(t, data); !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %s", name, text)
		}
	}
}

// Every field of the design, with one of the words where it lists several.
func TestEveryFieldIsServedBack(t *testing.T) {
	data := readFile(t, "big.json")
	r := Realm{ID: "big"}
	if err := Decode(data, "config", &r.Config); err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	text, err := json.Marshal(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	want := canonical(t, data).(map[string]any)
	want["shared"] = map[string]any{"app_key": Mask} // masked on purpose
	want["overlap"], want["refresh_grace"] = "5m", "1m"
	want["limits"].(map[string]any)["backoff_cap"] = "1m"
	if got := canonical(t, text); !reflect.DeepEqual(got, want) {
		t.Errorf("became %s", text)
	}
	if got := r.Config.Shared["app_key"].Reveal(); got != "..." {
		t.Errorf("the shared field was read as %q", got)
	}
}
