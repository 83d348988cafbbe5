package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"

	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// way is how the realm's connections are made, before the secret is known.
type way struct {
	proxy    realm.ProxyParts
	userinfo template
	trusted  bool
	common   realm.Way // all that no secret decides
	// certificate and key are names of fields.
	certificate, key string
}

// compileWay compiles what the realm says about its connections; nil for nothing.
func (p *Program) compileWay() (*way, error) {
	cfg := &p.realm.Config
	if cfg.Proxy == "" && cfg.CA == "" && cfg.ClientCertificate == "" {
		return nil, nil
	}
	w := &way{
		common:      realm.Way{Direct: cfg.Proxy == realm.ProxyOff, CA: cfg.CA},
		certificate: cfg.ClientCertificate, key: cfg.ClientKey, trusted: p.trusted,
	}
	var err error
	if w.proxy, err = cfg.Proxy.Parse(); err != nil {
		return nil, realm.Fieldf(proxyField, "%v", err)
	}
	if !p.trusted {
		if cfg.Proxy.HasPassword() {
			return nil, realm.Fieldf(proxyField, "must not hold a password: write {secret.x} in its place, and put it into shared")
		}
		if w.proxy.Resolve {
			return nil, realm.Fieldf(proxyField, "resolve is for the configuration file: the proxy would reach addresses that are not checked")
		}
	}
	if w.userinfo, err = parseTemplate(w.proxy.Userinfo, scopeTarget); err != nil {
		return nil, realm.Fieldf(proxyField, "%v", err)
	}
	return w, nil
}

const proxyField = "config.proxy"

// hasProxy reports whether the realm names a proxy.
func (w *way) hasProxy() bool { return w != nil && w.proxy.Scheme != "" }

// fields are those of the secret that are needed for a connection.
func (w *way) fields() []string {
	if w == nil {
		return nil
	}
	return w.userinfo.fields(w.certificateFields())
}

// certificateFields are those with the client certificate and its key.
func (w *way) certificateFields() []string {
	if w == nil || w.certificate == "" {
		return nil
	}
	return []string{w.certificate, w.key}
}

// bind fills the secret in.
func (w *way) bind(v *values) (*realm.Way, error) {
	if w == nil {
		return nil, nil
	}
	bound := w.common
	userinfo := w.userinfo.expand(v, func(s string) string { return url.User(s).String() })
	var err error
	if bound.Proxy, err = w.proxy.With(userinfo, w.trusted); err != nil {
		return nil, realm.Fieldf(proxyField, "%v", err)
	}
	if w.certificate != "" {
		bound.Certificate, _ = v.field(w.certificate)
		bound.Key, _ = v.field(w.key)
		if _, err := outbound.KeyPair(bound.Certificate, bound.Key); err != nil {
			return nil, realm.Fieldf(w.certificate, "%v", err)
		}
	}
	way := bound.Identify()
	switch {
	case w.trusted:
		way.Named = way
	case bound.Certificate != "":
		way.Named = realm.Way{Certificate: bound.Certificate, Key: bound.Key}.Identify()
	}
	return way, nil
}

// hosts are the proxy that gets fields, and the authority that says who the provider
// is. They count as hosts: whoever changes a realm must not have a value sent to a
// proxy of his own, or to a server that only an authority of his own vouches for.
func (w *way) hosts(fill func(name string) (value string, known bool)) []Host {
	if w == nil {
		return nil
	}
	var list []Host
	if fields := w.userinfo.fields(nil); len(fields) > 0 {
		known := false
		for _, name := range fields {
			_, ok := fill(name)
			known = known || ok
		}
		if known {
			list = append(list, Host{Name: "proxy:" + w.proxy.Scheme + "://" + w.proxy.Host, Written: "the proxy " + w.proxy.Host})
		}
	}
	if w.common.CA != "" {
		sum := sha256.Sum256([]byte(w.common.CA))
		list = append(list, Host{Name: "ca:" + hex.EncodeToString(sum[:]), Written: "a server that the realm's ca vouches for"})
	}
	return list
}
