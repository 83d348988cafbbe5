package expression

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"cel.dev/cel-go/common/types/ref"
)

const (
	errPublicKey    = refusal("the key is not a public key or a certificate in PEM or base64 (PKIX, PKCS#1 or X.509)")
	errNotRSAPublic = refusal("the key is not an RSA public key of 1024 to 4096 bits")
	errCertificate  = refusal("the certificate is none in PEM or base64 (X.509)")
	errAESKey       = refusal("the key of aes must have 16, 24 or 32 bytes")
)

// keyRefusals are what is said of a key.
var keyRefusals = []refusal{
	errKey, errEncrypted, errNotRSA, errNotP256, errEmptyKey, errPublicKey, errNotRSAPublic, errCertificate, errAESKey,
}

// rsaPublicKey reads an RSA public key, alone or in a certificate. What the
// certificate says beside it (names, dates, usages) is not looked at: somebody
// configured it as the provider's key.
func rsaPublicKey(text string) (*rsa.PublicKey, error) {
	der, err := derOf(text, errPublicKey, "PUBLIC KEY-----", "CERTIFICATE-----")
	if err != nil {
		return nil, err
	}
	var key any
	if parsed, err := x509.ParsePKIXPublicKey(der); err == nil {
		key = parsed
	} else if parsed, err := x509.ParsePKCS1PublicKey(der); err == nil {
		key = parsed
	} else if certificate, err := x509.ParseCertificate(der); err == nil {
		key = certificate.PublicKey
	} else {
		return nil, errPublicKey
	}
	k, ok := key.(*rsa.PublicKey)
	if !ok || k.N.BitLen() < 1024 || k.N.BitLen() > maxKeyBits {
		return nil, errNotRSAPublic
	}
	return k, nil
}

// thumbprint is x5t_s256(certificate): the member x5t#S256 of a JWT's header
// (RFC 7515 section 4.1.8). Of a chain, the first certificate counts.
func thumbprint(args []ref.Val) (any, error) {
	der, err := derOf(stringOf(args[0]), errCertificate, "CERTIFICATE-----")
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errCertificate
	}
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// derOf reads what stands behind the first of the labels that is there, in the
// forms of privateKey.
func derOf(text string, wrong refusal, labels ...string) ([]byte, error) {
	const begin, end = "-----BEGIN ", "-----END "
	if len(text) > maxKey {
		return nil, wrong
	}
	body := text
	if strings.Contains(text, begin) {
		found := false
		for _, label := range labels {
			if _, body, found = strings.Cut(text, label); found {
				break
			}
		}
		if !found {
			return nil, wrong
		}
		body, _, _ = strings.Cut(body, end)
	}
	der, err := base64.StdEncoding.DecodeString(joinLines(body))
	if err != nil {
		return nil, wrong
	}
	return der, nil
}
