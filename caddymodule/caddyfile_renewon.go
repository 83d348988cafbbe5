package caddymodule

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// renewOn reads one rule; a token is dead where any of them matches. All that one
// rule says must hold, on its line and in its block:
//
//	renew_on [status <codes...>] [json|text|header ...] {
//	    status <codes...>
//	    json <path> <values...> [absent]
//	    text <text>
//	    header <name> [<values...>]
//	    types <media types...>
//	}
//
// A word behind json that is spelled like a number, true, false or null is one.
// absent at the end lets a missing path pass.
func (p *realmParser) renewOn(d *caddyfile.Dispenser) error {
	c := &p.realm.Config
	p.at.here(d, fmt.Sprintf("config.renew_on[%d]", len(c.RenewOn)))
	if len(c.RenewOn) == 0 {
		p.at.here(d, "config.renew_on")
	}
	var rule realm.Rule
	if err := renewOnLine(d, &rule); err != nil {
		return err
	}
	if err := conditions(&rule).parse(d, "renew_on"); err != nil {
		return err
	}
	if rule.JSON == "" && rule.Text == "" && rule.Header == "" && len(rule.Status) == 0 {
		return d.Err("option 'renew_on' " + renewOnWords)
	}
	c.RenewOn = append(c.RenewOn, rule)
	return nil
}

const renewOnWords = "needs status <codes...>, json <path> <values...>, text <text> or header <name> <values...>"

// renewOnLine reads the conditions that stand on the line itself: the status, and
// behind it one more.
func renewOnLine(d *caddyfile.Dispenser, rule *realm.Rule) error {
	words := d.RemainingArgs()
	isWord := func(word string) bool { return word == "json" || word == "text" || word == "header" }
	for len(words) > 0 {
		word, values := words[0], words[1:]
		words = nil
		switch {
		case word == "status":
			if i := slices.IndexFunc(values, isWord); i >= 0 {
				values, words = values[:i], values[i:]
			}
		case !isWord(word):
			return d.Errf("option 'renew_on': unknown condition '%s'; it %s", word, renewOnWords)
		}
		if err := addCondition(d, rule, word, values); err != nil {
			return err
		}
	}
	return nil
}

// conditions are the lines of a rule's block.
func conditions(rule *realm.Rule) options {
	o := make(options)
	for _, word := range []string{"status", "json", "text", "header", "types"} {
		o[word] = option{parse: func(d *caddyfile.Dispenser) error { return addCondition(d, rule, word, d.RemainingArgs()) }}
	}
	return o
}

// addCondition adds one condition to a rule.
func addCondition(d *caddyfile.Dispenser, rule *realm.Rule, word string, values []string) error {
	twice := map[string]bool{
		"status": rule.Status != nil, "json": rule.JSON != "", "text": rule.Text != "", "header": rule.Header != "",
	}
	switch {
	case twice[word]:
		return d.Errf("renew_on option '%s' is given twice", word)
	case word == "json" && len(values) < 2:
		return d.Err("option 'renew_on': json needs a path and values")
	case word == "text" && (len(values) != 1 || values[0] == ""):
		return d.Err("option 'renew_on': text needs one text, in quotes where it has blanks")
	case len(values) == 0:
		return d.Errf("option 'renew_on': %s needs a value", word)
	}
	switch word {
	case "status":
		for _, value := range values {
			code, err := strconv.Atoi(value)
			if err != nil {
				return d.Errf("option 'renew_on': '%s' is not an HTTP status", value)
			}
			rule.Status = append(rule.Status, code)
		}
	case "json":
		readJSONRule(rule, values[0], values[1:])
	case "text":
		rule.Text = values[0]
	case "header":
		rule.Header = values[0]
		for _, value := range values[1:] {
			rule.Values = append(rule.Values, realm.ScalarOf(value))
		}
	case "types":
		rule.Types = values
	}
	return nil
}
