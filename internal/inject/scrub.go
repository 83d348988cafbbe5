package inject

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// minScrubbed is the length from which on a value is looked for in headers.
// Shorter ones would be found in ordinary words.
const minScrubbed = 6

// scrubHeader masks the token wherever the answer's header quotes it: a
// Location back to the request's own URL, a Link, an error text. The body
// passes untouched.
func scrubHeader(h http.Header, lease *realm.Lease) {
	for name, values := range h {
		for i, v := range values {
			if masked, found := scrub(v, lease); found {
				h[name][i] = masked
			}
		}
	}
}

// scrub masks the token and the injected values in a text. It also sees them
// percent-encoded, once or several times over.
func scrub(text string, lease *realm.Lease) (string, bool) {
	if len(text) < minScrubbed {
		return text, false
	}
	token := lease.Access.Reveal()
	text, found := mask(text, token)
	for _, value := range lease.Values {
		if strings.Contains(value, token) && token != "" {
			continue
		}
		// A scheme in front ("Basic ...") is no secret, and may be cut off.
		credential := value[strings.LastIndexByte(value, ' ')+1:]
		masked, again := mask(text, credential)
		text, found = masked, found || again
	}
	return text, found
}

// mask replaces every occurrence of the secret. realm.Mask consists of
// characters that may stand in a query and in a header as they are.
func mask(text, secret string) (string, bool) {
	probe := rarePart(secret)
	if len(secret) < minScrubbed || !strings.Contains(text, probe) {
		return text, false
	}
	var b strings.Builder
	found, rest := false, text
	for i := 0; i < len(rest); {
		n := quoted(rest[i:], secret)
		if n == 0 {
			i++
			continue
		}
		found = true
		b.WriteString(rest[:i])
		b.WriteString(realm.Mask)
		rest, i = rest[i+n:], 0
	}
	if !found {
		return text, false
	}
	b.WriteString(rest)
	return b.String(), true
}

// rarePart is a piece of the secret that looks the same in every encoding: a
// run of letters and digits, up to eight bytes, as near to the end as there
// is one, since tokens of one provider often begin alike. It is empty, and
// found everywhere, where the secret has no letters or digits.
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

// quoted says how many bytes at the beginning of text are the secret, in
// clear or percent-encoded; 0 for none.
func quoted(text, secret string) int {
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

// quotedByte matches one byte: itself, %XX, or %25XX and so on, where an
// encoded URL stands in another one.
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
	if high, low, ok := hexPair(text[at:]); ok && high<<4|low == b {
		return at + 2
	}
	return 0
}
