package caddymodule

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/edge"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// edgeSettings say which instance an edge takes its tokens from.
type edgeSettings struct {
	url *url.URL
	key realm.Hidden
}

// edgeStorage reads the settings of an edge.
func (s *Storage) edgeStorage() (*edgeSettings, error) {
	if s.Path != "" || s.DSN != "" || s.Connections != 0 {
		return nil, errors.New("an edge has a url and a key, and no path, dsn or connections")
	}
	address, err := resolve(s.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	e := new(edgeSettings)
	if e.url, err = edge.ParseURL(address); err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if s.Key == "" {
		return nil, errors.New("key is missing: that of a client of the other instance, as {env.NAME} or {file./absolute/path}")
	}
	if e.key, err = resolveHidden(s.Key); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if e.key == "" || strings.ContainsFunc(e.key.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("key: must be one word of ASCII characters, as caddy tokens client add prints it")
	}
	return e, nil
}

// lasting is what outlives a configuration of an edge: it has no database, and so
// neither clients of one, nor an audit, nor sessions.
func (e *edgeSettings) lasting(l *lasting) {
	l.pool = broker.New(edge.New(edge.Config{URL: e.url, Key: e.key, Log: poolLog}), poolLog, edge.NewClock())
	l.pool.Observe(observer{})
	l.clients = access.NewRegistry(access.RegistryConfig{Log: poolLog})
}

// isEdge reports whether the tokens come from another instance.
func (a *App) isEdge() bool { return a.Storage != nil && a.Storage.Type == storageEdge }

// checkEdge refuses what an edge has no use for.
func (a *App) checkEdge() error {
	r := a.Refresh
	if r == nil {
		r = new(Refresh)
	}
	const upstream = "the instance that it takes its tokens from has them"
	for _, c := range []struct {
		isSet bool
		what  string
	}{
		{len(a.Realms) > 0, "realm: an edge has no realms of its own; " + upstream},
		{len(a.EncryptionKeys) > 0, "encryption_key: an edge stores nothing that would have to be sealed"},
		{a.Cache != nil, "cache: an edge keeps tokens in memory only"},
		{a.Audit != nil, "audit: an edge writes none; that of the instance that it takes its tokens from names it"},
		{r.Cron != "" || r.Concurrency != 0 || r.Timeout != 0, "refresh: cron, concurrency and timeout are about calls to providers; an edge makes none, and " + upstream},
	} {
		if c.isSet {
			return errors.New(c.what)
		}
	}
	return nil
}

// refuseOnEdge is the error of a directive that needs a database; nil elsewhere.
func (a *App) refuseOnEdge(directive, why string) error {
	if !a.isEdge() {
		return nil
	}
	return fmt.Errorf("%s: this instance is an edge (storage edge): %s", directive, why)
}

// warnIfClear tells of tokens that could be read on their way.
func (e *edgeSettings) warnIfClear(log *zap.Logger) {
	if e == nil || e.url.Scheme != "http" || e.url.Hostname() == "localhost" {
		return
	}
	if ip, err := netip.ParseAddr(e.url.Hostname()); err != nil || !ip.IsLoopback() {
		log.Warn("the key and the tokens go to the upstream in clear; use https where others could listen", zap.String("host", e.url.Host))
	}
}
