package caddymodule

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// option reads one line of a block, and the block that it may open. The
// dispenser stands on the option's name.
type option struct {
	parse func(d *caddyfile.Dispenser) error
	// repeat allows the option more than once.
	repeat bool
}

// options are the lines that a block may have, by name.
type options map[string]option

// parse reads the block that opens behind the dispenser's token. Unknown and
// doubled options, surplus arguments and surplus blocks are errors that name
// the option, the file and the line. what is the name of the block in them.
func (o options) parse(d *caddyfile.Dispenser, what string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		opt, ok := o[name]
		switch {
		case !ok:
			return d.Errf("unknown %s option '%s'%s", what, name, spelling.DidYouMean(name, o.names()))
		case seen[name] && !opt.repeat:
			return d.Errf("%s option '%s' is given twice", what, name)
		}
		seen[name] = true
		if err := opt.parse(d); err != nil {
			return err
		}
		if err := endOfLine(d, what, name); err != nil {
			return err
		}
	}
	return nil
}

// endOfLine refuses what is left of an option's line.
func endOfLine(d *caddyfile.Dispenser, what, name string) error {
	if d.NextArg() {
		return d.Errf("%s option '%s': surplus argument '%s'", what, name, d.Val())
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("%s option '%s' takes no block", what, name)
	}
	return nil
}

// arg reads the one argument of an option.
func arg(d *caddyfile.Dispenser) (string, error) {
	name := d.Val()
	if !d.NextArg() {
		return "", d.Errf("option '%s' needs a value", name)
	}
	return d.Val(), nil
}

// args reads the arguments of an option: at least one.
func args(d *caddyfile.Dispenser) ([]string, error) {
	name := d.Val()
	list := d.RemainingArgs()
	if len(list) == 0 {
		return nil, d.Errf("option '%s' needs a value", name)
	}
	return list, nil
}

// value is an option with one argument, which parse turns into *p. A field
// that is set already was given in another block, which is an error too.
func value[T comparable](p *T, parse func(string) (T, error)) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		s, err := arg(d)
		if err != nil {
			return err
		}
		var unset T
		if *p != unset {
			return d.Errf("option '%s' is given twice", name)
		}
		if *p, err = parse(s); err != nil {
			return d.Errf("option '%s': %v", name, err)
		}
		return nil
	}}
}

// text is an option with one argument that is taken as it is.
func text(p *string) option {
	return value(p, func(s string) (string, error) { return s, nil })
}

// list is an option with one or more arguments.
func list(p *[]string) option {
	return option{parse: func(d *caddyfile.Dispenser) (err error) {
		*p, err = args(d)
		return err
	}}
}

// onOff is an option that is on where it stands alone, or says on or off.
func onOff(p *bool) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		name := d.Val()
		*p = true
		if !d.NextArg() {
			return nil
		}
		switch d.Val() {
		case "on":
		case "off":
			*p = false
		default:
			return d.Errf("option '%s': '%s' is neither on nor off", name, d.Val())
		}
		return nil
	}}
}

// switched reads a switch of a realm: on by its name alone.
func switched(p *realm.Switch) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		var isOn bool
		if err := onOff(&isOn).parse(d); err != nil {
			return err
		}
		*p = realm.SwitchOf(isOn)
		return nil
	}}
}

// number reads a whole number.
func number(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("'%s' is not a number", s)
	}
	return n, nil
}

// duration is an option with a duration: "10s", "7d".
func duration(p *realm.Duration) option { return value(p, realm.ParseDuration) }

// places remembers where the fields of a realm were written, by their JSON
// path, so that what is found out later can be said with a file and a line.
type places map[string]string

// here records that the field was written where the dispenser stands.
func (p places) here(d *caddyfile.Dispenser, path string) {
	p[path] = fmt.Sprintf("%s:%d", d.File(), d.Line())
}

// of is the place of the field, or of what encloses it.
func (p places) of(path string) string {
	for {
		if at, ok := p[path]; ok {
			return at
		}
		i := lastStep(path)
		if i < 0 {
			return p[""]
		}
		path = path[:i]
	}
}

// lastStep is where the last name or index of a path begins, -1 for none.
func lastStep(path string) int {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return i
		}
	}
	return -1
}

// tracked records the place of an option's field.
func (p places) tracked(path string, o option) option {
	parse := o.parse
	o.parse = func(d *caddyfile.Dispenser) error {
		p.here(d, path)
		return parse(d)
	}
	return o
}
