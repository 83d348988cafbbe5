package expression

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
)

// hashes are the words for a hash.
var hashes = map[string]crypto.Hash{
	"md5": crypto.MD5, "sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha512": crypto.SHA512,
}

var hashWords = []string{"md5", "sha1", "sha256", "sha512"}

// signatures need a key.
var signatures = []*function{
	{
		name: "hmac", result: cel.BytesType, call: signHMAC, words: hashWords, wordForm: 1, keyAt: second,
		forms: [][]*cel.Type{{cel.StringType, bytesOrText, bytesOrText}},
	},
	{
		name: "rsa", result: cel.BytesType, call: signRSA, cost: signatureCost, words: hashWords, wordForm: 3,
		keyAt: func(n int) int { return n - 2 },
		forms: [][]*cel.Type{{cel.StringType, bytesOrText}, {cel.StringType, cel.StringType, bytesOrText}},
	},
	{
		name: "jwt", result: cel.StringType, call: signJWT, cost: signatureCost, words: jwtWords, wordForm: 1, keyAt: second,
		isRandom: isSaltedJWT,
		forms:    [][]*cel.Type{{cel.StringType, cel.StringType, table}, {cel.StringType, cel.StringType, table, table}},
	},
}

// signHMAC is hmac(algorithm, key, text).
func signHMAC(args []ref.Val) (any, error) {
	mac := hmac.New(hashes[stringOf(args[0])].New, bytesOf(args[1]))
	mac.Write(bytesOf(args[2])) // never fails
	return mac.Sum(nil), nil
}

// signRSA is rsa(key, text), a signature of the text as it is, and
// rsa(algorithm, key, text), one of its digest; both with the padding of
// PKCS#1 v1.5 (RFC 8017 section 8.2). The first is what some providers call
// encryption with the private key: there is no digest in it that says what was
// hashed.
func signRSA(args []ref.Val) (any, error) {
	var hash crypto.Hash
	text := bytesOf(args[len(args)-1])
	if len(args) == 3 {
		hash = hashes[stringOf(args[0])]
		text = sum(hash, text)
	}
	key, err := rsaKey(stringOf(args[len(args)-2]))
	if err != nil {
		return nil, err
	}
	signature, err := rsa.SignPKCS1v15(nil, key, hash, text)
	switch {
	case errors.Is(err, rsa.ErrMessageTooLong):
		return nil, refusal("the text is too long for the RSA key")
	case err != nil:
		return nil, refusal("the RSA key cannot sign")
	}
	return signature, nil
}
