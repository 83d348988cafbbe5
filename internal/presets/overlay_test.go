package presets

import (
	"reflect"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestSharedLimitsAndGrantAreMergedByField(t *testing.T) {
	c := realm.Config{
		Shared: map[string]realm.Hidden{"a": "1", "b": "1"},
		Limits: realm.Limits{Concurrency: 1, Windows: []realm.Window{{Calls: 1, Per: 1}}},
		Grant:  &realm.Grant{Name: realm.GrantClientCredentials, TokenURL: "https://a.example", Scopes: []string{"a"}},
	}
	over := realm.Config{
		Shared: map[string]realm.Hidden{"b": "2", "c": "2"},
		Limits: realm.Limits{Timeout: 2},
		Grant:  &realm.Grant{Name: realm.GrantClientCredentials, Scopes: []string{"b"}},
	}
	overlay(&c, &over)
	want := realm.Config{
		Shared: map[string]realm.Hidden{"a": "1", "b": "2", "c": "2"},
		Limits: realm.Limits{Concurrency: 1, Timeout: 2, Windows: []realm.Window{{Calls: 1, Per: 1}}},
		Grant:  &realm.Grant{Name: realm.GrantClientCredentials, TokenURL: "https://a.example", Scopes: []string{"b"}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, %+v", c, c.Grant)
	}
	if len(over.Shared) != 2 || over.Grant.TokenURL != "" {
		t.Error("what was laid over has changed")
	}
}

// A new field of the config must be laid over without a change here.
func TestEveryFieldIsLaidOver(t *testing.T) {
	over := filled(reflect.TypeFor[realm.Config]()).Interface().(realm.Config)
	var c realm.Config
	overlay(&c, &over)
	if !reflect.DeepEqual(c, over) {
		t.Errorf("got %+v", c)
	}
}

// filled is a value of which every field says something.
func filled(typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				v.Field(i).Set(filled(typ.Field(i).Type))
			}
		}
	case reflect.Pointer:
		v.Set(filled(typ.Elem()).Addr())
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(typ.Elem())))
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(filled(typ.Key()), filled(typ.Elem()))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	default:
		v.SetInt(1)
	}
	return v
}
