package expression

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"errors"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"
)

// encryptionCost is that of an encryption with the longest public key that is
// taken: its exponent is short, so that it takes a tenth of a signature.
const encryptionCost = 20_000

// The modes of aes, and the paddings of rsa_encrypt beside that of PKCS#1 v1.5.
const (
	modeCBC     = "cbc"
	modeGCM     = "gcm"
	paddingOAEP = "oaep"
	// paddingOAEP256 has SHA-256 for the label and for the mask as well.
	paddingOAEP256 = "oaep_sha256"
)

// ciphers are the functions that encrypt.
var ciphers = []*function{
	{
		name: "aes", result: cel.BytesType, call: encryptAES, words: []string{modeCBC, modeGCM}, wordForm: 1, keyAt: second,
		forms: [][]*cel.Type{{cel.StringType, bytesOrText, bytesOrText, bytesOrText}},
	},
	{
		name: "rsa_encrypt", result: cel.BytesType, call: encryptRSA, cost: encryptionCost,
		words: []string{paddingOAEP, paddingOAEP256}, wordForm: 3, wordAt: 2, keyAt: second,
		isRandom: func([]ast.Expr) bool { return true }, // each padding
		forms:    [][]*cel.Type{{bytesOrText, cel.StringType}, {bytesOrText, cel.StringType, cel.StringType}},
	},
	{
		name: "x5t_s256", result: cel.StringType, call: thumbprint, keyAt: first,
		forms: [][]*cel.Type{{cel.StringType}},
	},
}

// encryptAES is aes(mode, key, iv, text). The bytes of the key decide between
// AES-128, AES-192 and AES-256. CBC pads with PKCS#7 (RFC 5652 section 6.3), and
// GCM puts the tag of 16 bytes behind the text (RFC 5116 section 5.1).
func encryptAES(args []ref.Val) (any, error) {
	mode, iv, text := stringOf(args[0]), bytesOf(args[2]), bytesOf(args[3])
	block, err := aes.NewCipher(bytesOf(args[1]))
	if err != nil {
		return nil, errAESKey
	}
	if mode == modeGCM {
		gcm, err := cipher.NewGCM(block)
		if err != nil || len(iv) != gcm.NonceSize() {
			return nil, refusal("the iv of aes in mode gcm must have 12 bytes")
		}
		return gcm.Seal(nil, iv, text, nil), nil
	}
	if len(iv) != aes.BlockSize {
		return nil, refusal("the iv of aes in mode cbc must have 16 bytes")
	}
	missing := aes.BlockSize - len(text)%aes.BlockSize
	padded := append(bytes.Clone(text), bytes.Repeat([]byte{byte(missing)}, missing)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return padded, nil
}

// encryptRSA is rsa_encrypt(text, key), with the padding of PKCS#1 v1.5 (RFC 8017
// section 7.2), and rsa_encrypt(text, key, padding), with that of OAEP (section
// 7.1).
func encryptRSA(args []ref.Val) (any, error) {
	text := bytesOf(args[0])
	key, err := rsaPublicKey(stringOf(args[1]))
	if err != nil {
		return nil, err
	}
	var sealed []byte
	switch {
	case len(args) == 2:
		sealed, err = rsa.EncryptPKCS1v15(rand.Reader, key, text) //nolint:staticcheck // providers want it
	case stringOf(args[2]) == paddingOAEP:
		sealed, err = rsa.EncryptOAEP(crypto.SHA1.New(), rand.Reader, key, text, nil)
	default:
		sealed, err = rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, key, text, nil)
	}
	switch {
	case errors.Is(err, rsa.ErrMessageTooLong):
		return nil, refusal("the text is too long for the RSA key")
	case err != nil:
		return nil, refusal("the RSA key cannot encrypt")
	}
	return sealed, nil
}
