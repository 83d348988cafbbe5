package caddymodule

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/edge"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

func init() {
	httpcaddyfile.RegisterGlobalOption(appName, parseApp)
}

// parseApp reads the global option tokens. Written more than once, the blocks
// are one.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if before, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(before.Value, app); err != nil {
			return nil, d.WrapErr(err)
		}
	}
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: appName, Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app. Syntax:
//
//	tokens {
//	    storage sqlite [<path>] | mysql [<dsn>] [{ ... }] | edge <url> { ... }   # see parseStorage
//	    cache redis <urls...>
//	    encryption_key <keys...>      # the first one seals, all of them open
//	    allow_private <prefixes, addresses or names...>
//	    proxy <url> [resolve]
//	    refresh { ... }               # see parseRefresh
//	    source <name> { ... }         # see parseSource
//	    audit { ... }                 # see parseAudit
//	    require client
//	    client <id> { ... }           # see clientParser
//	    realm <id> { ... }            # see parseRealm
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.Errf("tokens: surplus argument '%s'", d.Val())
	}
	var read realmParsers
	err := options{
		"storage":        {parse: a.parseStorage},
		"cache":          {parse: a.parseCache},
		"encryption_key": {parse: a.parseKey, repeat: true},
		"allow_private":  {parse: a.parseAllowPrivate, repeat: true},
		"proxy":          {parse: a.parseProxy},
		"refresh":        {parse: a.parseRefresh},
		"source":         {parse: a.parseSource, repeat: true},
		"audit":          {parse: a.parseAudit},
		"require":        {parse: a.parseRequire},
		"client":         {parse: a.addClient, repeat: true},
		"realm":          {parse: func(d *caddyfile.Dispenser) error { return a.addRealm(d, &read) }, repeat: true},
	}.parse(d, appName)
	if err != nil {
		return err
	}
	return read.check(a.Realms)
}

// parseStorage reads:
//
//	storage sqlite [<path>]
//	storage mysql [<dsn>] {
//	    connections <number>
//	}
//	storage edge <url> {
//	    key <key>
//	}
func (a *App) parseStorage(d *caddyfile.Dispenser) error {
	if a.Storage != nil {
		return d.Errf("tokens option 'storage' is given twice")
	}
	kind, err := arg(d)
	if err != nil {
		return err
	}
	a.Storage = &Storage{Type: kind}
	switch kind {
	case storageSQLite:
		d.Args(&a.Storage.Path)
	case storageMySQL:
		d.Args(&a.Storage.DSN)
		warnIfOpen(d, "storage mysql", hasLiteralPassword(a.Storage.DSN))
		return options{"connections": value(&a.Storage.Connections, parseConnections)}.parse(d, "storage mysql")
	case storageEdge:
		return a.Storage.parseEdge(d)
	default:
		return d.Errf("storage '%s' is neither sqlite, mysql nor edge", kind)
	}
	return nil
}

// parseEdge reads what stands behind storage edge.
func (s *Storage) parseEdge(d *caddyfile.Dispenser) error {
	if !d.Args(&s.URL) {
		return d.Err("storage edge: url is missing: the address of the other instance, as https://tokens.internal")
	}
	if d.NextArg() {
		return d.Errf("storage edge: surplus argument '%s'", d.Val())
	}
	if isLiteral(s.URL) {
		if _, err := edge.ParseURL(s.URL); err != nil {
			return d.Errf("storage edge: url %v", err)
		}
	}
	if err := (options{"key": text(&s.Key)}).parse(d, "storage edge"); err != nil {
		return err
	}
	if s.Key == "" {
		return d.Err("storage edge: key is missing")
	}
	warnIfOpen(d, "storage edge key", isLiteral(s.Key))
	return nil
}

// parseCache reads:
//
//	cache redis <urls...>
func (a *App) parseCache(d *caddyfile.Dispenser) error {
	if a.Cache != nil {
		return d.Errf("tokens option 'cache' is given twice")
	}
	kind, err := arg(d)
	if err != nil {
		return err
	}
	if kind != cacheRedis {
		return d.Errf("cache '%s' is not redis", kind)
	}
	a.Cache = &Cache{Type: kind, URLs: d.RemainingArgs()}
	if len(a.Cache.URLs) == 0 {
		return d.Errf("cache redis needs an address")
	}
	warnIfOpen(d, "cache redis", slices.ContainsFunc(a.Cache.URLs, hasLiteralPassword))
	return nil
}

