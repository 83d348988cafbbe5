package caddymodule

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// parseRequire reads:
//
//	require client
func (a *App) parseRequire(d *caddyfile.Dispenser) error {
	what, err := arg(d)
	if err != nil {
		return err
	}
	if what != "client" {
		return d.Errf("require '%s' is not client%s", what, spelling.DidYouMean(what, []string{"client"}))
	}
	a.RequireClient = true
	return nil
}

// addClient reads one client, see clientParser.
func (a *App) addClient(d *caddyfile.Dispenser) error {
	p := new(clientParser)
	if err := p.parse(d); err != nil {
		return err
	}
	if slices.ContainsFunc(a.Clients, func(o Client) bool { return o.ID == p.client.ID }) {
		return d.Errf("client '%s' is defined twice", p.client.ID)
	}
	a.Clients = append(a.Clients, p.client)
	return nil
}

// clientParser reads one client:
//
//	client <id> {
//	    key <key>
//	    user <user>
//	    subject <subject>
//	    source <prefixes...>
//	    allow|deny <rights> <realm> [<key>] {
//	        methods <methods...>
//	        paths <paths...>
//	    }
//	    limit requests|fetches <number>/s|m|h|d
//	    limit concurrency <number>
//	    edge [on|off]
//	    comment <text>
//	    expires_at <time>
//	}
//
// Rights are words with commas between them. Each line is checked where it
// stands, so that an error has its place.
type clientParser struct{ client Client }

func (p *clientParser) parse(d *caddyfile.Dispenser) error {
	id, err := arg(d)
	if err != nil {
		return err
	}
	p.client.ID = id
	if d.NextArg() {
		return d.Errf("client '%s': surplus argument '%s'", id, d.Val())
	}
	if err := p.check(d); err != nil {
		return err
	}
	c := &p.client
	return options{
		"key":        {parse: p.key, repeat: true},
		"user":       p.identity(&c.Users),
		"subject":    p.identity(&c.Subjects),
		"source":     p.identity(&c.Sources),
		"allow":      {parse: p.rule, repeat: true},
		"deny":       {parse: p.rule, repeat: true},
		"limit":      {parse: p.limit, repeat: true},
		"edge":       onOff(&c.Edge),
		"comment":    p.checked(text(&c.Comment)),
		"expires_at": {parse: p.expiresAt},
	}.parse(d, "client")
}

// check refuses what the client cannot have so far. The dispenser stands in the
// line that was read last.
func (p *clientParser) check(d *caddyfile.Dispenser) error {
	c := p.client
	c.Keys = nil // they are not known yet
	s, err := c.stored()
	if err == nil {
		err = access.Validate(s)
	}
	var field *realm.FieldError
	if errors.As(err, &field) {
		return d.Errf("client '%s': %s %s", c.ID, inCaddyfile(field.Field), field.Reason)
	}
	return err
}

var (
	// listed is the place of an entry in a list: users[2], rules[0].paths[1].
	listed = regexp.MustCompile(`^(?:rules\[\d+\])?\.?(\w+)(?:\[\d+\])?$`)
	// singular are the options whose fields have another name in JSON.
	singular = map[string]string{"users": "user", "subjects": "subject", "sources": "source", "realms": "realm", "keys": "key"}
)

// inCaddyfile is a field as the Caddyfile calls it: one of a list is the one in
// this line, and limits.requests is limit requests.
func inCaddyfile(field string) string {
	if limit, ok := strings.CutPrefix(field, "limits."); ok {
		return "limit " + limit
	}
	if m := listed.FindStringSubmatch(field); m != nil {
		field = m[1]
	}
	if name, ok := singular[field]; ok {
		return name
	}
	return field
}

// checked is an option whose line is checked.
func (p *clientParser) checked(o option) option {
	parse := o.parse
	o.parse = func(d *caddyfile.Dispenser) error {
		if err := parse(d); err != nil {
			return err
		}
		return p.check(d)
	}
	return o
}

