package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// parseProxy reads:
//
//	proxy <url> [resolve]
func (a *App) parseProxy(d *caddyfile.Dispenser) error {
	if a.Proxy != "" {
		return d.Errf("tokens option 'proxy' is given twice")
	}
	var err error
	a.Proxy, err = proxyOf(d)
	if a.Proxy == realm.ProxyOff {
		return d.Errf("proxy off is for a realm: without the option there is no proxy")
	}
	return err
}

// proxyOption is the option of a realm:
//
//	proxy <url> [resolve] | off
func proxyOption(p *realm.ProxyURL) option {
	return option{parse: func(d *caddyfile.Dispenser) error {
		text, err := proxyOf(d)
		*p = realm.ProxyURL(text)
		return err
	}}
}

// proxyOf reads the arguments. What comes from the environment is not known yet.
func proxyOf(d *caddyfile.Dispenser) (string, error) {
	list, err := args(d)
	if err != nil {
		return "", err
	}
	text := strings.Join(list, " ")
	warnIfOpen(d, "proxy", realm.ProxyURL(fromOutside.ReplaceAllString(list[0], "{secret.x}")).HasPassword())
	if fromOutside.MatchString(text) {
		return text, nil
	}
	if _, err := realm.ProxyURL(text).Parse(); err != nil {
		return "", d.Errf("option 'proxy': %v", err)
	}
	return text, nil
}

// provisionProxy fills in what comes from the environment.
func (a *App) provisionProxy() error {
	text, err := resolve(a.Proxy, nil)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if text == realm.ProxyOff {
		return errors.New("proxy: off is for a realm")
	}
	parts, err := realm.ProxyURL(text).Parse()
	if err == nil {
		a.proxy, err = parts.With(parts.Userinfo, true)
	}
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	return nil
}

// network makes the connections of this configuration.
func (a *App) network(d *net.Dialer) *outbound.Network {
	return &outbound.Network{Dialer: d, Guard: a.guard, Proxy: a.proxy}
}

// warnResolving tells of the proxies that resolve names: what they reach is not
// checked.
func (a *App) warnResolving() {
	if a.proxy != nil && a.proxy.Resolve {
		a.log.Warn("the proxy resolves the names of providers: which addresses it reaches is not checked here, also for realms of the API",
			zap.String("proxy", a.proxy.Host))
	}
	for _, id := range a.view.Catalog().Defined() {
		r, ok := a.view.Catalog().Remembered(id)
		if !ok {
			continue
		}
		if parts, err := r.Config.Proxy.Parse(); err == nil && parts.Resolve {
			a.log.Warn("the proxy of the realm resolves the names of the provider: which addresses it reaches is not checked here",
				zap.String("realm", id), zap.String("proxy", parts.Host))
		}
	}
}

// isFile reports whether a ca is the path of a file.
func isFile(ca string) bool {
	return ca != "" && !strings.Contains(ca, "-----BEGIN") && !fromOutside.MatchString(ca)
}

// readCA reads the file that the ca of a realm of the configuration names.
func readCA(c *realm.Config) (err error) {
	if !isFile(c.CA) {
		return nil
	}
	if !filepath.IsAbs(c.CA) {
		return errors.New("must be certificates in PEM, or the absolute path of a file with them")
	}
	c.CA, err = readFile(c.CA)
	return err
}
