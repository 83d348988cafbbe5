package caddymodule

import (
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/spelling"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// sourceModules is the namespace of the modules that give the values of fields:
// guests that implement sources.Source. They are provisioned with {env.NAME} and
// {file./absolute/path} filled in.
const sourceModules = "tokens.sources"

func init() {
	caddy.RegisterModule((*FileSource)(nil))
	caddy.RegisterModule((*EnvSource)(nil))
	caddy.RegisterModule((*ExecSource)(nil))
}

// FileSource gives a field the content of a file, without the newline at its end.
// It is read again when the file changes, without a reload. While the file is
// missing or empty, the value before that stays.
type FileSource struct {
	// The absolute path of the file, which has at most 1 MiB.
	Path string `json:"path"`

	*sources.File `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*FileSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: sourceModules + ".file", New: func() caddy.Module { return new(FileSource) }}
}

// Provision checks the path.
func (f *FileSource) Provision(caddy.Context) (err error) {
	f.File, err = sources.NewFile(f.Path)
	return err
}

// UnmarshalCaddyfile reads:
//
//	source file <path>
func (f *FileSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	f.Path, err = sourceArgument(d)
	return err
}

// EnvSource gives a field the value of a variable of the environment, as it was when
// the process began.
type EnvSource struct {
	// The name of the variable.
	Name string `json:"name"`

	sources.Environment `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*EnvSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: sourceModules + ".env", New: func() caddy.Module { return new(EnvSource) }}
}

// Provision takes over the name.
func (e *EnvSource) Provision(caddy.Context) error {
	e.Environment.Name = e.Name
	return nil
}

// UnmarshalCaddyfile reads:
//
//	source env <name>
func (e *EnvSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) (err error) {
	e.Name, err = sourceArgument(d)
	return err
}

// ExecSource gives a field what a command prints: the value as it is, or a JSON object
// {"value", "expires_in" or "expires_at"}. It is run when a token is fetched and the
// value has ended, by no shell, once at a time, and with little of the environment.
type ExecSource struct {
	// The absolute path of the command, and its arguments.
	Words []string `json:"command"`

	// How long a value is used that has no end of its own, as a duration such as
	// 5m. Default: 5m.
	CacheFor caddy.Duration `json:"cache,omitempty"`

	// How long a run may take, at most 1m. Then the command is killed with all that
	// it started. Default: 10s.
	TimeLimit caddy.Duration `json:"timeout,omitempty"`

	sources.Command `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*ExecSource) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: sourceModules + ".exec", New: func() caddy.Module { return new(ExecSource) }}
}

// Provision checks the command, and does not run it.
func (e *ExecSource) Provision(caddy.Context) error {
	e.Command = sources.Command{Args: e.Words, Cache: time.Duration(e.CacheFor), Limit: time.Duration(e.TimeLimit)}
	return e.Check()
}

// UnmarshalCaddyfile reads:
//
//	source exec <path> <args...> {
//	    cache <duration>
//	    timeout <duration>
//	}
func (e *ExecSource) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the name
	e.Words = d.RemainingArgs()
	if len(e.Words) == 0 {
		return d.Errf("source exec needs a command")
	}
	return options{
		"cache":   caddyDuration(&e.CacheFor),
		"timeout": caddyDuration(&e.TimeLimit),
	}.parse(d, "source exec")
}

// caddyDuration is an option with a duration as Caddy has it in JSON.
func caddyDuration(p *caddy.Duration) option {
	return value(p, func(s string) (caddy.Duration, error) {
		d, err := realm.ParseDuration(s)
		return caddy.Duration(d.Std()), err
	})
}

// sourceArgument reads the one argument of a source.
func sourceArgument(d *caddyfile.Dispenser) (string, error) {
	d.Next() // consume the name
	name := d.Val()
	if !d.NextArg() {
		return "", d.Errf("source %s needs a value", name)
	}
	argument := d.Val()
	return argument, endOfLine(d, "source", name)
}

// sourceNames are the sources that this build has.
func sourceNames() (names []string) {
	for _, m := range caddy.GetModules(sourceModules) {
		names = append(names, m.ID.Name())
	}
	return names
}

// checkSourceName reports that there is no such source.
func checkSourceName(name string) error {
	if _, err := caddy.GetModule(sourceModules + "." + name); err == nil {
		return nil
	}
	hint := spelling.DidYouMean(name, sourceNames())
	if name == "vault" {
		hint = "; build Caddy with --with github.com/caddy-tokens/caddy-tokens/sources/vault"
	}
	return fmt.Errorf("this build has no source '%s', but %s%s", name, strings.Join(sourceNames(), ", "), hint)
}

// Interface guards
var (
	_ sources.Local         = (*FileSource)(nil)
	_ sources.Local         = (*EnvSource)(nil)
	_ sources.Source        = (*ExecSource)(nil)
	_ sources.Patient       = (*ExecSource)(nil)
	_ caddy.Provisioner     = (*FileSource)(nil)
	_ caddy.Provisioner     = (*EnvSource)(nil)
	_ caddy.Provisioner     = (*ExecSource)(nil)
	_ caddyfile.Unmarshaler = (*FileSource)(nil)
	_ caddyfile.Unmarshaler = (*EnvSource)(nil)
	_ caddyfile.Unmarshaler = (*ExecSource)(nil)
)
