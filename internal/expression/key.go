package expression

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
)

const (
	// maxKey is the longest text of a key, and maxKeyBits the longest modulus:
	// to sign with a longer one takes long.
	maxKey     = 8 << 10
	maxKeyBits = 4096
)

const (
	errKey       = refusal("the key is not a private key in PEM or base64 (PKCS#8, PKCS#1 or SEC 1)")
	errEncrypted = refusal("the key is encrypted: it must be stored without a passphrase")
	errNotRSA    = refusal("the key is not an RSA key of 1024 to 4096 bits")
	errEmptyKey  = refusal("the key is empty")
	errNotP256   = refusal("the key is not an ECDSA key of the curve P-256")
)

// rsaKey reads an RSA key. A key of more than 4,096 bits takes so long that the
// cost of a signature would be wrong.
func rsaKey(text string) (*rsa.PrivateKey, error) {
	key, err := privateKey(text)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*rsa.PrivateKey)
	if !ok || k.N.BitLen() < 1024 || k.N.BitLen() > maxKeyBits {
		return nil, errNotRSA
	}
	return k, nil
}

// p256Key reads a key of the one curve that ES256 is defined for (RFC 7518
// section 3.4).
func p256Key(text string) (*ecdsa.PrivateKey, error) {
	key, err := privateKey(text)
	if err != nil {
		return nil, err
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, errNotP256
	}
	return k, nil
}

// privateKey reads a key as people have it: PEM, also on one line or with "\n"
// written out, as it comes from environments and JSON files, or the base64
// alone. Errors of crypto/x509 are not passed on.
func privateKey(text string) (crypto.PrivateKey, error) {
	if len(text) > maxKey {
		return nil, errKey
	}
	body, err := pemBody(text)
	if err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(joinLines(body))
	if err != nil {
		return nil, errKey
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errKey
}

// joinLines takes the ends of lines away, also those that are written out as
// "\n", and all blanks.
func joinLines(body string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(body, `\n`, "\n")), "")
}

// pemBody finds the base64 of the private key in PEM; openssl puts others
// beside it. A text without PEM is all base64.
func pemBody(text string) (string, error) {
	const label, begin, end = "PRIVATE KEY-----", "-----BEGIN ", "-----END "
	if !strings.Contains(text, begin) {
		return text, nil
	}
	head, body, found := strings.Cut(text, label)
	switch {
	case !found:
		return "", errKey
	case strings.HasSuffix(head, "ENCRYPTED "), strings.Contains(body, "Proc-Type:"):
		return "", errEncrypted
	}
	body, _, _ = strings.Cut(body, end)
	return body, nil
}
