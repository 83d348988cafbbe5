package expression

import (
	"crypto"
	_ "crypto/md5"    // #nosec G501 -- providers want it
	_ "crypto/sha1"   // #nosec G505 -- providers want it
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA512
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
)

// textFunctions need no key. A digest is written in lower-case hexadecimal,
// which is what providers sign with: upper(md5(x)) is the usual signature, and
// unhex gives its bytes.
var textFunctions = []*function{
	ofText("md5", cel.StringType, digest(crypto.MD5)),
	ofText("sha1", cel.StringType, digest(crypto.SHA1)),
	ofText("sha256", cel.StringType, digest(crypto.SHA256)),
	ofText("hex", cel.StringType, func(b []byte) (any, error) { return hex.EncodeToString(b), nil }),
	ofText("base64", cel.StringType, func(b []byte) (any, error) { return base64.StdEncoding.EncodeToString(b), nil }),
	ofString("unhex", cel.BytesType, unhex),
	ofString("unbase64", cel.BytesType, unbase64),
	ofString("upper", cel.StringType, func(s string) (any, error) { return strings.ToUpper(s), nil }),
	ofString("lower", cel.StringType, func(s string) (any, error) { return strings.ToLower(s), nil }),
	ofText("crc32", cel.StringType, func(b []byte) (any, error) { return strconv.FormatUint(uint64(crc32.ChecksumIEEE(b)), 10), nil }),
	ofString("urlencode", cel.StringType, urlEncode),
	{name: "replace", result: cel.StringType, forms: [][]*cel.Type{{cel.StringType, cel.StringType, cel.StringType}}, call: replace},
	{name: "json", result: cel.StringType, forms: [][]*cel.Type{{table}, {list}, {cel.StringType}, {cel.IntType}, {cel.BoolType}}, call: writeJSON},
	{name: "sorted_join", result: cel.StringType, forms: [][]*cel.Type{{table, cel.StringType, cel.StringType}}, call: sortedJoin},
}

// ofText is a function of one text or of bytes.
func ofText(name string, result *cel.Type, f func([]byte) (any, error)) *function {
	return &function{
		name: name, result: result, forms: [][]*cel.Type{{bytesOrText}},
		call: func(args []ref.Val) (any, error) { return f(bytesOf(args[0])) },
	}
}

// ofString is a function of one text.
func ofString(name string, result *cel.Type, f func(string) (any, error)) *function {
	return &function{
		name: name, result: result, forms: [][]*cel.Type{{cel.StringType}},
		call: func(args []ref.Val) (any, error) { return f(stringOf(args[0])) },
	}
}

// digest is the function of a hash, in lower-case hexadecimal.
func digest(h crypto.Hash) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return hex.EncodeToString(sum(h, b)), nil }
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b) // never fails
	return d.Sum(nil)
}

func unhex(s string) (any, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, refusal("the text of unhex is not hexadecimal")
	}
	return b, nil
}

func unbase64(s string) (any, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, refusal("the text of unbase64 is not base64")
	}
	return b, nil
}

// urlEncode keeps the unreserved characters of RFC 3986 section 2.3 and writes
// every other byte as %XX. This is what signatures are made of: url.QueryEscape
// has a plus for a blank, and url.PathEscape keeps more characters.
func urlEncode(s string) (any, error) {
	const digits, unreserved = "0123456789ABCDEF", "-._~"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(unreserved, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&0x0f]})
	}
	return b.String(), nil
}

// replace is replace(text, old, new). How long the result will be is found out
// before it is made: a long text in place of each character of a long one would
// fill the memory.
func replace(args []ref.Val) (any, error) {
	text, before, after := stringOf(args[0]), stringOf(args[1]), stringOf(args[2])
	if before == "" {
		return nil, refusal("replace cannot replace an empty text")
	}
	if len(text)+strings.Count(text, before)*(len(after)-len(before)) > maxResult {
		return nil, errTooLarge
	}
	return strings.ReplaceAll(text, before, after), nil
}
