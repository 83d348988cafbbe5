package presets

import (
	"maps"
	"reflect"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// overlay lays what over says over a config.
func overlay(c, over *realm.Config) {
	shared := maps.Clone(c.Shared)
	limits, grant := c.Limits, c.Grant
	copySet(c, over)
	if shared != nil {
		maps.Copy(shared, over.Shared)
		c.Shared = shared
	}
	c.Limits = limits
	copySet(&c.Limits, &over.Limits)
	if grant != nil && over.Grant != nil {
		c.Grant = grant
		copySet(c.Grant, over.Grant)
	}
}

// copySet copies every field that says something. Those of an embedded struct
// count as fields of the outer one, as they do in JSON.
func copySet[T any](to, from *T) {
	copySetFields(reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem())
}

// copySetFields is copySet for values that reflection has found.
func copySetFields(to, from reflect.Value) {
	for i := range from.NumField() {
		switch value := from.Field(i); {
		case from.Type().Field(i).Anonymous:
			copySetFields(to.Field(i), value)
		case isSet(value):
			to.Field(i).Set(value)
		}
	}
}

// isSet tells a value from one that JSON leaves out.
func isSet(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // the others have no length
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	}
	return !v.IsZero()
}
