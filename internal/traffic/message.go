package traffic

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"

	"github.com/expedite-go/expedite/ws"
)

// A message consists of a stamp and a body. The stamp is "<t or b><sender>.<number>.<crc> ", where each value has eight
// hexadecimal digits. The letter encodes the opcode. The CRC-32 covers the body followed by the preceding part of the
// stamp.
const (
	stampLen    = 28
	stampSigned = 18 // letter, sender, dot, number
)

// message is a message that a client sends. Stamp and body are separate because the body is a slice of the corpus.
type message struct {
	stamp [stampLen]byte
	body  []byte
}

func newMessage(op ws.Opcode, sender uint32, n uint64, body []byte) (m message) {
	m.body = body
	b := append(m.stamp[:0], letter(op))
	b = appendHex(b, sender)
	b = appendHex(append(b, '.'), uint32(n))
	b = appendHex(append(b, '.'), crc32.Update(crc32.ChecksumIEEE(body), crc32.IEEETable, b[:stampSigned]))
	b = append(b, ' ')
	m.stamp[stampLen-1] = b[stampLen-1]
	return m
}

func letter(op ws.Opcode) byte {
	if op == ws.OpText {
		return 't'
	}
	return 'b'
}

func appendHex(dst []byte, v uint32) []byte {
	return hex.AppendEncode(dst, binary.BigEndian.AppendUint32(nil, v))
}

func (m *message) len() int { return stampLen + len(m.body) }

// copyTo fills dst with the bytes of the message from offset off.
func (m *message) copyTo(dst []byte, off int) {
	if off < stampLen {
		n := copy(dst, m.stamp[off:])
		dst, off = dst[n:], off+n
	}
	if len(dst) > 0 {
		copy(dst, m.body[off-stampLen:])
	}
}

// whole appends the whole message to dst.
func (m *message) whole(dst []byte) []byte { return append(append(dst, m.stamp[:]...), m.body...) }

// headLimit is the number of bytes that are kept of each received message. Only echoes may be longer.
const headLimit = 1 << 10

// arrival is a message that is being received. Beyond headLimit only its CRC is kept.
type arrival struct {
	op   ws.Opcode
	head []byte // the first headLimit bytes
	size int
	crc  uint32 // over everything after the stamp
}

func (a *arrival) begin(op ws.Opcode) { *a = arrival{op: op, head: a.head[:0]} }

func (a *arrival) add(b []byte) {
	if room := headLimit - len(a.head); room > 0 {
		a.head = append(a.head, b[:min(room, len(b))]...)
	}
	if behind := b[min(max(0, stampLen-a.size), len(b)):]; len(behind) > 0 {
		a.crc = crc32.Update(a.crc, crc32.IEEETable, behind)
	}
	a.size += len(b)
}

// all returns the received message. It reports false if the message is longer than headLimit.
func (a *arrival) all() ([]byte, bool) { return a.head, a.size == len(a.head) }

var (
	errStamp  = errors.New("no stamp")
	errOpcode = errors.New("wrong opcode")
	errCRC    = errors.New("wrong CRC")
)

// open verifies the stamp and returns its sender and number.
func (a *arrival) open() (sender uint32, n uint64, err error) {
	if a.size < stampLen || a.head[9] != '.' || a.head[18] != '.' || a.head[27] != ' ' {
		return 0, 0, a.fault(errStamp)
	}
	var v [2]uint32
	for i := range v {
		x, err := strconv.ParseUint(string(a.head[1+9*i:9+9*i]), 16, 32)
		if err != nil {
			return 0, 0, a.fault(errStamp)
		}
		v[i] = uint32(x)
	}
	sum := appendHex(nil, crc32.Update(a.crc, crc32.IEEETable, a.head[:stampSigned]))
	if !bytes.Equal(sum, a.head[19:27]) {
		return 0, 0, a.fault(errCRC)
	}
	if a.head[0] != letter(a.op) {
		return 0, 0, a.fault(errOpcode)
	}
	return v[0], uint64(v[1]), nil
}

func (a *arrival) fault(err error) error {
	return fmt.Errorf("%w: %s of %d bytes: %.60q", err, a.op, a.size, a.head)
}

// corpus holds the bytes from which bodies are sliced. It is immutable.
type corpus struct{ text, binary []byte }

// corpusLen is larger than the longest body, in bytes.
const corpusLen = 400 << 10

func newCorpus(rng *rand.Rand) corpus {
	c := corpus{text: make([]byte, 0, corpusLen), binary: make([]byte, 0, corpusLen)}
	limits := [...]rune{0x80, 0x800, 0xd800, 0x110000} // without surrogates; the last range is mostly four-byte runes
	for len(c.text) < corpusLen-utf8.UTFMax {
		r := rng.Int32N(limits[rng.IntN(len(limits))])
		if !utf8.ValidRune(r) {
			continue
		}
		c.text = utf8.AppendRune(c.text, r)
	}
	for len(c.binary) < corpusLen {
		c.binary = binary.LittleEndian.AppendUint64(c.binary, rng.Uint64())
	}
	return c
}

// body returns a random slice of about size bytes, cut at rune boundaries if op is text.
func (c *corpus) body(rng *rand.Rand, op ws.Opcode, size int) []byte {
	from := c.binary
	if op == ws.OpText {
		from = c.text
	}
	at := rng.IntN(len(from) - size)
	end := at + size
	if op == ws.OpText {
		for at < end && !utf8.RuneStart(from[at]) {
			at++
		}
		for end > at && !utf8.RuneStart(from[end]) {
			end--
		}
	}
	return from[at:end]
}
