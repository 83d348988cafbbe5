package realm

import "fmt"

// ForUse is what has to be known of a realm to use its tokens, and nothing of how
// they are got: for an instance that takes them from another one. Neither is the
// proxy in it, which is one of that other instance's network. isNamed: the operator
// named the hosts in a configuration file, so that http is meant.
func (c *Config) ForUse(isNamed bool) Config {
	use := Config{
		API: c.API, Hosts: c.Hosts, Inject: c.Inject, RenewOn: c.RenewOn,
		Semantics: c.Semantics, Overlap: c.Overlap, RenewBefore: c.RenewBefore, KeepWarm: c.KeepWarm,
		ReplayMax: c.ReplayMax, Upgrade: c.Upgrade, Scrub: c.Scrub, AllowHTTP: c.AllowHTTP, Forwarded: c.Forwarded,
		Pass: c.Pass, Methods: c.Methods, InjectOnly: c.InjectOnly, RewriteLinks: c.RewriteLinks,
		CA: c.CA, ClientCertificate: c.ClientCertificate, ClientKey: c.ClientKey,
	}
	if isNamed {
		use.AllowHTTP = On
	}
	return use
}

// Placed is what an instance that has the secret makes of it for one token: where
// the token goes, and what is injected. It is for an instance that has the token
// alone.
type Placed struct {
	// API and Hosts are those of a Target.
	API   string   `json:"api,omitempty"`
	Hosts []string `json:"hosts,omitempty"`
	// Values are those of a Lease. They hold the token in clear.
	Values []Hidden `json:"values"`
	// Refused is why no request may go to the API; "" if one may.
	Refused string `json:"refused,omitempty"`
}

// Format is the number of values, for every verb.
func (p Placed) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d values", len(p.Values)) }
