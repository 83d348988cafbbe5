package realm

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// activeFields are the fields of a config whose behaviour is built. A field
// below one that is listed with "*" belongs to it.
var activeFields = []string{
	"api", "hosts", "url", "method", "content_type", "token_path", "expires_in_path", "expires_in_unit",
	"token_header", "token_cookie", "expires_in_header", "refresh.token_header", "refresh.token_cookie", "refresh.expires_in_header",
	"arguments[0].name", "arguments[0].place", "arguments[0].value", "arguments[0].expr", "arguments[0].type",
	"refresh_token_path", "refresh_expires_in_path", "refresh_expires_in_unit", "refresh_semantics", "refresh_grace",
	"refresh.url", "refresh.method", "refresh.content_type", "refresh.success*", "refresh.reauth_on*", "refresh.hopeless_on*", "refresh.throttled_on*",
	"refresh.token_path", "refresh.expires_in_path", "refresh.expires_in_unit",
	"refresh.refresh_token_path", "refresh.refresh_expires_in_path", "refresh.refresh_expires_in_unit",
	"refresh.arguments[0].name", "refresh.arguments[0].place", "refresh.arguments[0].value", "refresh.arguments[0].expr", "refresh.arguments[0].type",
	"preset", "authorize*", "exchange*", "default_key", "callback_url", "code_name", "unattended",
	"success*", "reauth_on*", "hopeless_on*", "throttled_on*", "renew_on*", "replay_max", "lifetime*", "time_zone", "shared*", "upgrade", "scrub", "allow_http", "forwarded", "pass*", "methods*", "inject_only", "rewrite_links", "limits*",
	"semantics", "overlap", "keep_warm", "volatile*", "push", "renew_before*",
	"grant*", "inject*",
}

// Every JSON field of a config is either built or listed by NotYetActive: who
// adds a field has to say which.
func TestEveryFieldIsActiveOrListed(t *testing.T) {
	walk(t, reflect.TypeFor[Config](), "", nil, func(path string, set func(*Config)) {
		var r Realm
		set(&r.Config)
		listed := slices.ContainsFunc(r.NotYetActive(), func(p string) bool {
			return within(strings.TrimPrefix(p, "config."), path)
		})
		active := slices.ContainsFunc(activeFields, func(a string) bool {
			whole, all := strings.CutSuffix(a, "*")
			return path == whole || all && within(whole, path)
		})
		if listed == active {
			t.Errorf("%s: listed as not yet active: %v, built: %v", path, listed, active)
		}
	})
}

// within reports whether path is parent or lies below it.
func within(parent, path string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// walk calls f with every leaf below t: its path, and how to set it alone.
func walk(t *testing.T, typ reflect.Type, path string, at []func(reflect.Value) reflect.Value, f func(string, func(*Config))) {
	t.Helper()
	step := func(s func(reflect.Value) reflect.Value) []func(reflect.Value) reflect.Value {
		return append(slices.Clip(at), s)
	}
	switch {
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[Lifetime]() && typ != reflect.TypeFor[Scalar]():
		for name, index := range fieldsOf(typ) {
			walk(t, typ.FieldByIndex(index).Type, joinPath(path, name),
				step(func(v reflect.Value) reflect.Value { return v.FieldByIndex(index) }), f)
		}
	case typ.Kind() == reflect.Pointer:
		walk(t, typ.Elem(), path, step(func(v reflect.Value) reflect.Value {
			v.Set(reflect.New(typ.Elem()))
			return v.Elem()
		}), f)
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && typ.Elem() != reflect.TypeFor[Scalar]():
		walk(t, typ.Elem(), indexPath(path, 0), step(func(v reflect.Value) reflect.Value {
			v.Set(reflect.MakeSlice(typ, 1, 1))
			return v.Index(0)
		}), f)
	default:
		f(path, func(c *Config) {
			v := reflect.ValueOf(c).Elem()
			for _, s := range at {
				v = s(v)
			}
			v.Set(sample(t, v.Type()))
		})
	}
}

// sample is a value that is not the zero one.
func sample(t *testing.T, typ reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(0.1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(typ, 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf(Hidden("x")))
	case reflect.Struct:
		v.Set(reflect.ValueOf(Lifetime{Unlimited: true}))
	default:
		t.Fatalf("no sample of %v", typ)
	}
	return v
}

func TestNotYetActive(t *testing.T) {
	r := Realm{Config: Config{Proxy: "http://proxy.example:3128", CA: "-", ClientCertificate: "c", ClientKey: "k", KeepWarm: true}}
	if got, want := r.NotYetActive(), []string{"config.ca", "config.client_certificate", "config.client_key", "config.proxy"}; !slices.Equal(got, want) {
		t.Errorf("not yet active: %v, want %v", got, want)
	}
}

func TestWhatSaysNothingIsNotListed(t *testing.T) {
	var r Realm
	text := `{"id": "x", "logic_code": "https://a.example", "config": {"refresh": {}, "authorize": null, "semantics": "", "renew_on": [],
		"shared": {}, "inject": [], "overlap": "0s", "replay_max": 0, "limits": {"windows": [], "timeout": "5s"}}}`
	if err := Decode([]byte(text), "", &r); err != nil {
		t.Fatal(err)
	}
	if got := r.NotYetActive(); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
}
