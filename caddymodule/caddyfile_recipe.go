package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// recipeParser reads one recipe. The fetch recipe is flat: its fields are
// options of the realm and of its own block.
type recipeParser struct {
	recipe *realm.Recipe
	path   string // of the recipe in the JSON
	at     places
	// body is the content type that the recipe's json or form lines ask for.
	body   string
	fields options
}

func newRecipeParser(r *realm.Recipe, path string, at places) *recipeParser {
	p := &recipeParser{recipe: r, path: path, at: at}
	p.fields = options{
		"url":                     text(&r.URL),
		"method":                  text(&r.Method),
		"content_type":            text(&r.ContentType),
		"token_path":              text(&r.TokenPath),
		"token_header":            text(&r.TokenHeader),
		"token_cookie":            text(&r.TokenCookie),
		"expires_in_path":         text(&r.ExpiresInPath),
		"expires_in_header":       text(&r.ExpiresInHeader),
		"expires_in_unit":         text(&r.ExpiresInUnit),
		"refresh_token_path":      text(&r.RefreshTokenPath),
		"refresh_expires_in_path": text(&r.RefreshExpiresInPath),
		"refresh_expires_in_unit": text(&r.RefreshExpiresInUnit),
		"success":                 p.rules("success", &r.Success),
		"reauth_on":               p.rules("reauth_on", &r.ReauthOn),
		"hopeless_on":             p.rules("hopeless_on", &r.HopelessOn),
		"throttled_on":            p.rules("throttled_on", &r.ThrottledOn),
		"arguments":               {parse: p.arguments},
	}
	for name, o := range p.fields {
		if !o.repeat && name != "arguments" {
			p.fields[name] = at.tracked(path+"."+name, o)
		}
	}
	return p
}

// parse reads a recipe:
//
//	fetch|refresh|authorize|exchange <method> <url> {
//	    query|header|form|json|body|path|basic ...   # see lines
//	    content_type <json|form|text>
//	    token_path <path>                            # or token_header or token_cookie <name>
//	    expires_in_path <path>                       # or expires_in_header <name>
//	    expires_in_unit <s|ms|epoch_s|epoch_ms|rfc3339|jwt>
//	    refresh_token_path <path>
//	    refresh_expires_in_path <path>
//	    refresh_expires_in_unit <unit>
//	    success|reauth_on|hopeless_on|throttled_on <rule>   # see parseRule
//	}
//
// All but fetch may stand without a method and a URL: they then add to what a
// grant constructs.
func (p *recipeParser) parse(d *caddyfile.Dispenser) error {
	name := d.Val()
	p.at.here(d, p.path)
	if words := d.RemainingArgs(); len(words) > 0 || name == "fetch" {
		if err := p.request(d, name, words); err != nil {
			return err
		}
	}
	lines := p.lines()
	maps.Copy(lines, p.fields)
	return lines.parse(d, "recipe")
}

// request reads the words behind a recipe's name.
func (p *recipeParser) request(d *caddyfile.Dispenser, name string, words []string) error {
	if len(words) != 2 {
		return d.Errf("option '%s' needs a method and a URL", name)
	}
	for i, field := range []struct {
		name string
		to   *string
	}{{"method", &p.recipe.Method}, {"url", &p.recipe.URL}} {
		if *field.to != "" {
			return d.Errf("option '%s' is given twice, once by '%s'", field.name, name)
		}
		*field.to = words[i]
		p.at.here(d, p.path+"."+field.name)
	}
	return nil
}

// arguments reads the lines of a recipe alone:
//
//	arguments {
//	    query|header|form|json|body|path|basic ...
//	}
func (p *recipeParser) arguments(d *caddyfile.Dispenser) error {
	return p.lines().parse(d, "recipe")
}

