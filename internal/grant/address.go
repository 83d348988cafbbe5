package grant

import (
	"net/netip"
	"regexp"
	"strings"
)

// UnlistedAddress is a refusal of a provider that takes calls from listed addresses
// only, and not from this one.
type UnlistedAddress struct {
	// List is a word for whose list it is: wechat, wecom, wechat_platform, feishu;
	// any for another provider's. Place says where it is, for people.
	List, Place string
	// Seen is the address that the provider saw: that of this machine, or of the
	// NAT or the proxy in front of it. "" if the provider does not say it.
	Seen string
}

// addressLists are the lists of providers, by the code of their refusal.
var addressLists = map[string]struct{ list, place string }{
	"40164":    {"wechat", "to the IP whitelist of the account (WeChat: Settings and development > Basic configuration)"},
	"60020":    {"wecom", "to the trusted addresses of the app (WeCom: the app's page > Company's trusted IP; DingTalk: the app's security settings)"},
	"61004":    {"wechat_platform", "to the IP whitelist of the third-party platform (WeChat open platform)"},
	"99991401": {"feishu", "to the IP allowlist of the app (Feishu: Security settings)"},
}

// unlistedWords match a provider's message, or a code that is words, where the code
// is not known.
var unlistedWords = regexp.MustCompile(`(?i)\bip\b.*(white ?list|allow ?list|not allowed|not permitted|not in|not registered)|(white ?list|not allow(ed)? to access).*\bip\b|ip.?(白名单|地址)|白名单|ipnotinwhitelist`)

// UnlistedAddressOf reports whether a refusal with this code and message is that of
// an address that is not listed. The words of a message count only if the code is
// not one of those that are known to mean it.
func UnlistedAddressOf(code, message string) (UnlistedAddress, bool) {
	seen := quotedAddress(message)
	if known, ok := addressLists[code]; ok {
		return UnlistedAddress{List: known.list, Place: known.place, Seen: seen}, true
	}
	if !unlistedWords.MatchString(message) && !unlistedWords.MatchString(code) {
		return UnlistedAddress{}, false
	}
	return UnlistedAddress{List: "any", Place: "to the address list of the app on the provider's page", Seen: seen}, true
}

// Advice says which address is missing on which list.
func (u UnlistedAddress) Advice() string {
	if u.Seen == "" {
		return "It does not say which address it saw: find out the public address of this machine, or of the NAT in front of it, and add it " + u.Place
	}
	return "It saw the address " + u.Seen + ": add that one " + u.Place
}

// addressLike finds what may be an address in a message.
var addressLike = regexp.MustCompile(`[0-9a-fA-F:.]*[:.][0-9a-fA-F:.]+`)

// quotedAddress is the first address in a provider's words; "" for none. It is that
// of the caller, and not confidential.
func quotedAddress(message string) string {
	for _, word := range addressLike.FindAllString(message, -1) {
		a, err := netip.ParseAddr(strings.Trim(word, ".:"))
		if err != nil {
			a, err = netip.ParseAddr(strings.Trim(word, "."))
		}
		if err == nil && !a.IsUnspecified() {
			return a.Unmap().String()
		}
	}
	return ""
}

// UnlistedAddress reports whether the provider turned the call down because of the
// address that it came from. Words that are not those of a known code count only
// with the address: a provider may have other lists.
func (e *Error) UnlistedAddress() (UnlistedAddress, bool) {
	if e.Kind != KindRefused {
		return UnlistedAddress{}, false
	}
	u, ok := UnlistedAddressOf(e.ProviderCode, e.ProviderMessage)
	return u, ok && (u.List != "any" || u.Seen != "")
}
