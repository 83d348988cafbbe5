package grant

import (
	"strings"
	"testing"
)

// TestUnlistedAddress: a refusal because of an address says which one the provider
// saw, and where it has to be listed, also to those who do not see its words.
func TestUnlistedAddress(t *testing.T) {
	cases := map[string]struct {
		err  Error
		want string // "": it is no such refusal
	}{
		"WeChat":                   {Error{ProviderCode: "40164", ProviderMessage: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 0-0"}, "It saw the address 203.0.113.7: add that one to the IP whitelist of the account"},
		"WeCom":                    {Error{ProviderCode: "60020", ProviderMessage: "not allow to access from your ip, from ip: 203.0.113.7, more info at https://open.work.weixin.qq.com"}, "It saw the address 203.0.113.7: add that one to the trusted addresses of the app"},
		"no address":               {Error{ProviderCode: "61004", ProviderMessage: "access clientip is not registered"}, "It does not say which address it saw: find out the public address"},
		"IPv6":                     {Error{ProviderCode: "99991401", ProviderMessage: "denied: 2001:db8::7."}, "It saw the address 2001:db8::7: add that one to the IP allowlist"},
		"an unknown code":          {Error{ProviderCode: "7001", ProviderMessage: "ip 203.0.113.7 not in white list"}, "It saw the address 203.0.113.7: add that one to the address list of the app"},
		"another list":             {Error{ProviderCode: "7002", ProviderMessage: "redirect_uri 不在白名单中"}, ""},
		"another refusal":          {Error{ProviderCode: "40001", ProviderMessage: "invalid credential from 203.0.113.7"}, ""},
		"the code of a bad answer": {Error{Kind: KindBadResponse, ProviderCode: "40164"}, ""},
	}
	for name, c := range cases {
		if c.err.Kind == "" {
			c.err.Kind = KindRefused
		}
		for _, said := range []string{c.err.Summary(), c.err.Error()} {
			if !strings.Contains(said, c.want) || (c.want == "") == strings.Contains(said, "listed addresses") {
				t.Errorf("%s: %q, want %q", name, said, c.want)
			}
		}
		if said := c.err.Summary(); strings.Contains(said, "rid") || strings.Contains(said, "more info") {
			t.Errorf("%s: the provider's words are in %q", name, said)
		}
	}
}