// lines are the arguments of a request:
//
//	query  <name> <value>
//	header <name> <value>
//	form   <name> <value>
//	json   <name> <value> [string|number|boolean]
//	body   <name> <value>      # of a text body
//	path   <name> <value>      # replaces {name} in the URL's path
//	basic  <user> <password>
//
// In place of a value, each of them takes a computed one (CEL):
//
//	query  <name> expr <expression>
func (p *recipeParser) lines() options {
	return options{
		"query":  p.line(realm.PlaceURL, ""),
		"header": p.line(realm.PlaceHeader, ""),
		"form":   p.line(realm.PlaceBody, realm.ContentForm),
		"json":   p.line(realm.PlaceBody, realm.ContentJSON),
		"body":   p.line(realm.PlaceBody, realm.ContentText),
		"path":   p.line(realm.PlacePath, ""),
		"basic":  p.line(realm.PlaceBasic, ""),
	}
}

func (p *recipeParser) line(place, body string) option {
	return option{repeat: true, parse: func(d *caddyfile.Dispenser) error {
		word, at := d.Val(), fmt.Sprintf("%s.arguments[%d]", p.path, len(p.recipe.Arguments))
		p.at.here(d, at)
		a := realm.Argument{Place: place}
		if !d.Args(&a.Name, &a.Value) {
			return d.Errf("option '%s' needs a name and a value", word)
		}
		if a.Value == "expr" && d.NextArg() {
			a.Value, a.Expr = "", d.Val()
		}
		if body == realm.ContentJSON && d.NextArg() {
			a.Type = d.Val()
		}
		p.recipe.Arguments = append(p.recipe.Arguments, a)
		return p.needBody(d, word, body)
	}}
}

// needBody notes the content type that a line asks for.
func (p *recipeParser) needBody(d *caddyfile.Dispenser, word, body string) error {
	if body == "" || p.body == body {
		return nil
	}
	if p.body != "" {
		return d.Errf("option '%s': the body of this recipe is %s already", word, p.body)
	}
	p.body = body
	return nil
}

// rules is an option that reads one rule of a list:
//
//	success <rule>          # all of them must match
//	reauth_on <rule>        # of the other lists, any
//	hopeless_on <rule>
//	throttled_on <rule>
func (p *recipeParser) rules(name string, to *[]realm.Rule) option {
	return option{repeat: true, parse: func(d *caddyfile.Dispenser) error {
		p.at.here(d, fmt.Sprintf("%s.%s[%d]", p.path, name, len(*to)))
		rule, err := parseRule(d)
		*to = append(*to, rule)
		return err
	}}
}

// finish gives the recipe the content type of its lines, where it names none.
// It is called when the whole realm was read: content_type may come last.
func (p *recipeParser) finish(d *caddyfile.Dispenser) error {
	if p.body == "" || p.recipe.ContentType == p.body {
		return nil
	}
	if p.recipe.ContentType != "" {
		return d.Errf("content_type %s does not fit the recipe's %s arguments", p.recipe.ContentType, p.body)
	}
	p.recipe.ContentType = p.body
	return nil
}

// parseRule reads a condition on an answer; everything on the line must hold:
//
//	[status <codes...>] [json <path> <values...> [absent]]
//
// A word that is spelled like a number, true, false or null is one. absent at
// the end lets a missing path pass.
func parseRule(d *caddyfile.Dispenser) (realm.Rule, error) {
	name, words := d.Val(), d.RemainingArgs()
	var rule realm.Rule
	status, json := words, []string(nil)
	if i := slices.Index(words, "json"); i >= 0 {
		status, json = words[:i], words[i+1:]
		if len(json) < 2 {
			return rule, d.Errf("option '%s': json needs a path and values", name)
		}
	}
	if len(words) == 0 || len(status) > 0 && (status[0] != "status" || len(status) == 1) {
		return rule, d.Errf("option '%s': write status <codes...>, json <path> <values...>, or both", name)
	}
	for _, word := range status[min(1, len(status)):] {
		code, err := strconv.Atoi(word)
		if err != nil {
			return rule, d.Errf("option '%s': '%s' is not an HTTP status", name, word)
		}
		rule.Status = append(rule.Status, code)
	}
	if json != nil {
		readJSONRule(&rule, json[0], json[1:])
	}
	return rule, nil
}

func readJSONRule(rule *realm.Rule, path string, values []string) {
	rule.JSON = path
	if values[len(values)-1] == "absent" {
		rule.Absent, values = true, values[:len(values)-1]
	}
	for _, word := range values {
		rule.Values = append(rule.Values, realm.ScalarOf(word))
	}
}
