package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// minScrubbed is the least length of a value that is looked for in headers.
// Shorter values would be found in ordinary words.
const minScrubbed = 6

// sentTokens are the leases whose tokens the upstream has seen in a request: one,
// or two where the request was sent again.
type sentTokens [2]*realm.Lease

// needle is a confidential text, and a piece of it that is quick to look for.
type needle struct{ secret, probe string }

// scrubHeader masks the token wherever the answer's header, or its trailer,
// quotes it: a Location back to the request's own URL, a Link, an error text.
// The body passes unchanged. Interim answers (1xx) are not scrubbed: net/http
// passes them to the proxy in front directly.
func scrubHeader(h http.Header, tokens sentTokens) {
	var array [4]needle
	needles := appendNeedles(array[:0], tokens)
	for _, values := range h {
		for i, v := range values {
			if masked, found := scrub(v, needles); found {
				values[i] = masked
			}
		}
	}
}

// quotes reports whether the text holds a token in any of its forms.
func quotes(text string, tokens sentTokens) bool {
	_, found := scrub(text, appendNeedles(nil, tokens))
	return found
}

// appendNeedles appends what is looked for on behalf of all the tokens.
func appendNeedles(needles []needle, tokens sentTokens) []needle {
	for _, lease := range tokens {
		if lease != nil {
			needles = appendLease(needles, lease)
		}
	}
	return needles
}

// appendLease appends the token, and each injected value that does not hold the
// token in clear (Basic credentials, for example). The scheme in front of a value
// is not looked for: it is no secret, and an upstream that quotes the value may
// leave it out.
func appendLease(needles []needle, lease *realm.Lease) []needle {
	token := lease.Access.Reveal()
	if len(token) >= minScrubbed {
		needles = append(needles, needle{token, rarePart(token)})
	}
	for _, value := range lease.Values {
		if token != "" && strings.Contains(value, token) {
			continue
		}
		if secret := value[strings.LastIndexByte(value, ' ')+1:]; len(secret) >= minScrubbed {
			needles = append(needles, needle{secret, rarePart(secret)})
		}
	}
	return needles
}

// scrub masks the needles in a text, and reports whether there was one. The probe
// saves the search byte by byte for nearly every text; what holds a "%" may quote
// the secret in escapes that the probe does not match.
func scrub(text string, needles []needle) (string, bool) {
	found := false
	for _, n := range needles {
		if len(text) < len(n.secret) || !strings.Contains(text, n.probe) && strings.IndexByte(text, '%') < 0 {
			continue
		}
		if masked, ok := n.mask(text); ok {
			text, found = masked, true
		}
	}
	return text, found
}

// mask replaces every occurrence of the secret. realm.Mask consists of
// characters that may stand in a query and in a header as they are.
func (n needle) mask(text string) (string, bool) {
	var b strings.Builder
	found, kept := false, 0
	for i := 0; i < len(text); {
		size := quotedSize(text[i:], n.secret)
		if size == 0 {
			i++
			continue
		}
		found = true
		b.WriteString(text[kept:i])
		b.WriteString(realm.Mask)
		i += size
		kept = i
	}
	b.WriteString(text[kept:])
	return b.String(), found
}

// rarePart is a piece of the secret that stays as it is in a URL: a run of
// letters and digits, up to eight bytes, as near to the end as there is one,
// since tokens of one provider often begin alike. It is empty, and found
// everywhere, where the secret has no letters or digits.
func rarePart(secret string) string {
	const enough = 8
	best := ""
	for end := len(secret); end > 0 && len(best) < enough; {
		begin := end
		for begin > 0 && end-begin < enough && foldByte(secret[begin-1]) != '-' {
			begin--
		}
		if end-begin > len(best) {
			best = secret[begin:end]
		}
		end = min(begin, end-1)
	}
	return best
}

// quotedSize returns how many bytes at the beginning of text are the secret, in
// clear or percent-encoded; 0 for none.
func quotedSize(text, secret string) int {
	at := 0
	for i := range len(secret) {
		n := quotedByte(text[at:], secret[i])
		if n == 0 {
			return 0
		}
		at += n
	}
	return at
}

// quotedByte returns how many bytes at the beginning of text stand for one byte of
// the secret; 0 for none. They are the byte itself, %XX, or %25XX and so on, where an
// encoded URL stands in another one. A blank may be a "+" in any of them.
func quotedByte(text string, b byte) int {
	if text == "" {
		return 0
	}
	if text[0] == b || text[0] == '+' && b == ' ' {
		return 1
	}
	if text[0] != '%' {
		return 0
	}
	at := 1
	for strings.HasPrefix(text[at:], "25") {
		at += 2
	}
	high, low, ok := hexPair(text[at:])
	if c := high<<4 | low; ok && (c == b || c == '+' && b == ' ') {
		return at + 2
	}
	return 0
}
