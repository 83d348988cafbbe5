package expression

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"
	"github.com/go-jose/go-jose/v4"
)

// jwtWords are the algorithms of RFC 7518 section 3.1 that there are.
var jwtWords = []string{string(jose.RS256), string(jose.PS256), string(jose.ES256), string(jose.HS256)}

// isSaltedJWT reports whether the algorithm of a JWT signs with a random number
// (RFC 8017 section 8.1, FIPS 186-5 section 6.4).
func isSaltedJWT(args []ast.Expr) bool {
	alg, _ := literal(args[0])
	return alg == string(jose.PS256) || alg == string(jose.ES256)
}

// reservedHeaders are the signer's own.
var reservedHeaders = []string{"alg", "b64", "crit"}

// signJWT is jwt(algorithm, key, claims) and jwt(algorithm, key, claims,
// header): a JWS in compact form (RFC 7515 section 7.1), with the type JWT
// unless the header has another.
func signJWT(args []ref.Val) (any, error) {
	alg := jose.SignatureAlgorithm(stringOf(args[0]))
	key, err := jwtKey(alg, stringOf(args[1]))
	if err != nil {
		return nil, err
	}
	claims, err := nativeMap(args[2])
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if len(args) == 4 {
		if err := addHeader(options, args[3]); err != nil {
			return nil, err
		}
	}
	return compact(jose.SigningKey{Algorithm: alg, Key: key}, options, claims)
}

// jwtKey reads the key that the algorithm signs with. The algorithm decides
// about its form, and never the key about the algorithm (RFC 8725 section 3.1).
func jwtKey(alg jose.SignatureAlgorithm, text string) (any, error) {
	switch alg {
	case jose.HS256:
		if text == "" {
			return nil, errEmptyKey
		}
		return hmacKey(text), nil
	case jose.ES256:
		return p256Key(text)
	default:
		return rsaKey(text)
	}
}

// hmacKey pads a key that is shorter than RFC 7518 section 3.2 wants, and jose
// takes: some providers give out such ones. HMAC does the same inside (RFC 2104
// section 2), so the signature does not change.
func hmacKey(text string) []byte {
	key := make([]byte, max(len(text), sha256.Size))
	copy(key, text)
	return key
}

// addHeader adds the members of a header. alg, b64 and crit would change what
// the signature means.
func addHeader(options *jose.SignerOptions, v ref.Val) error {
	header, err := nativeMap(v)
	if err != nil {
		return err
	}
	for name, value := range header {
		if slices.Contains(reservedHeaders, name) {
			return refusal("alg, b64 and crit of a JWT's header are set by jwt")
		}
		options.WithHeader(jose.HeaderKey(name), value)
	}
	return nil
}

// compact signs the claims. Errors of jose are not passed on: they may quote
// the key.
func compact(key jose.SigningKey, options *jose.SignerOptions, claims map[string]any) (any, error) {
	const failed = refusal("the JWT cannot be made with this key and these claims")
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, failed
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return nil, failed
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, failed
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		return nil, failed
	}
	return token, nil
}
