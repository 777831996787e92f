package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a cipher suite. RFC 8446 appendix B.4.
type suite struct {
	id     uint16
	key    int // bytes
	hash   func() hash.Hash
	secret int // bytes of a traffic secret: those of the hash
	aead   func(key []byte) (cipher.AEAD, error)
}

// suites are those of TLS 1.3 that crypto/tls agrees on.
var suites = [...]suite{
	{tls.TLS_AES_128_GCM_SHA256, 16, sha256.New, sha256.Size, newGCM},
	{tls.TLS_AES_256_GCM_SHA384, 32, sha512.New384, sha512.Size384, newGCM},
	{tls.TLS_CHACHA20_POLY1305_SHA256, chacha20poly1305.KeySize, sha256.New, sha256.Size, chacha20poly1305.New},
}

// mostRecords is the number of records that one key may seal before a KeyUpdate is due. RFC 8446 §5.5 allows 2^24.5
// full-sized records for AES-GCM. ChaCha20-Poly1305 has no such limit; it gets new keys as rarely.
const mostRecords = 1 << 24

// suiteOf returns a suite. It reports false if there is none with this id.
func suiteOf(id uint16) (suite, bool) {
	for _, s := range suites {
		if s.id == id {
			return s, true
		}
	}
	return suite{}, false
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expandLabel fills out with HKDF-Expand-Label, with an empty context. RFC 8446 §7.1. mac is HMAC with the secret, of
// nothing yet. What is expanded here has at most the size of the hash, for which HKDF-Expand is one HMAC: RFC 5869
// §2.3.
func expandLabel(out []byte, mac hash.Hash, label string) {
	label = "tls13 " + label
	info := make([]byte, 0, 64)
	info = append(info, byte(len(out)>>8), byte(len(out)), byte(len(label)))
	info = append(info, label...)
	info = append(info, 0) // no context
	info = append(info, 1) // the first block
	mac.Write(info)
	sum := mac.Sum(make([]byte, 0, maxSecret))
	copy(out, sum)
	clear(sum)
}
