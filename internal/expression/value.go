package expression

import (
	"bytes"
	"encoding/json"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// writeJSON is json(value).
func writeJSON(args []ref.Val) (any, error) { return jsonText(args[0]) }

// jsonText writes a value as JSON: the names of a map are sorted by their bytes,
// there are no blanks, and < > & stand as they are, which is what providers sign.
func jsonText(v ref.Val) (string, error) {
	if sizeOf(v) > maxResult { // a list may hold one long text a thousand times
		return "", errTooLarge
	}
	value, err := native(v)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil { // a number that JSON does not have
		return "", refusal("the value has no JSON form")
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// native is a value as encoding/json takes it. It is as deep as the
// expression, which is bounded.
func native(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.String:
		return string(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		return uint64(v), nil
	case types.Double:
		return float64(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Null:
		return nil, nil
	case traits.Mapper:
		return nativeMap(v)
	case traits.Lister:
		return nativeList(v)
	}
	return nil, refusal("a list or a map takes texts, numbers, booleans, null, lists and maps")
}

// nativeMap is a map of CEL as one of Go.
func nativeMap(v ref.Val) (map[string]any, error) {
	m, ok := v.(traits.Mapper)
	if !ok {
		return nil, refusal("a map is needed")
	}
	out := make(map[string]any)
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, refusal("the names of a map must be texts")
		}
		value, err := native(m.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = value
	}
	return out, nil
}

// nativeList is a list of CEL as one of Go; an empty one is [] and not null.
func nativeList(l traits.Lister) ([]any, error) {
	out := []any{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		value, err := native(it.Next())
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}
