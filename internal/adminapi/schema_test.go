package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// described is the description, parsed once.
var described = func() map[string]any {
	var d map[string]any
	if err := json.Unmarshal(description, &d); err != nil {
		panic(err)
	}
	return d
}()

// at walks down the description and follows references.
func at(v any, path ...string) map[string]any {
	m, _ := v.(map[string]any)
	for {
		if ref, ok := m["$ref"].(string); ok {
			m = at(described, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			continue
		}
		if len(path) == 0 {
			return m
		}
		m, _ = m[path[0]].(map[string]any)
		path = path[1:]
	}
}

// checkDescribed holds an answer against the description of its route.
func checkDescribed(t testing.TB, rt *route, a answer) {
	t.Helper()
	answers := at(described, "paths", rt.path, strings.ToLower(rt.method), "responses", strconv.Itoa(a.status))
	if answers == nil {
		t.Errorf("%s %s answers %d, which is not described: %s", rt.method, rt.path, a.status, a.body)
		return
	}
	kind := a.header.Get("Content-Type")
	if kind == "" && a.body == "" && answers["content"] == nil {
		return
	}
	schema := at(answers, "content", kind, "schema")
	if schema == nil {
		t.Errorf("%s %s answers %d with %q, which is not described", rt.method, rt.path, a.status, kind)
		return
	}
	for _, v := range values(t, kind, a.body) {
		for _, fault := range faults(schema, v, "") {
			t.Errorf("%s %s answers %d against the description: %s", rt.method, rt.path, a.status, fault)
		}
	}
}

// values are what a body of a type says: one, or one a line.
func values(t testing.TB, kind, body string) (list []any) {
	t.Helper()
	if strings.HasPrefix(kind, "text/") {
		return []any{body}
	}
	for dec := json.NewDecoder(strings.NewReader(body)); ; {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) && (kind == typeLines || len(list) == 1) {
			return list
		}
		if err != nil || kind != typeLines && len(list) > 0 {
			t.Fatalf("%s: %v: %s", kind, err, body)
		}
		list = append(list, v)
	}
}

// faults says where a value does not fit a schema. It knows the keywords that
// the description uses.
func faults(schema map[string]any, v any, path string) (found []string) {
	schema = at(schema)
	if choices, ok := schema["oneOf"].([]any); ok {
		return choiceFaults(choices, v, path)
	}
	if want, ok := schema["type"]; ok && !hasType(want, v) {
		return []string{fmt.Sprintf("%s: %v is not %v", path, v, want)}
	}
	if want, ok := schema["const"]; ok && v != want {
		found = append(found, fmt.Sprintf("%s: %v is not %v", path, v, want))
	}
	if words, ok := schema["enum"].([]any); ok && !slices.Contains(words, v) {
		found = append(found, fmt.Sprintf("%s: %v is none of %v", path, v, words))
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			found = append(found, faults(at(schema["items"]), item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		found = append(found, objectFaults(schema, v, path)...)
	}
	return found
}

// choiceFaults are those of a value that fits none of several schemas, or more
// than one.
func choiceFaults(choices []any, v any, path string) (found []string) {
	fits := 0
	for _, choice := range choices {
		f := faults(at(choice), v, path)
		if found = append(found, f...); len(f) == 0 {
			fits++
		}
	}
	if fits == 1 {
		return nil
	}
	return append(found, fmt.Sprintf("%s: fits %d of %d", path, fits, len(choices)))
}

func objectFaults(schema map[string]any, v map[string]any, path string) (found []string) {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			found = append(found, fmt.Sprintf("%s.%v is missing", path, name))
		}
	}
	for name, value := range v {
		member, ok := memberSchema(schema, name)
		if !ok {
			found = append(found, fmt.Sprintf("%s.%s is not described", path, name))
			continue
		}
		found = append(found, faults(member, value, path+"."+name)...)
	}
	return found
}

// memberSchema is the schema of an object's member; false where there may be
// none of that name.
func memberSchema(schema map[string]any, name string) (map[string]any, bool) {
	if member, ok := at(schema["properties"])[name]; ok {
		return at(member), true
	}
	for pattern, member := range at(schema["patternProperties"]) {
		if regexp.MustCompile(pattern).MatchString(name) {
			return at(member), true
		}
	}
	if other, ok := schema["additionalProperties"].(map[string]any); ok {
		return at(other), true
	}
	return nil, schema["additionalProperties"] != false
}

func hasType(want, v any) bool {
	if many, ok := want.([]any); ok {
		return slices.ContainsFunc(many, func(w any) bool { return hasType(w, v) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || (want == "integer" && v == float64(int64(v)))
	case []any:
		return want == "array"
	}
	return want == "object"
}
