package realm

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"
)

// Decode reads JSON into what v points to, strictly: unknown fields, doubled
// names, wrong types, text that is not UTF-8, nesting deeper than 64 and
// anything behind the value are a *FieldError that names the path, below
// prefix ("config.arguments[1].place"). v is changed only when all of it could
// be read.
//
// As with encoding/json, a field that the JSON does not name keeps its value;
// unlike there, names are case-sensitive, null clears, and a list, map
// or pointer is replaced and never merged into.
func Decode(data []byte, prefix string, v any) error {
	if err := checkText(data, prefix); err != nil {
		return err
	}
	target := reflect.ValueOf(v).Elem()
	if target.Kind() == reflect.Struct && isNull(data) {
		return Fieldf(prefix, "must be %s", wanted(target.Type()))
	}
	fresh := reflect.New(target.Type()).Elem()
	fresh.Set(target)
	if err := decodeValue(data, prefix, fresh); err != nil {
		return err
	}
	target.Set(fresh)
	return nil
}

// DecodeObject reads the top level of a JSON object and leaves the values as
// they are, for callers that must tell an absent member from one that is null.
// It is as strict as Decode; the values are known to be well-formed, and their
// types are not looked at.
func DecodeObject(data []byte, prefix string) (map[string]json.RawMessage, error) {
	if err := checkText(data, prefix); err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, Fieldf(prefix, "must be an object, in braces")
	}
	return object, nil
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textType        = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decodeValue reads text that is known to be well-formed. It goes down itself
// wherever a path can get longer, and leaves the leaves to encoding/json.
func decodeValue(data []byte, path string, v reflect.Value) error {
	t := v.Type()
	switch {
	case reflect.PointerTo(t).Implements(unmarshalerType), reflect.PointerTo(t).Implements(textType):
		v.SetZero()
		return decodeOwn(data, path, v)
	case isNull(data):
		v.SetZero()
		return nil
	}
	switch t.Kind() { //nolint:exhaustive // the other kinds are leaves
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		return decodeValue(data, path, v.Elem())
	case reflect.Struct:
		return decodeStruct(data, path, v)
	case reflect.Map:
		return decodeMap(data, path, v)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // base64
			return decodeSlice(data, path, v)
		}
	}
	if json.Unmarshal(data, v.Addr().Interface()) != nil {
		return Fieldf(path, "must be %s", wanted(t))
	}
	return nil
}

// decodeOwn reads a value whose type reads itself: its error is the reason.
func decodeOwn(data []byte, path string, v reflect.Value) error {
	err := json.Unmarshal(data, v.Addr().Interface())
	var field *FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &field):
		return Fieldf(joinPath(path, field.Field), "%s", field.Reason)
	case v.Type() == timeType:
		return Fieldf(path, "must be %s", wanted(timeType))
	}
	return Fieldf(path, "%s", err.Error())
}

// decodeStruct sets the fields that the object names. Names are case-sensitive,
// unlike in encoding/json: "Url" beside "url" would overwrite it.
func decodeStruct(data []byte, path string, v reflect.Value) error {
	fields := fieldsOf(v.Type())
	return eachMember(data, path, wanted(v.Type()), func(name string, value []byte) error {
		index, ok := fields[name]
		if !ok {
			return unknownField(joinPath(path, name), name, fields)
		}
		return decodeValue(value, joinPath(path, name), v.FieldByIndex(index))
	})
}

// decodeMap makes a new map, so that what an update leaves out is gone.
func decodeMap(data []byte, path string, v reflect.Value) error {
	m := reflect.MakeMap(v.Type())
	err := eachMember(data, path, wanted(v.Type()), func(name string, value []byte) error {
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := decodeValue(value, joinPath(path, name), elem); err != nil {
			return err
		}
		m.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), elem)
		return nil
	})
	v.Set(m)
	return err
}

// decodeSlice reads the items one by one, so that an error names the index.
func decodeSlice(data []byte, path string, v reflect.Value) error {
	var items []json.RawMessage
	if json.Unmarshal(data, &items) != nil {
		return Fieldf(path, "must be %s", wanted(v.Type()))
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := decodeValue(item, indexPath(path, i), list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// eachMember calls f with the members of an object, in their order.
func eachMember(data []byte, path, want string, f func(name string, value []byte) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return Fieldf(path, "must be %s", want)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return syntaxError(path, data, err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return syntaxError(path, data, err)
		}
		if err := f(name.(string), value); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf maps the JSON names of a struct to its fields. Fields of embedded
// structs stand flat among them; the outer one wins.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := make(map[string][]int)
	addFields(fields, t, nil)
	return fields
}

// addFields adds the fields of t, which is reached by the indexes at.
func addFields(fields map[string][]int, t reflect.Type, at []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(at[:len(at):len(at)], i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct {
			addFields(fields, f.Type, index)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if old, ok := fields[name]; !ok || len(index) < len(old) {
			fields[name] = index
		}
	}
}

// unknownField is the error of a name that the struct does not have. A name that
// differs in case only is the usual mistake: the error shows the right spelling.
func unknownField(path, name string, fields map[string][]int) error {
	for known := range fields {
		if strings.EqualFold(known, name) {
			return Fieldf(path, "is not known; it is spelled %q", known)
		}
	}
	return Fieldf(path, "is not known")
}

// wanted says in a user's words what a type is written like.
func wanted(t reflect.Type) string {
	if t == timeType {
		return "a time as RFC 3339 text, in quotes"
	}
	switch t.Kind() { //nolint:exhaustive // the numbers are the rest
	case reflect.String:
		return "text, in quotes"
	case reflect.Bool:
		return "true or false, without quotes"
	case reflect.Slice, reflect.Array:
		return "a list, in brackets"
	case reflect.Struct, reflect.Map:
		return "an object, in braces"
	case reflect.Float32, reflect.Float64:
		return "a number, without quotes"
	}
	return "a whole number, without quotes"
}

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }
