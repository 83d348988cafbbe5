package inject

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// writings are ways to write a secret behind other bytes.
var writings = []struct {
	name  string
	write func(before, secret, after string) string
}{
	{"hex", func(_, secret, _ string) string { return hex.EncodeToString([]byte(secret)) }},
	{"HEX", func(_, secret, _ string) string { return strings.ToUpper(hex.EncodeToString([]byte(secret))) }},
	{"base64", func(before, secret, after string) string {
		return base64.StdEncoding.EncodeToString([]byte(before + secret + after))
	}},
	{"base64url", func(before, secret, after string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(before + secret + after))
	}},
	{"base64 in a query", func(before, secret, after string) string {
		return url.QueryEscape(url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(before + secret + after))))
	}},
}

// decodes reports whether the secret can be read out of a text in one of the ways
// that are scrubbed.
func decodes(text, secret string) bool {
	for range 3 {
		if strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(secret))) {
			return true
		}
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for begin := range text {
				whole := strings.TrimRight(text[begin:], "=")
				for ; len(whole)%4 == 1; whole = whole[:len(whole)-1] {
				}
				if b, err := encoding.DecodeString(whole); err == nil && strings.Contains(string(b), secret) {
					return true
				}
			}
		}
		if unescaped, err := url.QueryUnescape(text); err == nil {
			text = unescaped
		}
	}
	return false
}

// Whatever stands around a secret in base64, and in hex, it is found; and the probes
// find it before.
func TestScrubWritingsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[!-~]{6,40}`).Draw(t, "secret")
		around := rapid.StringMatching(`[ -~]{0,7}`)
		w := rapid.SampledFrom(writings).Draw(t, "writing")
		text := w.write(around.Draw(t, "before"), secret, around.Draw(t, "after"))
		if !decodes(text, secret) {
			t.Fatalf("%q is not in %q", secret, text)
		}
		h := http.Header{"X": {text}}
		l := apiLease(inHeader)
		l.Access, l.Values = realm.Hidden(secret), []string{"Bearer " + secret}
		scrubHeader(h, sentTokens{l})
		if decodes(h["X"][0], secret) || !strings.Contains(h["X"][0], realm.Mask) {
			t.Fatalf("%q became %q", text, h["X"][0])
		}
	})
}

// A probe is the end of its form.
func TestProbeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringOfN(rapid.Rune(), minScrubbed, 60, -1).Draw(t, "secret")
		for f := range endOfForms {
			text := f.folded(secret)
			if len(text) < len(secret) {
				t.Fatalf("form %d of %q has %d bytes", f, secret, len(text))
			}
			var want probe
			for _, c := range text[max(0, len(text)-8):] {
				want.want, want.mask = want.want<<8|uint64(c), want.mask<<8|0xff
			}
			if got := f.probe(secret); got != want {
				t.Fatalf("form %d of %q: %x, want %x", f, secret, got, want)
			}
		}
	})
}

// A name is changed on the way, and cannot be masked: the field goes.
func TestAnswerScrubsNames(t *testing.T) {
	l := apiLease(inHeader)
	l.Access, l.Values = "Name-Token_4f9c2e71", []string{"Bearer Name-Token_4f9c2e71"}
	got := answered(t, l, "POST", http.Header{
		"X-Name-Token_4f9c2e71": {"1"}, "x-NAME-TOKEN_4F9C2E71-y": {"1"}, "Name%2dToken_4f9c2e71": {"1"},
		http.CanonicalHeaderKey(hex.EncodeToString([]byte(l.Access))): {"1"}, "X-Token": {"1"},
	})
	equal(t, http.Header{"X-Token": {"1"}}, got, "header")
}

// The session of the provider belongs to the provider and to nobody else. What a
// realm passes on is scrubbed like any other field.
func TestAnswerSetCookie(t *testing.T) {
	for _, pass := range [][]string{nil, {"Cookie"}, {"Set-Cookie"}} {
		l := apiLease(inQuery)
		l.Target.Pass = pass
		got := answered(t, l, "POST", http.Header{"Set-Cookie": {"session=1", "t=" + token}, "Set-Cookie2": {"a=1"}, "X-Other": {"1"}})
		want := http.Header{"X-Other": {"1"}}
		if slices.Contains(pass, "Set-Cookie") {
			want["Set-Cookie"] = []string{"session=1", "t=" + realm.Mask}
		}
		equal(t, want, got, strings.Join(pass, " "))
	}
}

// Whatever an upstream answers, and whichever token it gave out before, the search
// takes time in proportion. The product of both lengths would be 8 billion steps.
func TestScrubIsLinear(t *testing.T) {
	const long = 32 << 10
	begin := time.Now()
	for _, secret := range []string{
		strings.Repeat("a", long-1) + "b", "b" + strings.Repeat("a", long-1), strings.Repeat("ab", long/2-1) + "aa",
		strings.Repeat("a", long),
	} {
		l := apiLease(inHeader)
		l.Access, l.Values = realm.Hidden(secret), []string{"Bearer " + secret}
		for _, piece := range []string{"a", "%61", "%2525252561", secret[:long-1], secret[1:], secret, "%", "%25", "aaaaaaab"} {
			h := http.Header{"X": {strings.Repeat(piece, 256<<10/len(piece))}}
			scrubHeader(h, sentTokens{l})
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}
