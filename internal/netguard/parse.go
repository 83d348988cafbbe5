package netguard

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Parse reads the entries of allow_private: prefixes ("10.0.0.0/8"),
// addresses and host names ("vault.internal"). A name is compared exactly,
// without regard to case and a trailing dot.
func Parse(entries []string) (Policy, error) {
	p := Policy{names: make(map[string]bool)}
	for _, entry := range entries {
		if err := p.add(entry); err != nil {
			return Policy{}, fmt.Errorf("allow_private %q: %w", entry, err)
		}
	}
	return p, nil
}

// add reads one entry: a prefix, an address or a host name.
func (p *Policy) add(entry string) error {
	if strings.Contains(entry, "/") {
		prefix, err := netip.ParsePrefix(entry)
		if err != nil {
			return errors.New("is not a prefix such as 10.0.0.0/8")
		}
		return p.addPrefix(prefix.Masked())
	}
	if addr, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil {
		if addr.Zone() != "" {
			return errors.New("an address with a zone cannot be allowed")
		}
		return p.addPrefix(netip.PrefixFrom(addr, addr.BitLen()))
	}
	name, err := parseName(entry)
	if err != nil {
		return err
	}
	p.names[name] = true
	return nil
}

// addPrefix refuses the IPv4-mapped form: addresses are compared in their IPv4
// form, so that it would never match.
func (p *Policy) addPrefix(prefix netip.Prefix) error {
	if prefix.Addr().Is4In6() {
		return errors.New("write the IPv4 form of an IPv4-mapped address")
	}
	p.prefixes = append(p.prefixes, prefix)
	return nil
}

// parseName reads a host name. Names of local networks may hold underscores,
// which idna refuses, so ASCII names are judged here.
func parseName(entry string) (string, error) {
	name := canonicalName(entry)
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii
	}
	if name == "" || len(name) > 253 || strings.Trim(name, nameCharacters) != "" || !hasLetter(name) {
		return "", errors.New("is not a prefix, an address or a host name (no port, no wildcard)")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return "", errors.New("is not a valid host name")
		}
	}
	return name, nil
}

const nameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_."

// hasLetter tells names from misspelt addresses: "10.0.0" is no name.
func hasLetter(name string) bool {
	return strings.ContainsAny(name, "abcdefghijklmnopqrstuvwxyz")
}