// parseKey reads:
//
//	encryption_key <keys...>
func (a *App) parseKey(d *caddyfile.Dispenser) error {
	keys, err := args(d)
	warnIfOpen(d, "encryption_key", slices.ContainsFunc(keys, isLiteral))
	a.EncryptionKeys = append(a.EncryptionKeys, keys...)
	return err
}

// parseAllowPrivate reads:
//
//	allow_private <prefixes, addresses or names...>
func (a *App) parseAllowPrivate(d *caddyfile.Dispenser) error {
	entries, err := args(d)
	a.AllowPrivate = append(a.AllowPrivate, entries...)
	return err
}

// parseSource reads what the fields have in common that name this source:
//
//	source <name> { ... }
func (a *App) parseSource(d *caddyfile.Dispenser) error {
	name, err := arg(d)
	if err != nil {
		return err
	}
	if err := checkSourceName(name); err != nil {
		return d.WrapErr(err)
	}
	if _, twice := a.SourcesRaw[name]; twice {
		return d.Errf("source '%s' is given twice", name)
	}
	module, err := unmarshalSource(d, name)
	if err != nil {
		return err
	}
	if _, ok := module.(sources.Heir); !ok {
		return d.Errf("source '%s' has no settings of the tokens block; name it in a field", name)
	}
	if a.SourcesRaw == nil {
		a.SourcesRaw = make(caddy.ModuleMap)
	}
	a.SourcesRaw[name] = caddyconfig.JSON(module, nil)
	return nil
}

// parseRefresh reads when and how tokens are renewed:
//
//	refresh {
//	    before <percent>%|<duration>
//	    jitter <percent>%
//	    concurrency <number>
//	    timeout <duration>
//	    cron <expression>
//	    on_demand [on|off]
//	}
func (a *App) parseRefresh(d *caddyfile.Dispenser) error {
	if a.Refresh != nil {
		return d.Errf("tokens option 'refresh' is given twice")
	}
	if d.NextArg() {
		return d.Errf("refresh: surplus argument '%s'", d.Val())
	}
	a.Refresh = new(Refresh)
	err := options{
		"on_demand": onOff(&a.Refresh.OnDemand),
		"before": value(&a.Refresh.Before, func(s string) (string, error) {
			_, err := realm.ParseLead(s)
			return s, err
		}),
		"jitter": value(&a.Refresh.Jitter, func(s string) (string, error) {
			_, err := parseJitter(s)
			return s, err
		}),
		"concurrency": value(&a.Refresh.Concurrency, func(s string) (int, error) {
			n, err := number(s)
			switch {
			case err != nil:
				return 0, err
			case n == 0: // which stands for the default in JSON
				n = -1
			}
			return checkConcurrency(n)
		}),
		"cron": value(&a.Refresh.Cron, func(s string) (string, error) {
			_, err := broker.ParseCron(s)
			return s, err
		}),
		"timeout": value(&a.Refresh.Timeout, func(s string) (caddy.Duration, error) {
			d, err := realm.ParseDuration(s)
			if err != nil {
				return 0, err
			}
			checked, err := checkTimeout(d.Std())
			return caddy.Duration(checked), err
		}),
	}.parse(d, "refresh")
	if err == nil && a.Refresh.OnDemand && a.Refresh.Cron != "" {
		return d.WrapErr(errCronOnDemand)
	}
	return err
}

// addRealm reads one realm, see parseRealm, and adds its parser to read.
func (a *App) addRealm(d *caddyfile.Dispenser, read *realmParsers) error {
	p, err := parseRealm(d)
	if err != nil {
		return err
	}
	*read = append(*read, p)
	r := p.result()
	for _, other := range a.Realms {
		if other.ID == r.ID {
			return d.Errf("realm '%s' is defined twice", r.ID)
		}
	}
	a.Realms = append(a.Realms, r)
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*App)(nil)
