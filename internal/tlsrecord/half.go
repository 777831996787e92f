package tlsrecord

import (
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"hash"
	"math"
	"unsafe"
)

const (
	nonceSize = 12
	tagSize   = 16
	maxSecret = 48 // of SHA-384
	maxKey    = 32 // of AES-256 and ChaCha20
	// HeaderSize is the size of the header of a record.
	HeaderSize = 5
	// maxPlain is the maximum number of bytes of a message in one record, and maxCipher that of an encrypted record,
	// which has the type, padding and the tag in addition. RFC 8446 §5.1 and §5.2.
	maxPlain  = 1 << 14
	maxCipher = maxPlain + 256
)

// Overhead is how much longer than its plaintext a record is: the header, the type and the tag.
const Overhead = HeaderSize + 1 + tagSize

// MaxRecord is the maximum size of a record.
const MaxRecord = HeaderSize + maxCipher

// Content types. RFC 8446 §5.1.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

// half is one direction of a connection: the keys of its records. Idle connections keep it.
type half struct {
	aead   cipher.AEAD // nil: to be derived from the secret, see Rest
	seq    uint64      // of the next record
	secret [maxSecret]byte
	iv     [nonceSize]byte // and, while a record is sealed or opened, its nonce
	suite  uint16          // 0: erased
	closed bool            // nothing may follow
}

var (
	errSuite    = errors.New("tlsrecord: unknown cipher suite")
	errSecret   = errors.New("tlsrecord: the secret has a wrong length")
	errSequence = errors.New("tlsrecord: the sequence numbers are used up")
)

// start sets a traffic secret. seq is the number of the next record. There is no cipher yet.
func (h *half) start(id uint16, secret []byte, seq uint64) error {
	_, _, err := h.begin(id, secret, seq)
	return err
}

// startReady is start, and derives the cipher.
func (h *half) startReady(id uint16, secret []byte, seq uint64) error {
	s, mac, err := h.begin(id, secret, seq)
	if err == nil {
		mac.Reset() // it costs less than another one
		err = h.derive(&s, mac)
	}
	return err
}

// begin is start. It returns HMAC with the secret, which has been used.
func (h *half) begin(id uint16, secret []byte, seq uint64) (s suite, mac hash.Hash, err error) {
	s, ok := suiteOf(id)
	if !ok {
		return s, nil, errSuite
	}
	if len(secret) != s.secret {
		return s, nil, errSecret
	}
	h.suite, h.seq = id, seq
	copy(h.secret[:], secret)
	mac = hmac.New(s.hash, secret)
	expandLabel(h.iv[:], mac, "iv")
	return s, mac, nil
}

// ready derives the cipher, if there is none.
func (h *half) ready() error {
	if h.aead != nil {
		return nil
	}
	s, ok := suiteOf(h.suite)
	if !ok { // after Erase
		return errClosed
	}
	return h.derive(&s, hmac.New(s.hash, h.secret[:s.secret]))
}

// derive makes the cipher. mac is HMAC with h.secret, of nothing yet. RFC 8446 §7.3.
func (h *half) derive(s *suite, mac hash.Hash) (err error) {
	var b [maxKey]byte
	key := b[:s.key]
	expandLabel(key, mac, "key")
	h.aead, err = s.aead(key)
	clear(key)
	return err
}

// Rest drops the cipher, which takes most of the memory of an idle connection: 768 bytes for AES-GCM. The next record
// derives it again from the secret, which takes a microsecond (BenchmarkRest).
func (h *half) Rest() { h.aead = nil }

// Rests reports whether there is no cipher.
func (h *half) Rests() bool { return h.aead == nil }

// next replaces the secret by the one that follows it. RFC 8446 §7.2.
func (h *half) next() error {
	s, ok := suiteOf(h.suite)
	if !ok {
		return errSuite
	}
	var b [maxSecret]byte
	secret := b[:s.secret]
	defer clear(secret)
	expandLabel(secret, hmac.New(s.hash, h.secret[:s.secret]), "traffic upd")
	h.aead = nil
	return h.start(h.suite, secret, 0)
}

// sealRecord encrypts the next record, and counts it. The number must never wrap. RFC 8446 §5.2 and §5.3.
func (h *half) sealRecord(dst, plain, header []byte) ([]byte, error) {
	if h.seq == math.MaxUint64 {
		return dst, errSequence
	}
	if err := h.ready(); err != nil {
		return dst, err
	}
	h.nonce()
	out := h.aead.Seal(dst, h.iv[:], plain, header)
	h.nonce()
	h.seq++
	return out, nil
}

// openRecord decrypts a record, and counts it if it is the next one.
func (h *half) openRecord(dst, sealed, header []byte) ([]byte, error) {
	if h.seq == math.MaxUint64 {
		return dst, errSequence
	}
	if err := h.ready(); err != nil {
		return dst, err
	}
	h.nonce()
	out, err := h.aead.Open(dst, h.iv[:], sealed, header)
	h.nonce()
	if err != nil {
		return dst, Error{BadRecordMAC, "a record was changed on its way"}
	}
	h.seq++
	return out, nil
}

// nonce turns the IV into the nonce of the next record, or that back into the IV. It is in place because a buffer for
// each direction would be in the memory of idle connections, and one on the stack escapes. RFC 8446 §5.3.
func (h *half) nonce() {
	low := h.iv[nonceSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^h.seq)
}

// Erase overwrites the secrets, after which nothing can be sealed or opened. The copies within the cipher are left to
// the collector.
func (h *half) Erase() {
	clear(h.secret[:])
	clear(h.iv[:])
	h.aead, h.suite, h.closed = nil, 0, true
}

// What each idle connection has in memory: two directions.
const (
	maxReaderSize = 96
	maxWriterSize = 88
)

var (
	_ [maxReaderSize - unsafe.Sizeof(Reader{})]byte
	_ [maxWriterSize - unsafe.Sizeof(Writer{})]byte
)
