package realm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Way is how connections to a provider are made, for token requests and API calls
// alike, where a realm says something about it. It is immutable.
type Way struct {
	// Proxy is the realm's own; nil for that of the configuration.
	Proxy *Proxy
	// Direct: no proxy is used, although the configuration may have one.
	Direct bool
	// CA are the certificates, in PEM, to which those of the provider's servers must
	// lead; empty for those of the system.
	CA string
	// Certificate and Key, in PEM, are shown to servers that ask for them; empty for
	// none.
	Certificate, Key Hidden
	// Named is the way to an upstream that the configuration file names. Of a realm
	// of the database it has the client certificate alone, and is nil without one:
	// who may change such a realm must not lead elsewhere what the operator sends to
	// a server of his choice.
	Named *Way
	// ID is what keeps connections apart: two ways of one ID are the same.
	ID [sha256.Size]byte
}

// Identify returns the way with its ID.
func (w Way) Identify() *Way {
	p := Proxy{}
	if w.Proxy != nil {
		p = *w.Proxy
	}
	var text []byte
	for _, s := range []string{
		p.Scheme, p.Host, p.User.Reveal(), p.Password.Reveal(), fmt.Sprint(p.Resolve, p.Trusted, w.Direct),
		w.CA, w.Certificate.Reveal(), w.Key.Reveal(),
	} {
		text = append(binary.AppendUvarint(text, uint64(len(s))), s...)
	}
	w.ID = sha256.Sum256(text)
	return &w
}

// String names the proxy.
func (w Way) String() string {
	switch {
	case w.Proxy != nil:
		return "by the proxy " + w.Proxy.Host
	case w.Direct:
		return "direct"
	}
	return "as configured"
}

// Format is String, for every verb.
func (w Way) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(w.String())) }
