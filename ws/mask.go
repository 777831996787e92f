package ws

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks b in place. offset is the position of b[0] in the payload. RFC 6455 §5.3.
func Mask(b []byte, key uint32, offset int) {
	key = bits.RotateLeft32(key, -8*(offset&3))
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		p := b[:32:32]
		binary.LittleEndian.PutUint64(p[0:], binary.LittleEndian.Uint64(p[0:])^wide)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	if len(b) >= 4 {
		binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)^key)
		b = b[4:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * i))
	}
}
