package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/internal/shortcut"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxWays is how many transports are kept. Of more, the one that was not used for the
// longest time is given up, with its idle connections.
const maxWays = 256

// wayTransports are the transports for connections that are made in a way of their
// own: by a proxy, with another authority, with a client certificate. Each way has
// one, so that no request travels on the connection of another way. It is found by
// what the way says, so that a change of the realm counts from the next request on.
type wayTransports struct {
	network *outbound.Network
	// template has the settings that all of them share; nothing is sent by it.
	template *http.Transport
	// direct dials the hosts that the operator named, as the settings want it.
	direct netguard.Dialer
	// named is what network_proxy says about a request; nil without the option. base
	// asks it, too.
	named func(*http.Request) (*url.URL, error)
	base  http.RoundTripper

	mu    sync.Mutex
	byKey map[wayKey]*wayTransport
	uses  uint64
}

// wayKey tells ways apart. A guarded and an unguarded connection are two.
type wayKey struct {
	id      [32]byte
	trusted bool
}

type wayTransport struct {
	http.RoundTripper
	transport *http.Transport     // nil for a way that cannot be gone
	short     *shortcut.Transport // nil for none
	usual     string              // why there is none
	used      uint64
}

// of returns the transport of a way; nil is what the configuration says for all.
func (w *wayTransports) of(way *realm.Way, trusted bool) http.RoundTripper {
	if w.named == nil {
		return w.kept(way, trusted).RoundTripper
	}
	return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		if trusted && r.URL.Scheme != "https" {
			return w.base.RoundTrip(r)
		}
		named, err := w.byNamed(r, way, trusted)
		if err != nil {
			return refusing{err}.RoundTrip(r)
		}
		return w.kept(named, trusted).RoundTrip(r)
	})
}

// short is of for the requests that take the short way.
func (w *wayTransports) short(way *realm.Way, trusted bool) http.RoundTripper {
	kept := w.kept(way, trusted)
	if kept.short == nil {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			countSent(r, kept.usual)
			return kept.RoundTrip(r)
		})
	}
	return kept.short
}

// byNamed is a way with what network_proxy says in place of its proxy. That proxy
// resolves the hosts that the operator named; of any other it gets an address that
// was checked, as every proxy does.
func (w *wayTransports) byNamed(r *http.Request, way *realm.Way, trusted bool) (*realm.Way, error) {
	u, err := w.named(r)
	if err != nil {
		return nil, errNamed // the text may hold the password
	}
	named := realm.Way{Direct: u == nil}
	if way != nil {
		named.CA, named.Certificate, named.Key = way.CA, way.Certificate, way.Key
	}
	if u == nil {
		return named.Identify(), nil
	}
	scheme := strings.TrimSuffix(u.Scheme, "h") // socks5h is socks5 to net/http
	parts, err := realm.ProxyURL(scheme + "://" + u.Host).Parse()
	if err != nil {
		return nil, errNamed
	}
	if u.User != nil {
		parts.Userinfo = u.User.String()
	}
	parts.Resolve = trusted
	if named.Proxy, err = parts.With(parts.Userinfo, true); err != nil {
		return nil, errNamed
	}
	return named.Identify(), nil
}

var errNamed = errors.New("network_proxy does not name an http, https or socks5 proxy")

// kept returns the transport of a way, which is made where there is none.
func (w *wayTransports) kept(way *realm.Way, trusted bool) *wayTransport {
	key := wayKey{trusted: trusted}
	if way != nil {
		key.id = way.ID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uses++
	t, ok := w.byKey[key]
	if !ok {
		t = w.make(way, trusted)
		if oldest := w.keepLocked(key, t); oldest != nil {
			go oldest.close() // TLS says goodbye, which may take seconds
		}
	}
	t.used = w.uses
	return t
}

// keepLocked keeps a new transport. Where there are too many, it returns the oldest
// one, which is given up.
func (w *wayTransports) keepLocked(key wayKey, t *wayTransport) (givenUp *wayTransport) {
	if w.byKey == nil {
		w.byKey = make(map[wayKey]*wayTransport)
	}
	if len(w.byKey) >= maxWays {
		var oldest wayKey
		least := w.uses
		for key, t := range w.byKey {
			if t.used < least {
				oldest, least = key, t.used
			}
		}
		givenUp = w.byKey[oldest]
		delete(w.byKey, oldest)
	}
	w.byKey[key] = t
	return givenUp
}

// make makes the transport of a way.
func (w *wayTransports) make(way *realm.Way, trusted bool) *wayTransport {
	config, err := outbound.TLS(w.template.TLSClientConfig, way)
	if err != nil {
		return &wayTransport{RoundTripper: refusing{err}, usual: wayRealm}
	}
	t := w.template.Clone()
	// The copy would share the other one's connections of HTTP/2.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	if t.Protocols != nil {
		protocols = *t.Protocols
	}
	protocols.SetHTTP2(t.TLSNextProto["h2"] != nil)
	t.TLSNextProto, t.Protocols, t.TLSClientConfig = nil, &protocols, config
	made := &wayTransport{transport: t}
	t.DialContext = w.network.Dial(way, trusted)
	if trusted && w.network.ProxyFor(way) == nil {
		t.DialContext = w.direct
	}
	inject.GuardConnections(t, counters.surplusAnswers.Inc)
	made.RoundTripper = t
	if w.network.ProxyFor(way) != nil && w.named == nil {
		made.RoundTripper = roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				return refusing{outbound.ErrClear}.RoundTrip(r)
			}
			return t.RoundTrip(r)
		})
	}
	switch {
	case w.network.ProxyFor(way) != nil:
		made.usual = wayProxy
	case !shortcut.Suits(t):
		made.usual = wayOptions
	default:
		made.short = shortcut.New(t, countShortcut)
	}
	return made
}

// close closes idle connections.
func (w *wayTransports) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.byKey {
		t.close()
	}
}

func (t *wayTransport) close() {
	switch {
	case t.short != nil:
		t.short.CloseIdleConnections()
	case t.transport != nil:
		t.transport.CloseIdleConnections()
	}
}

// refusing sends nothing.
type refusing struct{ err error }

// RoundTrip implements http.RoundTripper.
func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, r.err
}
