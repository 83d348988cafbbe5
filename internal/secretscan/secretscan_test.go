package secretscan

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const secret = "Canary5f1c"

// TestFind: a secret is found in each of its encodings, wherever it stands among
// other bytes.
func TestFind(t *testing.T) {
	var names []string
	for _, f := range encodingsOf(secret) {
		names = append(names, f.encoding)
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n < 12 {
		t.Errorf("%d encodings", n)
	}
	for before := range 6 {
		text := strings.Repeat("<", before) + secret + ">more"
		wide := make([]byte, 0, 2*len(text))
		for _, c := range []byte(text) {
			wide = append(wide, c, 0)
		}
		for name, place := range map[string]string{
			"plain": text, "other case": strings.ToUpper(text), "percent": url.PathEscape(text), "hex": hex.EncodeToString([]byte(text)),
			"capital hex": strings.ToUpper(hex.EncodeToString([]byte(text))), "base64": base64.StdEncoding.EncodeToString([]byte(text)),
			"base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte(text)), "base32": base32.StdEncoding.EncodeToString([]byte(text)),
			"small base32": strings.ToLower(base32.StdEncoding.EncodeToString([]byte(text))), "decimal": fmt.Sprint([]byte(text)), //nolint:staticcheck // the numbers are meant
			"UTF-16": string(wide), "base64 of UTF-16": base64.StdEncoding.EncodeToString(wide),
			"base64 of wide UTF-16": base64.StdEncoding.EncodeToString(append([]byte{0}, wide...)),
			"among other bytes":     "\xff\xfe" + text + "\x80",
		} {
			if Find(place, "other secret", secret) == nil {
				t.Errorf("%s behind %d bytes is not found", name, before)
			}
		}
	}
	if found := Find(strings.Repeat("canary 5f1c, ordinary text ", 1000), secret); found != nil {
		t.Errorf("found where it is not: %v", found)
	}
}

// TestFindInvisible: characters that nobody sees were enough to hide a secret
// from the search. They stand there as they are, and as JSON has them.
func TestFindInvisible(t *testing.T) {
	for _, inside := range []string{"\x00", "\u200b", "\ufffd", "\u00ad", "\r\n", "\xff"} {
		for at := range len(secret) {
			text := secret[:at] + inside + secret[at:]
			quoted, err := json.Marshal(text)
			if err != nil {
				t.Fatal(err)
			}
			if inside != "\xff" && Find(text, secret) == nil || Find(string(quoted), secret) == nil {
				t.Errorf("%+q is not found", text)
			}
		}
	}
	digits := base64.StdEncoding.EncodeToString([]byte("x" + secret + secret))
	if Find(digits[:9]+"\r\n"+digits[9:19]+"\r\n"+digits[19:], secret) == nil {
		t.Error("base64 in lines is not found")
	}
}

// TestFindParts: a part of a long secret is found, whatever bytes it has, and in
// both alphabets of base64.
func TestFindParts(t *testing.T) {
	raw := "\xfb\xff\xbf\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0cABCDefgh\xfe\xff\x3f\x3e\xfb\xef\xbe\x80QRSTuvwx\x90\x91\x92\x93\x94\x95\x96\x97"
	for _, part := range []string{raw[:12], raw[36:], raw, raw[5:29]} {
		for name, place := range map[string]string{
			"raw": part, "hex": hex.EncodeToString([]byte(part)), "base64": base64.StdEncoding.EncodeToString([]byte(part)),
			"base64 for URLs": base64.URLEncoding.EncodeToString([]byte(part)),
		} {
			if found := Find("x\n"+place+"\ny", raw); found == nil {
				t.Errorf("%s of %q is not found", name, part)
			} else if !strings.Contains(found[0].String(), found[0].Encoding) {
				t.Errorf("it says %s", found[0])
			}
		}
	}
}
