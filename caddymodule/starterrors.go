package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// telling is how many bytes of a value in an error give it away. A shorter
// value counts as a whole.
const telling = 6

// withoutValues returns the error of a configuration without what its
// {env.X} and {file./path} stand for, and without the known values of sources: such a value may be a password in the
// wrong place, and an error of a start goes into logs and into the answers of
// Caddy's own API.
//
// It is done here for all errors, because packages below know only the value,
// and quote the part of it that is wrong. What is left is the beginning of the
// text, which names the option, and the name of the variable.
func withoutValues(config any, known map[string]string, err error) error {
	if unset := new(unsetError); err == nil || errors.As(err, &unset) {
		return err
	}
	values := environmentOf(config)
	maps.Copy(values, known)
	parts := strings.Split(err.Error(), ": ")
	for i, part := range parts {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if sharesText(part, values[name]) {
				reason := fmt.Sprintf("the value of {%s} cannot be used here", name)
				return errors.New(strings.Join(append(parts[:i:i], optionIn(part, values[name])+reason), ": "))
			}
		}
	}
	return err
}

// optionIn is the name of the option that a part of an error begins with.
func optionIn(part, value string) string {
	option, _, _ := strings.Cut(part, " ")
	if option == part || sharesText(option, value) {
		return ""
	}
	return option + ": "
}

// environmentOf are the values of the placeholders in a configuration, by name,
// and of the variables that are read without one.
func environmentOf(config any) map[string]string {
	text, err := json.Marshal(config)
	if err != nil {
		return make(map[string]string)
	}
	values := make(map[string]string)
	for part := range strings.SplitSeq(string(text), "{") {
		name, _, ok := strings.Cut(part, "}")
		if !ok || !isEnvironment(name) {
			continue
		}
		if value, err := lookup(name); err == nil {
			values[name] = value
		}
	}
	for _, name := range []string{"MYSQL_USERNAME", "MYSQL_PASSWORD"} {
		values["env."+name] = os.Getenv(name)
	}
	return values
}

// sharesText reports whether a text holds a telling part of a value, in whatever
// case.
func sharesText(text, value string) bool {
	text, value = strings.ToLower(text), strings.ToLower(value)
	if len(value) <= telling {
		return value != "" && strings.Contains(text, value)
	}
	pieces := make(map[string]bool, len(text))
	for i := 0; i+telling <= len(text); i++ {
		pieces[text[i:i+telling]] = true
	}
	for i := 0; i+telling <= len(value); i++ {
		if pieces[value[i:i+telling]] {
			return true
		}
	}
	return false
}
