package push

import (
	"crypto/aes"
	"crypto/cipher"
)

const (
	keySize   = 32 // AES-256
	blockSize = aes.BlockSize
)

// decrypt opens AES-CBC and takes the padding away (PKCS #7), which has at most
// most bytes. ok is false for what was not encrypted with the key.
func decrypt(key, iv, sealed []byte, most int) (plain []byte, ok bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(sealed) == 0 || len(sealed)%blockSize != 0 {
		return nil, false
	}
	plain = make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > most || padding > len(plain) {
		return nil, false
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, false
		}
	}
	return plain[:len(plain)-padding], true
}
