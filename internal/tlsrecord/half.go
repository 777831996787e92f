package tlsrecord

import (
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"math"
)

const (
	nonceSize = 12
	maxSecret = 48 // of SHA-384
	// HeaderSize is the size of the header of a record.
	HeaderSize = 5
	// maxPlain is the maximum number of bytes of a message in one record, and maxCipher that of an encrypted record,
	// which has the type, padding and the tag in addition. RFC 8446 §5.1 and §5.2.
	maxPlain  = 1 << 14
	maxCipher = maxPlain + 256
)

// Overhead is how much longer than its plaintext a record is: the header, the type and the tag.
const Overhead = HeaderSize + 1 + 16

// MaxRecord is the maximum size of a record.
const MaxRecord = HeaderSize + maxCipher

// Content types. RFC 8446 §5.1.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

// half is one direction of a connection: the keys of its records.
type half struct {
	aead   cipher.AEAD
	seq    uint64 // of the next record
	suite  uint16
	size   uint8 // of the secret
	iv     [nonceSize]byte
	nonce  [nonceSize]byte // scratch, so that none is allocated
	secret [maxSecret]byte
}

var (
	errSuite    = errors.New("tlsrecord: unknown cipher suite")
	errSecret   = errors.New("tlsrecord: the secret has a wrong length")
	errSequence = errors.New("tlsrecord: the sequence numbers are used up")
)

// start sets the keys of a traffic secret. seq is the number of the next record.
func (h *half) start(id uint16, secret []byte, seq uint64) error {
	s, ok := suiteOf(id)
	if !ok {
		return errSuite
	}
	if len(secret) != s.secret {
		return errSecret
	}
	h.suite, h.size = id, uint8(copy(h.secret[:], secret))
	return h.rekey(&s, seq)
}

// rekey derives the keys of h.secret. RFC 8446 §7.3.
func (h *half) rekey(s *suite, seq uint64) error {
	mac := hmac.New(s.hash, h.secret[:h.size])
	out := make([]byte, 0, maxSecret) // nothing derived is longer
	defer clear(out[:maxSecret])
	copy(h.iv[:], expandLabel(out, mac, "iv", nonceSize))
	aead, err := s.aead(expandLabel(out, mac, "key", s.key))
	h.aead, h.seq = aead, seq
	return err
}

// next replaces the secret by the one that follows it. RFC 8446 §7.2.
func (h *half) next() error {
	s, ok := suiteOf(h.suite)
	if !ok {
		return errSuite
	}
	b := expandLabel(nil, hmac.New(s.hash, h.secret[:h.size]), "traffic upd", s.secret)
	copy(h.secret[:], b)
	clear(b)
	return h.rekey(&s, 0)
}

// number returns the nonce of the next record, and counts it. RFC 8446 §5.3. The number must never wrap.
func (h *half) number() ([]byte, error) {
	if h.seq == math.MaxUint64 {
		return nil, errSequence
	}
	h.nonce = h.iv
	low := h.nonce[nonceSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^h.seq)
	h.seq++
	return h.nonce[:], nil
}

// Erase overwrites the secrets. The copies within the cipher are left to the collector.
func (h *half) Erase() {
	clear(h.secret[:])
	clear(h.iv[:])
	clear(h.nonce[:])
	h.aead = nil
}