// identity is an option that adds to a list of what the client is known by.
func (p *clientParser) identity(to *[]string) option {
	o := p.checked(option{parse: func(d *caddyfile.Dispenser) error {
		values, err := args(d)
		*to = append(*to, values...)
		return err
	}})
	o.repeat = true
	return o
}

// key reads one API key. Whether one from the environment is good is known when
// the configuration is loaded.
func (p *clientParser) key(d *caddyfile.Dispenser) error {
	key, err := arg(d)
	if err != nil {
		return err
	}
	if isLiteral(key) {
		if _, err := access.ParseWrittenKey(key); err != nil {
			return d.Errf("client '%s': %s", p.client.ID, reasonOf(err))
		}
	}
	warnIfOpen(d, "client "+p.client.ID+" key", isLiteral(key))
	if p.client.Keys = append(p.client.Keys, key); len(p.client.Keys) > tokenstore.MaxClientKeys {
		return d.Errf("client '%s' has more than %d keys", p.client.ID, tokenstore.MaxClientKeys)
	}
	return nil
}

// rule reads a rule, whose effect is the option's name.
func (p *clientParser) rule(d *caddyfile.Dispenser) error {
	r := tokenstore.Rule{Effect: d.Val()}
	words := d.RemainingArgs()
	if len(words) < 2 || len(words) > 3 {
		return d.Errf("%s takes rights, a realm and perhaps a key: %s use,read crm *", r.Effect, r.Effect)
	}
	r.Rights, r.Realms = strings.Split(words[0], ","), words[1:2]
	if len(words) > 2 {
		r.Keys = words[2:]
	}
	for i, right := range r.Rights {
		if _, err := access.ParseRights(r.Rights[i : i+1]); err != nil {
			return d.Errf("client '%s': '%s' is not a right%s; there are %s", p.client.ID, right, spelling.DidYouMean(right, rightNames()), strings.Join(rightNames(), ", "))
		}
	}
	p.client.Rules = append(p.client.Rules, r)
	if err := p.check(d); err != nil {
		return err
	}
	added := &p.client.Rules[len(p.client.Rules)-1]
	return options{
		"methods": p.checked(list(&added.Methods)),
		"paths":   p.checked(list(&added.Paths)),
	}.parse(d, r.Effect)
}

// rightNames are the words of all rights.
func rightNames() []string { return strings.Split(access.Every.String(), ", ") }

// limit reads one limit.
func (p *clientParser) limit(d *caddyfile.Dispenser) error {
	words := d.RemainingArgs()
	if len(words) != 2 {
		return d.Errf("limit takes what is limited and how much: limit requests 100/s")
	}
	if p.client.Limits == nil {
		p.client.Limits = new(tokenstore.ClientLimits)
	}
	limits, twice := p.client.Limits, false //nolint:wastedassign // the linter does not see the use
	switch what := words[0]; what {
	case "requests":
		twice, limits.Requests = limits.Requests != "", words[1]
	case "fetches":
		twice, limits.Fetches = limits.Fetches != "", words[1]
	case "concurrency":
		n, err := strconv.Atoi(words[1])
		if err != nil || n < 1 {
			return d.Errf("client '%s': limit concurrency '%s' is not a number from 1 on", p.client.ID, words[1])
		}
		twice, limits.Concurrency = limits.Concurrency != 0, n
	default:
		names := []string{"requests", "concurrency", "fetches"}
		return d.Errf("unknown limit '%s'%s; there are %s", what, spelling.DidYouMean(what, names), strings.Join(names, ", "))
	}
	if twice {
		return d.Errf("client '%s': limit %s is given twice", p.client.ID, words[0])
	}
	return p.check(d)
}

// expiresAt reads when the client ends.
func (p *clientParser) expiresAt(d *caddyfile.Dispenser) error {
	word, err := arg(d)
	if err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return d.Errf("expires_at '%s' is not a time like 2027-01-31T00:00:00Z", word)
	}
	p.client.ExpiresAt = &at
	return nil
}
