package expression

import (
	"crypto"
	_ "crypto/md5"    // #nosec G501 -- providers want it
	_ "crypto/sha1"   // #nosec G505 -- providers want it
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA512
	"encoding/base64"
	"encoding/hex"
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
