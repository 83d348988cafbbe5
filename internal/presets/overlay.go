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
	lay(c, over)
	if shared != nil {
		maps.Copy(shared, over.Shared)
		c.Shared = shared
	}
	c.Limits = limits
	lay(&c.Limits, &over.Limits)
	if grant != nil && over.Grant != nil {
		c.Grant = grant
		lay(c.Grant, over.Grant)
	}
}

// lay copies every field that says something. Those of an embedded struct
// count as fields of the outer one, as they do in JSON.
func lay[T any](to, from *T) { layFields(reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()) }

func layFields(to, from reflect.Value) {
	for i := range from.NumField() {
		switch value := from.Field(i); {
		case from.Type().Field(i).Anonymous:
			layFields(to.Field(i), value)
		case says(value):
			to.Field(i).Set(value)
		}
	}
}

// says tells a value from one that JSON leaves out.
func says(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // the others have no length
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	}
	return !v.IsZero()
}
