package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// takeOptions takes the named lines, of one argument each (auth may have more,
// which are joined by blanks), out of a
// directive's block and leaves the rest for the parser that comes after, which
// is Caddy's. Those other lines are shown to visit, which may refuse one. The
// dispenser must own its tokens; it is left at its beginning.
func takeOptions(d *caddyfile.Dispenser, what string, visit func(line []string) error, names ...string) (map[string]string, error) {
	options := make(map[string]string)
	d.Reset()
	d.Next() // the directive's name
	d.RemainingArgs()
	for d.NextBlock(0) {
		if d.Nesting() != 1 {
			continue // in a block of somebody else
		}
		line := append([]string{d.Val()}, d.RemainingArgs()...)
		name := line[0]
		if !slices.Contains(names, name) {
			if err := visit(line); err != nil {
				return nil, d.WrapErr(err)
			}
			continue
		}
		if _, ok := options[name]; ok {
			return nil, d.Errf("%s option '%s' is given twice", what, name)
		}
		if len(line) < 2 || len(line) > 2 && name != "auth" {
			return nil, d.Errf("%s option '%s' needs one value", what, name)
		}
		options[name] = strings.Join(line[1:], " ")
		d.DeleteN(len(line))
	}
	d.Reset()
	return options, nil
}
