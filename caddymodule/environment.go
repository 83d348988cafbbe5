package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// resolve replaces {env.NAME} and {file./absolute/path} in a string of the
// configuration, and nothing else: {secret.x} and {token} are for later, and
// "{{" is a brace that means itself. It is done when a configuration is
// loaded, so that no secret stands in the configuration itself. quote is
// applied to what is filled in; nil for none.
//
// Caddy's replacer is not used on purpose: it knows many more placeholders, and
// makes those that are not set empty instead of an error.
//
// Errors name the variable or the file, never what it holds.
func resolve(s string, quote func(string) string) (string, error) { return fillIn(s, quote, lookup) }

// fillIn is resolve with another way to find what a placeholder stands for.
func fillIn(s string, quote func(string) string, lookup func(name string) (string, error)) (string, error) {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '{')
		if i < 0 {
			out.WriteString(s)
			return out.String(), nil
		}
		out.WriteString(s[:i])
		s = s[i:]
		if strings.HasPrefix(s, "{{") {
			out.WriteString("{{")
			s = s[2:]
			continue
		}
		name, rest, ok := strings.Cut(s[1:], "}")
		if !ok || !isEnvironment(name) {
			out.WriteByte('{')
			s = s[1:]
			continue
		}
		value, err := lookup(name)
		if err != nil {
			return "", err
		}
		if quote != nil {
			value = quote(value)
		}
		out.WriteString(value)
		s = rest
	}
}

// resolveHidden is resolve for a confidential value.
func resolveHidden(s string) (realm.Hidden, error) {
	value, err := resolve(s, nil)
	return realm.Hidden(value), err
}

// resolveAll resolves each of a list.
func resolveAll(list []string) ([]string, error) {
	out := make([]string, len(list))
	for i, s := range list {
		var err error
		if out[i], err = resolve(s, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// resolveFields resolves the values of a secret, or of a realm's shared
// fields, in place.
func resolveFields(fields map[string]realm.Hidden) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		resolved, err := resolveHidden(fields[name].Reveal())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fields[name] = resolved
	}
	return nil
}

// resolveConfig resolves every string of a realm's config in place. All but
// the shared fields may be templates, in which a value from the environment
// must mean itself.
func resolveConfig(c *realm.Config) error {
	if err := resolveFields(c.Shared); err != nil {
		return fmt.Errorf("config.shared.%w", err)
	}
	if err := resolveExpressions(c); err != nil {
		return err
	}
	return eachString(reflect.ValueOf(c), func(s string) (string, error) {
		resolved, err := resolve(s, func(value string) string { return strings.ReplaceAll(value, "{", "{{") })
		if err == nil && strings.HasPrefix(resolved, "$") && !strings.HasPrefix(s, "$") {
			resolved = "$" + resolved
		}
		return resolved, err
	})
}

// resolveExpressions resolves the expressions of the arguments: what is filled
// in stands in a text of CEL, and must mean itself there.
func resolveExpressions(c *realm.Config) error {
	for _, r := range []*realm.Recipe{&c.Recipe, c.Refresh, c.Authorize, c.Exchange} {
		if r == nil {
			continue
		}
		for i := range r.Arguments {
			var err error
			if r.Arguments[i].Expr, err = resolve(r.Arguments[i].Expr, inExpression.Replace); err != nil {
				return err
			}
		}
	}
	return nil
}

// inExpression escapes for a text of CEL. No brace is left that could be
// resolved once more.
var inExpression = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "{", `\x7b`)

// fromEnvironment reports whether any string of the config is to be resolved.
func fromEnvironment(c *realm.Config) bool {
	found := errors.New("found")
	return eachString(reflect.ValueOf(c), func(s string) (string, error) {
		for _, part := range strings.Split(s, "{") {
			if name, _, ok := strings.Cut(part, "}"); ok && isEnvironment(name) {
				return s, found
			}
		}
		return s, nil
	}) != nil
}

// eachString replaces every string that can be reached from v by what f makes
// of it. Maps are left alone: the only one in a config holds its shared
// fields, which are no templates.
func eachString(v reflect.Value, f func(string) (string, error)) error {
	switch v.Kind() { //nolint:exhaustive // nothing else holds strings
	case reflect.Pointer:
		if !v.IsNil() {
			return eachString(v.Elem(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				if err := eachString(v.Field(i), f); err != nil {
					return err
				}
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := eachString(v.Index(i), f); err != nil {
				return err
			}
		}
	case reflect.String:
		s, err := f(v.String())
		if err != nil {
			return err
		}
		v.SetString(s)
	}
	return nil
}

func isEnvironment(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")
}

// lookup returns what a placeholder stands for.
func lookup(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file."); ok {
		return readFile(path)
	}
	name = strings.TrimPrefix(name, "env.")
	value := os.Getenv(name)
	if value == "" {
		return "", &unsetError{name}
	}
	return value, nil
}

// unsetError is the error about a variable that is not set. It comes before any
// value is looked at, so that no value is in it.
type unsetError struct{ name string }

func (e *unsetError) Error() string { return "the environment variable " + e.name + " is not set" }

// readFile returns the content of a file without the newline at its end.
func readFile(path string) (string, error) {
	file, err := sources.NewFile(path)
	if err != nil {
		return "", err
	}
	v, err := file.Read(context.Background())
	return v.Text.Reveal(), err
}
